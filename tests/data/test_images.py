import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ni_platform.data.images import decode, probe
from ni_platform.errors import ImageError


def encoded(image, form="PNG", **options):
    """Bytes of a picture in a format."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_claiming(width, height):
    """A valid PNG header of any size without the pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def test_bytes_and_paths_decode_to_rgb(pictures):
    """A red picture gives red pixels from its path and from its bytes."""
    for source in (str(pictures / "a.png"), (pictures / "a.png").read_bytes()):
        image = decode(source)
        assert (image.mode, image.size) == ("RGB", (8, 8))
        assert np.unique(np.asarray(image).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


def test_transparency_is_laid_on_white():
    """A half-transparent black pixel becomes grey 127, a clear one white."""
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 128))
    pixels = np.asarray(decode(encoded(image)))[0, :, 0].tolist()
    assert pixels == [127, 255]


def test_palette_transparency_is_laid_on_white():
    """A GIF's transparent palette entry becomes white."""
    image = Image.new("P", (1, 1), 0)
    image.putpalette([0, 0, 255] * 256)
    assert decode(encoded(image, "GIF", transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_exif_orientation_is_applied():
    """Orientation 6 (turn 90 degrees clockwise) swaps the sides and moves the top-left pixel."""
    image = Image.new("RGB", (16, 8), "black")
    image.paste("white", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = decode(encoded(image, "PNG", exif=exif))
    assert upright.size == (8, 16)
    assert (upright.getpixel((4, 2)), upright.getpixel((4, 14))) == ((255,) * 3, (0,) * 3)


def test_sixteen_bit_grey_keeps_its_levels():
    """Half of the 16-bit range becomes half of the 8-bit range rather than white."""
    grey = Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16))
    assert np.asarray(decode(encoded(grey)))[0, :, 0].tolist() == [0, 127, 255]


def tiff(samples, bits, kind=1, photometric=1):
    """A TIFF of one row, little-endian: `kind` 1 unsigned, 2 signed, 3 float; 0 is black or white.

    `samples` is bytes of grey pixels, or of red, green and blue with `photometric` 2.
    """
    bands = 3 if photometric == 2 else 1
    width = len(samples) * 8 // bits // bands
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 0, 277: bands, 278: 1,
            279: len(samples), 339: kind}  # fmt: skip
    after = 8 + 2 + 12 * len(tags) + 4
    lists = struct.pack("<3H3H", *[bits] * 3, *[kind] * 3) if bands == 3 else b""
    places = {258: after, 339: after + 6} if bands == 3 else {}
    tags |= {273: after + len(lists)} | places
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag == 273 else 3, 3 if tag in places else 1, value)
        for tag, value in tags.items()
    )
    header = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return header + entries + struct.pack("<I", 0) + lists + samples


def grey(data):
    """The one row of a picture without colours."""
    pixels = np.asarray(decode(data))[0]
    assert (pixels == pixels[:, :1]).all()
    return pixels[:, 0].tolist()


def numbers(kind, *values):
    """Little-endian bytes of numbers."""
    return np.array(values, dtype=kind).tobytes()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(numbers("<f4", 0, 0.5, 1), 32, kind=3), [0, 128, 255]),
        (tiff(numbers("<f4", 0, 0.5, 1), 32, kind=3, photometric=0), [255, 127, 0]),
        (tiff(numbers("<u2", 0, 32768, 65535), 16), [0, 127, 255]),
        (tiff(numbers("<u2", 0, 65535), 16, photometric=0), [255, 0]),
        (tiff(bytes([0x00, 0x0F, 0xFF]), 12), [0, 255]),
        (tiff(numbers("u1", 0, 3, 255), 8), [0, 3, 255]),
        (tiff(numbers("u1", 0, 255), 8, photometric=0), [255, 0]),
        (tiff(numbers("<u2", 0, 0, 0, *[65535] * 3), 16, photometric=2), [0, 255]),
        (tiff(numbers("<u2", 0, 0), 16), [0, 0]),
        (b"P5 3 1 65535\n" + numbers(">u2", 0, 32768, 65535), [0, 127, 255]),
        (encoded(Image.new("1", (2, 1), 1)), [255, 255]),
        (encoded(Image.new("LA", (1, 1), (0, 128))), [127]),
        (encoded(Image.new("L", (1, 1), 1)), [1]),
    ],
)  # fmt: skip
def test_full_light_is_what_the_header_says(data, expected):
    """1 of floats, 4095 of 12 bits, 65535 of 16 bits; where 0 is white, it is."""
    assert grey(data) == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(numbers("<f4", 0, 128, 255), 32, kind=3), "numbers from 0 to 255 .* 1 is white"),
        (tiff(numbers("<f4", -1, 1), 32, kind=3), "numbers from -1 to 1"),
        (tiff(numbers("<f4", 0, np.nan), 32, kind=3), "numbers from nan to nan"),
        (tiff(numbers("<i4", 0, 255), 32, kind=2), "signed numbers or integers of 32 bits"),
        (tiff(numbers("<u4", 0, 255), 32), "signed numbers or integers of 32 bits"),
        (tiff(numbers("<i2", 0, 32767), 16, kind=2), "signed numbers or integers of 32 bits"),
        (tiff(numbers("i1", 0, 127), 8, kind=2), "signed numbers or integers of 32 bits"),
        (tiff(numbers("<u2", 0, 255), 16), "from 0 to 255 .* 65,535 is white"),
        (encoded(Image.fromarray(np.array([[0, 4095]], np.uint16))), "from 0 to 4095"),
        (tiff(numbers("<u2", 0, 9, 255), 16, photometric=2), "no number of 4,096 or more"),
    ],
)  # fmt: skip
def test_numbers_that_would_come_out_black_are_an_error(data, words):
    """Nothing tells what is white of them, or they fill a small part of the range."""
    with pytest.raises(ImageError, match=words):
        decode(data)


def test_a_clear_level_of_sixteen_bits_is_laid_on_white():
    """A PNG may name one level as transparent."""
    levels = Image.fromarray(np.array([[0, 65535, 32768]], np.uint16))
    assert grey(encoded(levels, transparency=32768)) == [0, 255, 255]


def test_colours_of_print_and_of_laboratories():
    """CMYK of 0 is white, and CIELAB is converted."""
    assert decode(encoded(Image.new("CMYK", (8, 8)), "TIFF")).getpixel((0, 0)) == (255, 255, 255)
    lab = Image.frombytes("LAB", (1, 1), bytes([255, 0, 0]))
    assert min(decode(encoded(lab, "TIFF")).getpixel((0, 0))) > 250


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
    ],
)
def test_a_picture_that_was_cut_short_is_an_error(form, options):
    """Wherever it was cut: no grey or black rest. A GIF may lack its end mark alone."""
    picture = Image.effect_noise((64, 64), 50).convert("RGB")
    data = encoded(picture, form, **options)
    for left in (len(data) // 4, len(data) // 2, len(data) - 100, len(data) - 8):
        with pytest.raises(ImageError):
            decode(data[:left])


def test_a_png_whose_rest_was_never_written_is_an_error():
    """A download into a reserved file leaves zeros, of which Pillow would make black rows."""
    data = encoded(Image.effect_noise((64, 64), 50))
    with pytest.raises(ImageError, match="corrupt"):
        decode(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def test_only_formats_of_pictures_are_opened():
    """Pillow would hand PostScript to another program."""
    with pytest.raises(ImageError, match="unknown format"):
        decode(encoded(Image.new("RGB", (8, 8)), "EPS"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_from_its_header():
    """Sizes beyond the limit raise before decoding, for Pillow's limit and for ours."""
    for side, words in ((50_000, "too large to decode"), (11_000, "11000 x 11000 pixels")):
        with pytest.raises(ImageError, match=words):
            decode(png_claiming(side, side))
    with pytest.raises(ImageError, match="more than the 63 allowed"):
        decode(encoded(Image.new("RGB", (8, 8))), max_pixels=63)


def test_missing_truncated_and_foreign_files_name_themselves(pictures, tmp_path):
    """Each unusable file raises an ImageError with its path and a remedy."""
    whole = encoded(Image.effect_noise((64, 64), 50), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for name in ("missing.png", "cut.jpg", "page.jpg", "empty.png", "folder.png"):
        with pytest.raises(ImageError, match=name.replace(".", r"\.")):
            decode(str(tmp_path / name))


def test_flipped_bytes_never_raise_anything_but_image_error():
    """Whatever is damaged, the error is ImageError or the picture still decodes."""
    rng = np.random.default_rng(0)
    sources = [encoded(Image.effect_noise((24, 24), 60), form) for form in ("PNG", "JPEG", "GIF")]
    sources += [
        encoded(Image.effect_noise((24, 24), 60), form) for form in ("WEBP", "TIFF", "AVIF")
    ]
    for data in sources:
        for _ in range(60):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                damaged[place] = rng.integers(0, 256)
            try:
                decode(bytes(damaged))
            except ImageError as error:
                assert "picture" in str(error)  # noqa: PT017


def test_a_probe_reports_size_hash_and_problem(pictures, tmp_path):
    """A probe never raises: it tells size and hash of a good file and the problem of a bad one."""
    good = probe(str(pictures / "a.png"))
    assert (good.width, good.height, good.problem) == (8, 8, None)
    assert good.sha256 == hashlib.sha256((pictures / "a.png").read_bytes()).hexdigest()
    missing = probe(str(tmp_path / "none.png"))
    assert missing.sha256 is None
    assert "does not exist" in missing.problem
    (tmp_path / "bad.png").write_bytes(b"bad")
    bad = probe(str(tmp_path / "bad.png"))
    assert bad.sha256 == hashlib.sha256(b"bad").hexdigest()
    assert "corrupt" in bad.problem

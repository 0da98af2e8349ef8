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

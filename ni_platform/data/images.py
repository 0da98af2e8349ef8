"""Pictures: decoded safely from bytes, a path or an `s3://` URI, or probed for problems."""

import hashlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ni_platform.data import storage
from ni_platform.data.picture_cache import read_picture
from ni_platform.errors import ConfigError, DatasetError, ImageError

MAX_PIXELS = 100_000_000
"""About 300 MB as RGB: beyond any creative, below what endangers a worker."""
MAX_BYTES = 256 * 2**20
"""An encoded picture beyond this is not one; it is refused before it is read."""

_FORMATS = (
    "AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "PSD", "TIFF", "WEBP",
)  # fmt: skip
"""What is opened: formats of pictures. Pillow knows more, and runs Ghostscript for one of them."""

_BITS, _PHOTOMETRIC, _SAMPLES = 258, 262, 339
"""TIFF's tags for bits per sample, what 0 means (0: white), and kind of number (3: float)."""

# Our own limit raises; Pillow's warning at a lower one would only repeat it on the terminal.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

# What Pillow's decoders raise on broken input, beside OSError.
_BROKEN = (
    UnidentifiedImageError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """How pictures are read."""

    size: int | None = 224
    """Pictures are resized to this square; None keeps the native size (NI Section 6.1)."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures are refused before they are decoded."""

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 8:
            raise ConfigError(f"size must be at least 8 pixels or None, but is {self.size}.")


@dataclass(frozen=True, kw_only=True)
class ImageProbe:
    """What is known of a picture after decoding it once."""

    width: int
    """Pixels, 0 where unknown."""
    height: int
    sha256: str | None
    """Of the encoded bytes; None where they cannot be read."""
    problem: str | None
    """Why the picture cannot be used, or None."""


def decode(source: bytes | str | Path, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode to RGB of 8 bits, upright by its EXIF orientation, transparency on white, first frame.

    What is white follows from the file's header: 1 for floats, 4095 for 12 bits, 65535 for 16.
    Where it does not (signed numbers, integers of 32 bits), or where the numbers do not fill that
    range (8-bit numbers in 16 bits, floats up to 255), the picture would come out black or white:
    that is an error. Numbers of 8 bits are taken as they are.

    Raises `ImageError` where the picture is missing, corrupt, or larger than `max_pixels`, which
    is read from the header, before any pixel is decoded.
    """
    return _decoded(read_encoded(source), _named(source), max_pixels)


def probe(source: bytes | str | Path, *, max_pixels: int = MAX_PIXELS) -> ImageProbe:
    """Decode once and report size, hash and what is wrong, if anything is."""
    try:
        data = read_encoded(source)
    except ImageError as error:
        return ImageProbe(width=0, height=0, sha256=None, problem=str(error))
    digest = hashlib.sha256(data).hexdigest()
    try:
        width, height = _decoded(data, _named(source), max_pixels).size
    except ImageError as error:
        return ImageProbe(width=0, height=0, sha256=digest, problem=str(error))
    return ImageProbe(width=width, height=height, sha256=digest, problem=None)


def pixel_count(source: bytes | str | Path) -> int:
    """Width times height by the picture's header; `ImageError` where it cannot be read."""
    with _explained(_named(source)), _opened(read_encoded(source)) as image:
        return image.width * image.height


def ending(data: bytes) -> str:
    """Return what the name of such a picture's file ends in, by its header, such as "png"."""
    with _explained(_named(data)), _opened(data) as image:
        return str(image.format).lower()


def read_encoded(source: bytes | str | Path) -> bytes:
    """Bytes of a picture as they are stored; `ImageError` where they cannot be read."""
    if isinstance(source, bytes):
        return source
    try:
        if not storage.is_remote(source) and os.path.isfile(source):
            size = os.path.getsize(source)
            if size > MAX_BYTES:
                raise ImageError(
                    f"The picture {source} has {size:,} bytes, more than the {MAX_BYTES:,} that "
                    "are read: replace it by a smaller one."
                )
        if storage.is_remote(source):
            return read_picture(str(source))
        return storage.read_bytes(source)
    except storage.MissingFileError as error:
        raise ImageError(
            f"The picture {source} does not exist: add the file, or empty the image cell."
        ) from error
    except DatasetError as error:
        if storage.is_remote(source):  # the store, not this picture, is at fault
            raise
        raise ImageError(str(error)) from error


def _decoded(data: bytes, name: str, max_pixels: int) -> Image.Image:
    with _explained(name), _opened(data) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(
                f"The picture {name} would decode to {width} x {height} pixels, more than the "
                f"{max_pixels:,} allowed: scale it down."
            )
        if image.format == "PNG":
            # Its checksums tell a damaged or half-written file, of which Pillow would make a
            # picture. No other format has any: what decodes there is taken for whole.
            with _opened(data) as again:
                again.verify()
        image.load()
        largest = _largest(image, data)
        if largest is None:
            raise ImageError(
                f"The picture {name} holds signed numbers or integers of 32 bits, so that nothing "
                "says what is white: save it with 8 or 16 bits."
            )
        _check_range(image, largest, name)
        return _rgb(_eight_bits(ImageOps.exif_transpose(image), largest, _inverted(image)))


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=_FORMATS)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageError(f"The picture {name} is too large to decode: {error}") from error
    except (OSError, *_BROKEN) as error:
        # Pillow's words name the buffer by its address in memory.
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "it begins like none of them" if unknown else str(error)
        raise ImageError(
            f"The picture {name} is corrupt or of an unknown format ({reason}): replace it by a "
            "JPEG, PNG, WebP or GIF that opens."
        ) from error


def _largest(image: Image.Image, data: bytes) -> int | None:
    """The number that is full light, by the header of the file; None where nothing says it."""
    if isinstance(image, TiffImageFile):
        bits, kinds = image.tag_v2.get(_BITS, (1,)), image.tag_v2.get(_SAMPLES, (1,))
        if 2 in kinds or (image.mode == "I" and max(bits) > 16):
            return None
        return 1 if 3 in kinds else max(2 ** max(bits) - 1, 255)
    if image.mode == "F":
        return 1
    depth = data[24] if image.format == "PNG" else 8
    return 0xFFFF if image.mode.startswith("I") or depth == 16 else 255


def _check_range(image: Image.Image, largest: int, name: str) -> None:
    """Raise `ImageError` where a picture with more than 8 bits would come out black or white."""
    if _is_grey(image):
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        # Of numbers that do not use the upper four of 16 bits, those bits were never meant.
        fits = 0 <= low <= high <= largest and not (largest == 0xFFFF and 0 < high < 0x1000)
        held = f"numbers from {low:g} to {high:g}"
    elif largest == 0xFFFF:
        # Pillow has kept the upper 8 bits of each.
        colours = [band for band, kind in zip(image.split(), image.getbands()) if kind != "A"]
        fits = max(int(np.asarray(band).max()) for band in colours) >= 0x10
        held = f"no number of {0x1000:,} or more"
    else:
        return
    if not fits:
        raise ImageError(
            f"The picture {name} holds {held} where 0 is black and {largest:,} is white, and would "
            "come out black or white: scale them to that range, or save it with 8 bits."
        )


def _is_grey(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _inverted(image: Image.Image) -> bool:
    """Whether 0 is white, which Pillow heeds up to 8 bits only."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0


def _eight_bits(image: Image.Image, largest: int, inverted: bool) -> Image.Image:
    """Grey of 8 bits of a picture with more; any other unchanged."""
    if not _is_grey(image):
        return image
    values = np.asarray(image)
    if largest == 1:
        grey = np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    else:
        grey = (values.astype(np.int64) * 255 // largest).astype(np.uint8)
    clear = image.info.get("transparency")
    grey = 255 - grey if inverted else grey
    return Image.fromarray(grey if clear is None else np.where(values == clear, 255, grey))


def _rgb(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _named(source: bytes | str | Path) -> str:
    return f"({len(source):,} bytes)" if isinstance(source, bytes) else str(source)

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

from ni_platform.data import storage
from ni_platform.data.picture_cache import read_picture
from ni_platform.errors import DatasetError, ImageError

MAX_PIXELS = 100_000_000
"""About 300 MB as RGB: beyond any creative, below what endangers a worker."""
MAX_BYTES = 256 * 2**20
"""An encoded picture beyond this is not one; it is refused before it is read."""

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
    struct.error,
    zlib.error,
)


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
    """Decode to RGB, upright by its EXIF orientation, transparency on white, first frame.

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
    with _explained(_named(source)), Image.open(io.BytesIO(read_encoded(source))) as image:
        return image.width * image.height


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
    with _explained(name), Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(
                f"The picture {name} would decode to {width} x {height} pixels, more than the "
                f"{max_pixels:,} allowed: scale it down."
            )
        image.load()
        return _rgb(ImageOps.exif_transpose(image))


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


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion would clip nearly everything to white.
        image = Image.fromarray((np.asarray(image).clip(0, 0xFFFF) // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _named(source: bytes | str | Path) -> str:
    return f"({len(source):,} bytes)" if isinstance(source, bytes) else str(source)

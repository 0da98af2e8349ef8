"""Pictures of known words and colours."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont


def encoded(picture, form="PNG", **options) -> bytes:
    """Bytes of a picture in a format."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def plain(colour, size=(48, 32), mode="RGB") -> bytes:
    """A PNG of one colour."""
    return encoded(Image.new(mode, size, colour))


def banner(*lines: str, size=(360, 200)) -> bytes:
    """A PNG with black lines of text on white."""
    picture = Image.new("RGB", size, "white")
    for row, line in enumerate(lines):
        ImageDraw.Draw(picture).text(
            (20, 20 + 60 * row), line, fill="black", font=ImageFont.load_default(36)
        )
    return encoded(picture)

"""Damaged pictures: read as something, or one error that names the picture."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from fuzz.damage import damaged
from fuzz.examples import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ni_platform.data.images import decode, pixel_count, probe
from ni_platform.errors import ImageError

_SIDE = 24
_LARGEST = 1 << 20
"""Pixels: a flipped bit in a header must not cost the time of a large picture."""


def _pictures() -> dict[str, bytes]:
    """A gradient in every format and mode that banners, photos and exports come in."""
    across = np.linspace(0, 255, _SIDE, dtype=np.uint8)
    rgb = np.stack([np.tile(across, (_SIDE, 1)), np.tile(across[:, None], (1, _SIDE)),
                    np.full((_SIDE, _SIDE), 128, np.uint8)], axis=2)  # fmt: skip
    picture = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    modes = {
        "PNG": ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"],
        "JPEG": ["RGB", "L", "CMYK"],
        "WEBP": ["RGB", "RGBA"],
        "GIF": ["P", "L"],
        "TIFF": ["RGB", "RGBA", "L", "1", "CMYK", "I;16", "I", "F"],
        "BMP": ["RGB"],
    }
    found = {}
    for kind, some in modes.items():
        for mode in some:
            out = io.BytesIO()
            extra = {"exif": exif} if kind in ("JPEG", "WEBP", "TIFF", "PNG") else {}
            if kind == "TIFF":
                extra["compression"] = "tiff_adobe_deflate" if mode in ("RGB", "L") else "raw"
            grey = np.asarray(picture.convert("L"))
            wide = {
                "I;16": grey.astype(np.uint16) * 257,
                "I": grey.astype(np.int32) * 257,
                "F": (grey / 255).astype(np.float32),
            }
            converted = Image.fromarray(wide[mode]) if mode in wide else picture.convert(mode)
            converted.save(out, kind, **extra)
            found[f"{kind} {mode}"] = out.getvalue()
    out = io.BytesIO()
    frames = [picture.rotate(angle) for angle in (90, 180)]
    picture.save(out, "WEBP", save_all=True, append_images=frames, lossless=True)
    found["WEBP frames"] = out.getvalue()
    return found


PICTURES = _pictures()


@pytest.mark.parametrize("name", sorted(set(PICTURES) - {"TIFF I"}))  # it says no white
def test_an_undamaged_picture_shows_the_gradient(name: str) -> None:
    """What the damaged ones come from decodes to what was painted, in every format and mode."""
    shown = np.asarray(decode(PICTURES[name]).convert("L"), dtype=float)
    across = np.linspace(0, 255, _SIDE)
    painted = 0.299 * across[None, :] + 0.587 * across[:, None] + 0.114 * 128
    turned = np.rot90(painted, -1)  # by its EXIF orientation
    # By blocks of 8 x 8, as one bit per pixel shows grey by dots.
    blocks = [array.reshape(3, 8, 3, 8).mean(axis=(1, 3)) for array in (shown, painted, turned)]
    assert min(np.abs(blocks[0] - other).max() for other in blocks[1:]) < 30


@examples(12, 1200)
@given(st.data())
def test_a_damaged_picture_is_an_image_error_or_a_picture(data: Any) -> None:
    """Whatever happened to its bytes: RGB or an ImageError, and a probe says which."""
    name = data.draw(st.sampled_from(sorted(PICTURES)))
    broken = data.draw(damaged(PICTURES[name]))
    try:
        picture = decode(broken, max_pixels=_LARGEST)
    except ImageError as error:
        problem = str(error)
    else:
        problem = None
        assert picture.mode == "RGB"
        if name.startswith("PNG"):  # its sums tell damage
            assert picture.tobytes() == decode(PICTURES[name]).tobytes()
    probed = probe(broken, max_pixels=_LARGEST)
    assert probed.problem == problem
    assert problem is not None or (probed.width, probed.height) == picture.size
    with suppress(ImageError):
        assert pixel_count(broken) >= 0

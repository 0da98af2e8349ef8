"""What is drawn from a picture: saliency in two colours and textures, patches, painted cells."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ni_platform.attribution.consensus import resized
from ni_platform.data.images import decode

SHOWN = 720
"""Longer side of a picture on the page, in pixels."""
GRID = 8
"""Cells along the longer side that a region is named by; also what is painted over."""
_BLUE, _ORANGE = (0, 90, 181), (213, 94, 0)
"""Told apart by people who see no red, green or blue; so are full and striped areas."""
_FAINTEST = 0.05
"""Contributions below this share of the largest are not drawn."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of the grid over a picture."""

    row: int
    column: int
    contribution: float
    """Change of the success rate."""
    patch: str
    """Its pixels, as a data URI."""

    @property
    def name(self) -> str:
        """As people count."""
        return f"row {self.row + 1}, column {self.column + 1}"


def shown(source: Any) -> Image.Image:
    """A picture in the size of the page.

    Raises:
        ImageError: it cannot be decoded.
    """
    picture = decode(source)
    picture.thumbnail((SHOWN, SHOWN), reducing_gap=3.0)
    return picture


def png(picture: Image.Image) -> bytes:
    """Encoded anew, so that nothing of an uploaded file itself reaches a browser."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def data_uri(picture: Image.Image) -> str:
    """A picture inside of a page."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()


def overlays(contributions: np.ndarray, size: tuple[int, int]) -> tuple[str, str]:
    """What raises and what lowers the prediction, as two transparent pictures (data URIs).

    Opacity grows with the size of the contribution. Positive areas are blue and full, negative
    ones orange and striped, so that the colour never says it alone.

    Args:
        contributions: map [H, W] over the picture.
        size: width and height of the pictures to draw.
    """
    width, height = size
    down = np.arange(height) * contributions.shape[0] // height
    across = np.arange(width) * contributions.shape[1] // width
    largest = float(np.abs(contributions).max(initial=0)) or 1.0
    strength = contributions[down[:, None], across] / largest
    stripes = (np.arange(height)[:, None] + np.arange(width)) % 12 < 6
    found = []
    for sign, colour, texture in ((1, _BLUE, np.ones_like(stripes)), (-1, _ORANGE, stripes)):
        part = np.clip(sign * strength, 0, 1)
        part[part < _FAINTEST] = 0
        pixels = np.empty((height, width, 4), dtype=np.uint8)
        pixels[..., :3] = colour
        pixels[..., 3] = 235 * np.sqrt(part) * np.where(texture, 1, 0.25)
        found.append(data_uri(Image.fromarray(pixels, "RGBA")))
    return found[0], found[1]


def strongest(
    contributions: np.ndarray, picture: Image.Image, count: int = 3
) -> tuple[list[Cell], list[Cell]]:
    """The cells that raise the prediction most and those that lower it most."""
    grid = grid_of(picture.size)
    cells = resized(contributions, grid)
    order = np.argsort(-cells, axis=None, kind="stable")
    best = [i for i in order[:count] if cells.flat[i] > 0]
    worst = [i for i in order[::-1][:count] if cells.flat[i] < 0]

    def drawn(positions: list) -> list[Cell]:
        places = [divmod(int(position), cells.shape[1]) for position in positions]
        return [cell_of(picture, row, column, float(cells[row, column])) for row, column in places]

    return drawn(best), drawn(worst)


def grid_of(size: tuple[int, int]) -> tuple[int, int]:
    """Cells down and across of a picture of width and height `size`; square as far as possible."""
    width, height = size
    longer = max(width, height)
    return (
        max(1, min(height, round(GRID * height / longer))),
        max(1, min(width, round(GRID * width / longer))),
    )


def painted_over(
    picture: Image.Image, row: int, column: int, colour: tuple[int, int, int]
) -> Image.Image:
    """The picture with one cell of the grid in one colour."""
    painted = picture.copy()
    painted.paste(colour, box_of(picture.size, row, column))
    return painted


def box_of(size: tuple[int, int], row: int, column: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a cell, in pixels of a picture of that size."""
    width, height = size
    down, across = grid_of(size)
    top, bottom = (-(-height * edge // down) for edge in (row, row + 1))
    left, right = (-(-width * edge // across) for edge in (column, column + 1))
    return left, top, right, bottom


def cell_of(picture: Image.Image, row: int, column: int, contribution: float) -> Cell:
    """A cell with its pixels; one beyond the picture's grid is the last there is."""
    down, across = grid_of(picture.size)
    row, column = min(row, down - 1), min(column, across - 1)
    patch = picture.crop(box_of(picture.size, row, column))
    return Cell(row=row, column=column, contribution=contribution, patch=data_uri(patch))

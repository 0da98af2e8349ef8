"""Rendering of a planted picture: a small banner whose elements are known to the pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, cos, floor, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ni_platform.data.synthetic.products import PRODUCTS, Pen

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels of the picture; right and bottom are exclusive."""

_SUPERSAMPLING = 4  # drawn four times as large, then reduced: smooth edges

_BACKGROUNDS = {
    "cream": ("#fdf6e3", "#f3ddaf"),
    "sky": ("#d3ecff", "#79bdf0"),
    "mint": ("#d9f7e6", "#82d9ad"),
    "rose": ("#ffe1ea", "#f590b2"),
    "navy": ("#2f4a86", "#14254f"),
    "charcoal": ("#5b5f66", "#26292e"),
}
_DARK = ("navy", "charcoal")
_TAGS = {"red": ("#d81e2c", "#ffffff"), "yellow": ("#ffd60a", "#3a2d00"),
         "blue": ("#1261d6", "#ffffff")}  # fmt: skip
_BUTTONS = {"green": ("#1fa34a", "#ffffff"), "orange": ("#ff7a00", "#ffffff"),
            "gray": ("#9aa0a6", "#f4f4f4")}  # fmt: skip
BUTTON_LABEL = "Shop now"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things stand, in shares of the picture's side; it has no effect on the success rate."""

    product_x: float
    product_y: float
    product_side: float
    tag_x: float
    tag_y: float
    button_x: float
    button_y: float
    tilt: float
    """Rotation of the price tag's star in radians."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Layout:
        """Draw a layout: product left or right, everything shifted a little."""

        def shift(largest: float) -> float:
            return float(rng.uniform(-largest, largest))

        on_the_left = bool(rng.integers(2))
        return cls(
            product_x=(0.35 if on_the_left else 0.65) + shift(0.03),
            product_y=0.46 + shift(0.03),
            product_side=0.52 + shift(0.03),
            tag_x=(0.80 if on_the_left else 0.20) + shift(0.02),
            tag_y=0.40 + shift(0.10),
            button_x=0.5 + shift(0.17),
            button_y=0.855 + shift(0.02),
            tilt=shift(pi / 8),
        )


@dataclass(frozen=True, kw_only=True)
class Banner:
    """What a picture shows."""

    background: str
    product: str
    price_tag: str
    button: str
    brand: str
    price: int
    layout: Layout

    @property
    def written(self) -> str:
        """The text that can be read in the picture."""
        parts = [self.brand]
        if self.price_tag != "none":
            parts.append(f"${self.price}")
        if self.button != "none":
            parts.append(BUTTON_LABEL)
        return " ".join(parts)


def render(banner: Banner, size: int) -> tuple[Image.Image, dict[str, Box | None]]:
    """Draw the banner.

    Returns:
        An RGB picture of `size` x `size` pixels, and the box of each element: outside of it the
        picture is the same without the element. The background's box is the whole picture; an
        element that is not there has None.

    """
    side = size * _SUPERSAMPLING
    canvas = _background(banner, side)
    draw = ImageDraw.Draw(canvas)
    boxes: dict[str, Box | None] = {
        "background": (0, 0, size, size),
        "product": _outer(_product(draw, banner, side), size),
        "price_tag": None,
        "button": None,
    }
    if banner.price_tag != "none":
        boxes["price_tag"] = _outer(_price_tag(draw, banner, side), size)
    if banner.button != "none":
        boxes["button"] = _outer(_button(draw, banner, side), size)
    ink = "#ffffff" if banner.background in _DARK else "#2b2b2b"
    draw.text((side * 0.05, side * 0.035), banner.brand, fill=ink, font=_font(side * 0.105))
    return canvas.reduce(_SUPERSAMPLING), boxes


def _outer(bounds: tuple[float, float, float, float], size: int) -> Box:
    """Whole pixels that `bounds` (in supersampled pixels, with a margin of one) touches."""
    left, top, right, bottom = bounds
    return (
        max(0, floor((left - 1) / _SUPERSAMPLING)),
        max(0, floor((top - 1) / _SUPERSAMPLING)),
        min(size, ceil((right + 2) / _SUPERSAMPLING)),
        min(size, ceil((bottom + 2) / _SUPERSAMPLING)),
    )


def _background(banner: Banner, side: int) -> Image.Image:
    top, bottom = (
        np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], dtype=float)
        for color in _BACKGROUNDS[banner.background]
    )
    share = np.linspace(0, 1, side)[:, None]
    rows = np.rint(top * (1 - share) + bottom * share).astype(np.uint8)
    return Image.fromarray(np.repeat(rows[:, None, :], side, axis=1), "RGB")


def _product(
    draw: ImageDraw.ImageDraw, banner: Banner, side: int
) -> tuple[float, float, float, float]:
    layout = banner.layout
    radius = layout.product_side * side / 2
    x, y = layout.product_x * side, layout.product_y * side
    bounds = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(bounds, fill="#fffdf8")  # a light plate: visible on dark backgrounds
    inner = radius * 1.65
    PRODUCTS[banner.product](Pen(draw, x - inner / 2, y - inner / 2, inner))
    return bounds


def _price_tag(
    draw: ImageDraw.ImageDraw, banner: Banner, side: int
) -> tuple[float, float, float, float]:
    fill, ink = _TAGS[banner.price_tag]
    layout = banner.layout
    x, y, radius = layout.tag_x * side, layout.tag_y * side, 0.155 * side
    points = [
        (
            x + radius * (1.0 if i % 2 else 0.86) * cos(layout.tilt + i * pi / 12),
            y + radius * (1.0 if i % 2 else 0.86) * sin(layout.tilt + i * pi / 12),
        )
        for i in range(24)
    ]
    draw.polygon(points, fill=fill)
    draw.text((x, y), f"${banner.price}", fill=ink, font=_font(radius * 0.85), anchor="mm")
    return x - radius, y - radius, x + radius, y + radius


def _button(
    draw: ImageDraw.ImageDraw, banner: Banner, side: int
) -> tuple[float, float, float, float]:
    fill, ink = _BUTTONS[banner.button]
    x, y = banner.layout.button_x * side, banner.layout.button_y * side
    half_width, half_height = 0.25 * side, 0.085 * side
    bounds = (x - half_width, y - half_height, x + half_width, y + half_height)
    draw.rounded_rectangle(bounds, half_height * 0.7, fill=fill)
    draw.text((x, y), BUTTON_LABEL, fill=ink, font=_font(half_height * 1.05), anchor="mm")
    return bounds


@lru_cache(maxsize=16)
def _font(height: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # Pillow's own font, so that a seed gives the same pictures wherever Pillow is the same.
    return ImageFont.load_default(size=height)

"""Vector drawings of the products that planted pictures advertise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import ImageDraw

Point = tuple[float, float]


@dataclass(frozen=True)
class Pen:
    """Draws in unit coordinates: (0, 0) is the top left of the product's square, (1, 1) its end."""

    draw: ImageDraw.ImageDraw
    left: float
    top: float
    side: float

    def _at(self, points: tuple[Point, ...]) -> list[Point]:
        return [(self.left + x * self.side, self.top + y * self.side) for x, y in points]

    def _width(self, width: float) -> int:
        return max(1, round(width * self.side))

    def polygon(self, *points: Point, fill: str) -> None:
        """Fill a polygon."""
        self.draw.polygon(self._at(points), fill=fill)

    def ellipse(self, start: Point, end: Point, fill: str) -> None:
        """Fill the ellipse between two corners."""
        self.draw.ellipse(self._at((start, end)), fill=fill)

    def box(self, start: Point, end: Point, fill: str, *, radius: float = 0.0) -> None:
        """Fill a rectangle whose corners are rounded."""
        self.draw.rounded_rectangle(self._at((start, end)), self._width(radius), fill=fill)

    def line(self, *points: Point, fill: str, width: float) -> None:
        """Draw a line through the points."""
        self.draw.line(self._at(points), fill=fill, width=self._width(width), joint="curve")

    def arc(
        self, start: Point, end: Point, angles: tuple[int, int], fill: str, width: float
    ) -> None:
        """Draw a part of an ellipse's outline; angles in degrees, clockwise from the right."""
        self.draw.arc(self._at((start, end)), *angles, fill=fill, width=self._width(width))


def _mug(pen: Pen) -> None:
    pen.arc((0.56, 0.34), (0.90, 0.70), (-100, 100), "#b3202c", 0.07)
    pen.box((0.20, 0.24), (0.70, 0.84), "#d62f3c", radius=0.08)
    pen.ellipse((0.20, 0.18), (0.70, 0.34), "#f0767f")
    pen.ellipse((0.25, 0.205), (0.65, 0.315), "#4a2a1a")
    pen.box((0.27, 0.44), (0.63, 0.60), "#f7d9dc", radius=0.03)


def _shoe(pen: Pen) -> None:
    pen.polygon(
        (0.10, 0.36), (0.36, 0.30), (0.46, 0.44), (0.72, 0.54), (0.90, 0.62), (0.92, 0.74),
        (0.10, 0.74), fill="#2c6fd1",
    )  # fmt: skip
    pen.box((0.07, 0.71), (0.94, 0.82), "#fafafa", radius=0.05)
    pen.box((0.07, 0.79), (0.94, 0.84), "#20324f", radius=0.02)
    for x in (0.40, 0.49, 0.58):
        pen.line((x, 0.56), (x + 0.06, 0.44), fill="#ffffff", width=0.03)
    pen.polygon((0.10, 0.50), (0.30, 0.48), (0.24, 0.71), (0.10, 0.71), fill="#7fb2f5")


def _lamp(pen: Pen) -> None:
    pen.box((0.47, 0.48), (0.53, 0.84), "#7a5230")
    pen.ellipse((0.30, 0.78), (0.70, 0.90), "#5d3d22")
    pen.polygon((0.36, 0.12), (0.64, 0.12), (0.82, 0.52), (0.18, 0.52), fill="#f4b81c")
    pen.polygon((0.40, 0.12), (0.48, 0.12), (0.42, 0.52), (0.28, 0.52), fill="#fbdc7a")
    pen.line((0.70, 0.52), (0.70, 0.66), fill="#8a8a8a", width=0.015)


def _backpack(pen: Pen) -> None:
    pen.arc((0.38, 0.06), (0.62, 0.30), (180, 360), "#5b3413", 0.05)
    pen.box((0.14, 0.44), (0.26, 0.78), "#8f5220", radius=0.05)
    pen.box((0.74, 0.44), (0.86, 0.78), "#8f5220", radius=0.05)
    pen.box((0.22, 0.16), (0.78, 0.88), "#d9822b", radius=0.18)
    pen.box((0.30, 0.54), (0.70, 0.80), "#b3651a", radius=0.06)
    pen.line((0.30, 0.62), (0.70, 0.62), fill="#f6d7b0", width=0.025)
    pen.line((0.28, 0.38), (0.72, 0.38), fill="#8f5220", width=0.03)


def _headphones(pen: Pen) -> None:
    pen.arc((0.16, 0.12), (0.84, 0.88), (180, 360), "#3a2a63", 0.08)
    pen.box((0.10, 0.46), (0.30, 0.82), "#7b4fd0", radius=0.09)
    pen.box((0.70, 0.46), (0.90, 0.82), "#7b4fd0", radius=0.09)
    pen.box((0.26, 0.50), (0.35, 0.78), "#241a40", radius=0.04)
    pen.box((0.65, 0.50), (0.74, 0.78), "#241a40", radius=0.04)


def _plant(pen: Pen) -> None:
    for start, end in (((0.12, 0.22), (0.48, 0.46)), ((0.52, 0.16), (0.88, 0.40))):
        pen.ellipse(start, end, "#2f9e4f")
    pen.ellipse((0.36, 0.06), (0.62, 0.52), "#46bf69")
    pen.line((0.32, 0.36), (0.50, 0.64), (0.70, 0.30), fill="#1f6e37", width=0.03)
    pen.line((0.49, 0.20), (0.50, 0.64), fill="#1f6e37", width=0.03)
    pen.polygon((0.28, 0.60), (0.72, 0.60), (0.65, 0.90), (0.35, 0.90), fill="#8b5a44")
    pen.box((0.25, 0.56), (0.75, 0.66), "#a56e55", radius=0.02)


PRODUCTS: dict[str, Callable[[Pen], None]] = {
    "mug": _mug,
    "shoe": _shoe,
    "lamp": _lamp,
    "backpack": _backpack,
    "headphones": _headphones,
    "plant": _plant,
}

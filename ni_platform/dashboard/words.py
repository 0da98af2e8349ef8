"""Figures as the page says them."""

from __future__ import annotations

import math
from typing import Any

from ni_platform.dashboard.past import PastContents

_SAID = {
    "image": "Picture",
    "text": "Text",
    "wording": "Wording",
    "domain": "Domain",
    "embedding": "Embeddings",
    "attributes": "Attributes",
}
_STRIP = (600, 64)
"""Width and height of a strip."""


def rate(value: float) -> str:
    """A success rate in percent, three digits: `4.21 %`."""
    if not math.isfinite(value):
        return "–"
    percent = 100 * value
    digits = 2 if percent < 10 else 1
    if 0 < percent < 0.1:
        digits = 3
    return f"{percent:.{digits}f} %"


def points(value: float) -> str:
    """A change of a rate in percentage points, with its sign: `+0.32`; never `-0.00`."""
    if not math.isfinite(value):
        return "–"
    size = abs(100 * value)
    digits = 2 if size >= 0.1 else 3
    shown = f"{size:.{digits}f}"
    return shown if float(shown) == 0 else f"{sign(value)}{shown}"


def contribution(value: float, in_points: bool) -> str:
    """A contribution: in percentage points, or in the method's own unit with two digits."""
    if in_points or not math.isfinite(value):
        return points(value)
    return f"{sign(value)}{abs(value):.2g}"


def unit(in_points: bool) -> str:
    """What a contribution is measured in."""
    return "points" if in_points else "in the method’s unit"


def sign(value: float) -> str:
    """`+` or a minus that is as wide."""
    return "+" if value > 0 else "−"


def said(modality: str) -> str:
    """A modality as a heading."""
    return _SAID.get(modality, modality)


def strip(past: PastContents, domain: str | None, value: float) -> dict[str, Any]:
    """Bars of past predictions and where a prediction stands, as numbers of an SVG."""
    counts, low, high = past.histogram(domain)
    width, height = _STRIP
    span = high - low
    low, high = min(low, value - span / 50), max(high, value + span / 50)
    scale = width / (high - low)
    edge = (past.predictions.min() - low) * scale
    bar = span * scale / len(counts)
    tallest = max(int(counts.max()), 1)
    bars = [
        {
            "x": round(edge + position * bar, 1),
            "y": round(height - height * int(count) / tallest, 1),
            "width": round(max(bar - 1.5, 1), 1),
            "height": round(height * int(count) / tallest, 1),
        }
        for position, count in enumerate(counts)
        if count
    ]
    return {
        "width": width,
        "height": height,
        "bars": bars,
        "at": round((value - low) * scale, 1),
        "low": low,
        "high": high,
    }

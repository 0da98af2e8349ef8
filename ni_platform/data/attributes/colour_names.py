"""Names of colours: nine of M2FN Table 1's ten; the tenth, `multiple`, is not one colour."""

from __future__ import annotations

from functools import cache

import numpy as np

NAMES = ("black", "blue", "brown", "green", "grey", "pink", "red", "white", "yellow")

_NEUTRAL_CHROMA = 12.0
"""Below it a colour is black, grey or white."""
_BLACK_LIGHTNESS, _WHITE_LIGHTNESS = 20.0, 88.0
_ALWAYS_BLACK = 8.0
"""At this lightness no hue is seen."""
_PALE_LIGHTNESS, _PALE_CHROMA = 92.0, 20.0
"""Cream, ivory and other tints of white."""

# sRGB (IEC 61966-2-1) to XYZ relative to its white point D65.
_XYZ_OF_RGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE_XYZ = _XYZ_OF_RGB.sum(axis=1)


def cielab(rgb: np.ndarray) -> np.ndarray:
    """Convert sRGB in [0, 1], [..., 3], to CIELAB, whose distances follow seen differences.

    Lightness 0 to 100, a from green to red, b from blue to yellow (CIE 15:2004, Section 8.2.1).
    """
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _XYZ_OF_RGB.T / _WHITE_XYZ
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def colour_name(lab: np.ndarray) -> str:
    """Name of a CIELAB colour [3]: one of `NAMES`.

    Colours of little chroma are black, grey or white by lightness. Any other has the last word of
    the nearest colour of the XKCD survey, in which some 150,000 people named what they saw
    ("dark sky blue" is blue); those that end otherwise ("teal", "orange") are not among the nine.
    """
    lightness, chroma = float(lab[0]), float(np.hypot(lab[1], lab[2]))
    if lightness < _ALWAYS_BLACK:
        return "black"
    if lightness > _PALE_LIGHTNESS and chroma < _PALE_CHROMA:
        return "white"
    if chroma < _NEUTRAL_CHROMA:
        if lightness < _BLACK_LIGHTNESS:
            return "black"
        return "white" if lightness > _WHITE_LIGHTNESS else "grey"
    names, lab_C3 = _surveyed()
    return names[int(np.linalg.norm(lab_C3 - lab, axis=1).argmin())]


@cache
def _surveyed() -> tuple[list[str], np.ndarray]:
    """Names and CIELAB [C, 3] of the survey's colours that end in one of the six hues."""
    from matplotlib.colors import XKCD_COLORS, to_rgb

    hues = set(NAMES) - {"black", "grey", "white"}
    ends = {name: name.removeprefix("xkcd:").split()[-1] for name in XKCD_COLORS}
    kept = [name for name, end in ends.items() if end in hues]
    rgb_C3 = np.array([to_rgb(XKCD_COLORS[name]) for name in kept])
    return [ends[name] for name in kept], cielab(rgb_C3)

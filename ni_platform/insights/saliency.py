"""Attributions to look at: maps over pictures and coloured words.

Blue raises the predicted rate, orange lowers it: a pair that colour-blind people tell apart. Words
carry a sign as well, so nothing is said by colour alone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from ni_platform.attribution.words import Word

RAISES, LOWERS = (0, 90, 181), (230, 97, 0)
_STRONGEST = 0.75
"""Opacity of the largest contribution."""


def overlay(picture: Image.Image, contributions: np.ndarray, *, largest: int = 320) -> Image.Image:
    """The picture, scaled to at most `largest` pixels a side, under a map of contributions.

    Opacity grows with the absolute contribution, relative to the largest of the map (NI Section
    6.3 shows the positive and the negative part so). The map [H, W] covers the picture.
    """
    shown = picture.convert("RGB")
    scale = largest / max(shown.size)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    shown = shown.resize(size, Image.Resampling.BICUBIC)
    strength = _relative(contributions)
    stretched = np.array(
        Image.fromarray(strength.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    )
    opacity = np.abs(stretched)[:, :, None] * _STRONGEST
    colour = np.where(stretched[:, :, None] > 0, np.array(RAISES), np.array(LOWERS))
    mixed = np.asarray(shown, dtype=np.float64) * (1 - opacity) + colour * opacity
    return Image.fromarray(np.clip(mixed.round(), 0, 255).astype(np.uint8))


def png(picture: Image.Image) -> bytes:
    """The picture as PNG."""
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def coloured_words(words: Sequence[Word], contributions: np.ndarray) -> str:
    """HTML of a text whose words are coloured by contribution and carry it as a title."""
    strength = _relative(contributions)
    parts: list[str] = []
    for position, (word, value, part) in enumerate(zip(words, contributions, strength)):
        if position and word.column != words[position - 1].column:
            parts.append("<br>")
        elif position and word.start > words[position - 1].end:
            parts.append(" ")
        red, green, blue = RAISES if value > 0 else LOWERS
        sign = "" if abs(part) < 0.25 else f"<sup>{'+' if value > 0 else '−'}</sup>"
        parts.append(
            f'<span style="background:rgba({red},{green},{blue},{abs(part) * 0.45:.2f})" '
            f'title="{100 * value:+.3f} percentage points">{escape(word.text)}{sign}</span>'
        )
    return "".join(parts)


def _relative(contributions: np.ndarray) -> np.ndarray:
    largest = float(np.abs(contributions).max(initial=0))
    return contributions / largest if largest > 0 else np.zeros_like(contributions)

"""Attributions to look at: maps over pictures and coloured words.

Blue raises the predicted rate, orange lowers it: a pair that colour-blind people tell apart. Words
carry a sign as well, so nothing is said by colour alone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class ColouredWord:
    """A word of a text as a page shows it."""

    text: str
    line_break: bool
    """It begins another text of the content."""
    space: bool
    """A blank stands before it."""
    colour: tuple[int, int, int]
    opacity: str
    sign: str
    """Of a contribution that is not small."""
    title: str


def coloured_words(words: Sequence[Word], contributions: np.ndarray) -> list[ColouredWord]:
    """Return a text's words, coloured by contribution, which they carry as a title."""
    found: list[ColouredWord] = []
    strength = _relative(contributions)
    for position, (word, value, part) in enumerate(zip(words, contributions, strength)):
        before = words[position - 1] if position else word
        found.append(
            ColouredWord(
                text=word.text,
                line_break=word.column != before.column,
                space=word.start > before.end,
                colour=RAISES if value > 0 else LOWERS,
                opacity=f"{abs(part) * 0.45:.2f}",
                sign="" if abs(part) < 0.25 else "+" if value > 0 else "−",
                title=f"{100 * value:+.3f} percentage points",
            )
        )
    return found


def _relative(contributions: np.ndarray) -> np.ndarray:
    largest = float(np.abs(contributions).max(initial=0))
    return contributions / largest if largest > 0 else np.zeros_like(contributions)

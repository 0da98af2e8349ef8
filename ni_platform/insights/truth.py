"""Are attributions right? Scored against what planted data knows of itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ni_platform.attribution.attribution import Attribution
from ni_platform.data.synthetic import Truth
from ni_platform.data.synthetic.effects import PICTURE_ELEMENTS

ELEMENTS = tuple(name for name in PICTURE_ELEMENTS if name != "background")
"""Picture elements with a place; the background is everywhere."""


def word_scores(scores: pd.DataFrame, truth: Truth) -> dict[str, float]:
    """How well rank scores of words follow the planted effects.

    Args:
        scores: as `rank_scores` gives them, of all domains together.
        truth: the planted effects.

    Returns:
        `word_effect_correlation`, Spearman's of scores and effects over words with an effect, and
        `word_sign_agreement`, the share of them on the right side of their mean. Centred, because
        the words of a slot have effects around zero and each slogan has one word of every slot.
    """
    effects = truth.effects.levels["word"]
    known = scores[scores["feature"].isin(effects)]
    if len(known) < 3:
        return {}
    planted = known["feature"].map(effects).to_numpy(dtype=np.float64)
    found = known["score"].to_numpy(dtype=np.float64)
    agree = np.sign(found - found.mean()) == np.sign(planted - planted.mean())
    return {
        "word_effect_correlation": float(spearmanr(found, planted).statistic),
        "word_sign_agreement": float(agree.mean()),
    }


def region_scores(
    rows: np.ndarray, attributions: Sequence[Attribution], truth: Truth, size: int
) -> dict[str, float]:
    """How well maps over pictures point at the planted elements.

    Args:
        rows: dataset row of each attribution [N].
        attributions: of the picture, whose map covers it.
        truth: boxes and effects of the elements.
        size: side of the planted pictures in pixels.

    Returns:
        `pointing_accuracy`: how often the largest contribution in absolute value lies inside a
        planted element (within half a cell of the map); `pointing_chance`: the mean share of the
        picture that the boxes cover, what a blind map reaches; `element_effect_correlation`:
        Spearman's of the contribution inside a box, summed, and the element's effect;
        `element_sign_agreement`: how often the two have the same sign; `overlap`: intersection
        over union of the boxes and the cells with the largest contributions that cover as much.
    """
    hits, chances, overlaps, sums, effects = [], [], [], [], []
    for row, attribution in zip(rows, attributions):
        content = truth.contents.iloc[row]
        boxes = [content[f"{name}_box"] for name in ELEMENTS]
        if attribution.raw.size == 0 or all(box is None for box in boxes):
            continue
        shape = attribution.raw.shape
        masks = [None if box is None else _inside(box, size, shape) for box in boxes]
        union = np.clip(sum(mask for mask in masks if mask is not None), 0, 1)
        strength = np.abs(attribution.raw)
        hits.append(union.flat[int(strength.argmax())] >= 0.5)
        chances.append(union.mean())
        top = np.zeros(strength.size)
        top[np.argsort(-strength, axis=None)[: max(1, round(union.sum()))]] = 1
        top = top.reshape(shape)
        overlaps.append(np.minimum(top, union).sum() / np.maximum(top, union).sum())
        for name, mask in zip(ELEMENTS, masks):
            if mask is not None:
                sums.append((attribution.raw * mask).sum())
                effects.append(content[f"{name}_effect"])
    if not hits:
        return {}
    found, planted = np.array(sums), np.array(effects, dtype=np.float64)
    return {
        "pointing_accuracy": float(np.mean(hits)),
        "pointing_chance": float(np.mean(chances)),
        "overlap": float(np.mean(overlaps)),
        "element_effect_correlation": float(spearmanr(found, planted).statistic),
        "element_sign_agreement": float(np.mean(np.sign(found) == np.sign(planted))),
    }


def _inside(box: Sequence[int], size: int, shape: tuple[int, ...]) -> np.ndarray:
    """Share of each cell of a map that lies in a box of pixels, float64 [H, W]."""
    left, top, right, bottom = box
    down = _covered(top, bottom, size, shape[0])
    across = _covered(left, right, size, shape[1])
    return np.outer(down, across)


def _covered(start: int, stop: int, size: int, cells: int) -> np.ndarray:
    edges = np.linspace(0, size, cells + 1)
    inside = np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start)
    return np.clip(inside, 0, None) * cells / size

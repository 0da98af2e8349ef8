"""Scores against planted truth: perfect, reversed and blind attributions get what they deserve."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ni_platform.attribution.attribution import Attribution
from ni_platform.data.synthetic import make_synthetic, read_truth
from ni_platform.insights.truth import ELEMENTS, region_scores, word_scores


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Twenty planted A/B tests with pictures of 64 pixels."""
    folder = tmp_path_factory.mktemp("truth") / "planted"
    make_synthetic(str(folder), tests=20, image_size=64)
    return read_truth(folder)


def ranked(effects: dict[str, float], sign: float) -> pd.DataFrame:
    """Rank scores that follow the effects."""
    return pd.DataFrame({"feature": list(effects), "score": [sign * e for e in effects.values()]})


def test_words(truth):
    """Of words without an effect nothing is asked."""
    effects = truth.effects.levels["word"]
    right = ranked(effects | {"from": 9.0}, 1)
    assert word_scores(right[right["feature"] != "from"], truth)[
        "word_effect_correlation"
    ] == pytest.approx(1)
    assert word_scores(right, truth)["word_effect_correlation"] == pytest.approx(1)
    assert word_scores(right, truth)["word_sign_agreement"] > 0.95
    assert word_scores(ranked(effects, -1), truth)["word_effect_correlation"] == pytest.approx(-1)


def maps(truth, of) -> tuple[np.ndarray, list[Attribution]]:
    """A map of 64 x 64 for each content with a picture; `of` draws it from the content."""
    rows = np.flatnonzero(truth.contents["product_box"].notna())
    return rows, [Attribution(of(truth.contents.iloc[row]), 0.1, 0.1) for row in rows]


def planted(content: pd.Series, sign: float = 1.0) -> np.ndarray:
    """Each element's effect, spread evenly over its box."""
    found = np.zeros((64, 64))
    for name in ELEMENTS:
        box = content[f"{name}_box"]
        if box is not None:
            left, top, right, bottom = box
            area = (right - left) * (bottom - top)
            found[top:bottom, left:right] += sign * content[f"{name}_effect"] / area
    return found


def test_regions_of_a_perfect_and_a_reversed_map(truth):
    """A map that is the truth points inside; its boxes hold the effects but where they overlap."""
    scores = region_scores(*maps(truth, planted), truth, 64)
    assert scores["pointing_accuracy"] == 1
    assert scores["element_effect_correlation"] > 0.9
    assert scores["element_sign_agreement"] > 0.85
    assert scores["overlap"] > 0.8
    turned = region_scores(*maps(truth, lambda c: planted(c, -1)), truth, 64)
    assert turned["element_effect_correlation"] < -0.9
    assert turned["element_sign_agreement"] < 0.25


def test_a_blind_map_points_inside_as_often_as_boxes_cover(truth):
    """Chance is what the boxes cover."""
    rng = np.random.default_rng(0)
    scores = region_scores(*maps(truth, lambda c: rng.normal(size=(16, 16))), truth, 64)
    assert 0.25 < scores["pointing_chance"] < 0.6
    assert abs(scores["pointing_accuracy"] - scores["pointing_chance"]) < 0.25
    assert abs(scores["element_effect_correlation"]) < 0.35

"""Patches of pictures with planted squares of two colours, one of which raises the rate."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from pictured import M2FN, NI, write_pictured
from PIL import Image
from scipy.stats import t as student

from ni_platform.attribution.attribution import Attribution
from ni_platform.errors import ConfigError
from ni_platform.insights.config import PatchConfig, SupportConfig
from ni_platform.insights.evidence import recorded_evidence
from ni_platform.insights.pairs import Arms
from ni_platform.insights.patch_figure import patch_alt_text, patch_figure
from ni_platform.insights.patches import (
    Patch,
    PatchInsights,
    cluster,
    elbow,
    patch_embeddings,
    patch_insights,
    patches_of,
    sampled,
    top_windows,
)
from ni_platform.models.scorer import build_scorer

TESTS = 20
SIDE, CELL = 64, 4
"""Pixels of a picture's side, and of its map's cells."""
SQUARE = 16
RED, BLUE = (220, 30, 30), (30, 30, 220)

RAISED = 0.01 * (1 + np.arange(TESTS) % 3)
"""What the red square of each test's first arm contributes; the second arm's blue one as little."""
WON = np.arange(TESTS) % 4 != 0
"""Tests whose first arm did better: 15 of 20."""


def of(raw: np.ndarray) -> Attribution:
    """An attribution of raw contributions."""
    return Attribution(raw, 0.2, 0.1)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Of two arms a test, the first with a red square, the second with a blue one."""
    rng = np.random.default_rng(0)
    found = []
    for row in range(2 * TESTS):
        pixels = rng.integers(100, 156, (SIDE, SIDE, 3), dtype=np.uint8)
        left, top = place(row)
        pixels[top : top + SQUARE, left : left + SQUARE] = BLUE if row % 2 else RED
        found.append(Image.fromarray(pixels))
    return found


def place(row: int) -> tuple[int, int]:
    """Left and top of a row's square."""
    return SQUARE * (row % 4), SQUARE * (row // 4 % 4)


def planted_maps() -> list[Attribution]:
    """Contributions of the squares alone, even over their cells; last a content without picture."""
    found = []
    for row in range(2 * TESTS):
        raw = np.zeros((SIDE // CELL, SIDE // CELL))
        left, top = (pixel // CELL for pixel in place(row))
        cells = SQUARE // CELL
        worth = RAISED[row // 2] * (-1 if row % 2 else 1)
        raw[top : top + cells, left : left + cells] = worth / cells**2
        found.append(of(raw))
    return [*found, of(np.zeros((0, 0)))]


def mean_colours(patches) -> np.ndarray:
    """An embedding that tells colours apart."""
    return np.array([np.asarray(patch).mean((0, 1)) for patch in patches]) / 255


@pytest.fixture(scope="module")
def insights(pictures) -> PatchInsights:
    """Of the planted pictures; the model learned from the second half of the tests."""
    rate = np.array([0.1 + 0.02 * (won != bool(arm)) for won in WON for arm in range(2)])
    labels = pd.Series([f"t{row // 2}" for row in range(2 * TESTS)] + [None])
    tests = np.append(np.arange(2 * TESTS) // 2, TESTS)
    found = patch_insights(
        planted_maps(), pictures.__getitem__, mean_colours,
        Arms.of(np.append(rate, 0.1), labels, None), tests, tests < TESTS // 2,
        SupportConfig(contents=10, tests=5), PatchConfig(clusters=6, overlap=0.0),
    )  # fmt: skip
    return replace(found, clusters=recorded_evidence(found.clusters))


def test_windows_by_hand():
    """Of 2 x 2: neighbours by a side share a third with the best, those by a corner a seventh."""
    values = np.zeros((4, 4))
    values[:2, :2], values[2:, 2:] = 5, 3
    assert top_windows(values, (2, 2), count=5, overlap=0.2) == [(0, 0), (2, 2), (1, 1)]
    assert top_windows(values, (2, 2), count=5, overlap=0.1) == [(0, 0), (2, 2)]
    assert top_windows(values, (2, 2), count=1, overlap=0.1) == [(0, 0)]
    assert top_windows(values, (2, 2), count=3, overlap=0.4) == [(0, 0), (2, 2), (0, 1)]
    assert top_windows(-values, (2, 2), count=5, overlap=0.2) == []
    assert top_windows(values, (4, 4), count=5, overlap=0.2) == [(0, 0)]


def test_rounding_is_no_contribution():
    """Windows of zeros beside large numbers are no patches."""
    values = np.zeros((6, 6))
    values[0] = [0.1, 0.7, -0.3, 1e6, 0.2, 0.3]
    assert [top for top, _ in top_windows(values, (1, 1), count=36, overlap=0.0)] == [0] * 5


def test_boxes_cover_the_windows_cells():
    """A map of 4 x 8 over 200 x 50 pixels; half of the area's root is 50 pixels, 4 x 2 cells."""
    raw = np.zeros((4, 8))
    raw[:, 3:5], raw[0, 7] = 0.01, -0.02
    found = patches_of(6, of(raw), (200, 50), PatchConfig(share=0.5))
    assert found == [
        Patch(6, (75, 0, 125, 50), pytest.approx(0.08)),
        Patch(6, (150, 0, 200, 50), pytest.approx(-0.02)),
    ]


def test_a_box_has_a_pixel_though_the_map_is_finer():
    """A map of 10 x 10 over a picture of 3 x 3 pixels."""
    raw = np.zeros((10, 10))
    raw[9, 9] = 1.0
    (patch,) = patches_of(0, of(raw), (3, 3), PatchConfig(share=0.1))
    assert patch.box == (2, 2, 3, 3)


def test_the_elbow_of_three_blobs_is_three():
    """And each blob is a cluster."""
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 0], [0, 12]])
    points = np.concatenate([centre + rng.normal(0, 0.3, (30, 2)) for centre in centres])
    labels = cluster(points, most=12, seed=0)
    assert sorted(np.bincount(labels)) == [30, 30, 30]
    assert all(len(set(labels[30 * blob : 30 * blob + 30])) == 1 for blob in range(3))


def test_elbows_by_hand():
    """Below the chord from (0, 1) to (1, 0), the point that is farthest from it."""
    assert elbow([10.0, 6.0, 1.0, 0.5, 0.0]) == 3  # distances 0, 0.15, 0.4, 0.2, 0
    assert elbow([10.0, 0.0, 0.0]) == 2
    assert elbow([4.0, 2.0, 0.0]) == 1  # a straight line has none
    assert elbow([0.0, 0.0]) == 1
    assert elbow([3.0]) == 1


def test_fewer_different_patches_than_clusters():
    """Two kinds of equal embeddings are two clusters, one kind is one."""
    two = np.repeat([[0.0, 1.0], [1.0, 0.0]], 5, axis=0)
    assert sorted(np.bincount(cluster(two, most=8, seed=0))) == [5, 5]
    assert set(cluster(two[:5], most=8, seed=0)) == {0}


def test_patches_are_the_planted_squares(insights):
    """One of each picture, where it was drawn, with what it contributes."""
    assert len(insights.patches) == 2 * TESTS
    for row, patch in enumerate(insights.patches):
        left, top = place(row)
        assert patch.row == row
        assert patch.box == (left, top, left + SQUARE, top + SQUARE)
        assert patch.contribution == pytest.approx(RAISED[row // 2] * (-1 if row % 2 else 1))


def test_clusters_tell_the_two_kinds_apart(insights):
    """The one that raises the rate is the first."""
    assert [patch.cluster for patch in insights.patches] == [1, 2] * TESTS


def test_scores_and_intervals_by_hand(insights):
    """One patch per test and cluster: the mean, and Student's interval of it."""
    table = insights.clusters.set_index("cluster")
    assert list(table.index) == [1, 2]
    width = student.ppf(0.975, TESTS - 1) * RAISED.std(ddof=1) / np.sqrt(TESTS)
    for number, sign in ((1, 1), (2, -1)):
        score = sign * RAISED.mean()
        found = table.loc[number, ["score", "low", "high", "contents", "tests"]]
        np.testing.assert_allclose(
            found.to_numpy(dtype=float), [score, score - width, score + width, TESTS, TESTS]
        )


def test_past_agreement_counts_held_out_tests(insights):
    """Of the first ten tests the arm with the red square won all but the 0th, 4th and 8th."""
    for number in (1, 2):
        line = insights.clusters.set_index("cluster").loc[number]
        assert line["of"] == line["agreed_tests"] == 10
        assert line["agreed"] == pytest.approx(0.7)


def test_patches_of_both_directions_are_sampled(insights):
    """Ten of each, of different contents, all of the right kind; the same again."""
    for patches, number in ((insights.positive, 1), (insights.negative, 2)):
        assert len({patch.row for patch in patches}) == len(patches) == 10
        assert {patch.cluster for patch in patches} == {number}


def test_what_rests_on_too_little_is_not_shown(pictures):
    """Clusters stay in the table, but none of their patches is recommended."""
    arms = Arms.of(np.full(6, 0.1), pd.Series(["a", "a", "b", "b", "c", "c"]), None)
    found = patch_insights(
        planted_maps()[:6], pictures.__getitem__, mean_colours, arms, arms.test,
        np.ones(6, dtype=bool), SupportConfig(contents=3, tests=4), PatchConfig(overlap=0.0),
    )  # fmt: skip
    assert list(found.clusters["contents"]) == [3, 3]
    assert list(found.clusters["of"]) == [0, 0]  # ties
    assert found.positive == found.negative == []
    assert "rests on enough" in patch_alt_text(found, True)
    clusters = recorded_evidence(found.clusters)
    patch_figure(replace(found, clusters=clusters), pictures.__getitem__, True)


def test_without_pictures_there_are_no_clusters(pictures):
    """A content without a picture and one whose map is zero: an empty table of the same columns."""
    arms = Arms.of(np.full(2, 0.1), pd.Series(["a", "a"]), None)
    found = patch_insights(
        [of(np.zeros((0, 0))), of(np.zeros((4, 4)))], pictures.__getitem__, mean_colours, arms,
        arms.test, np.ones(2, dtype=bool), SupportConfig(), PatchConfig(),
    )  # fmt: skip
    assert found.clusters.empty
    assert list(found.clusters.columns) == [
        "cluster", "score", "low", "high", "contents", "tests", "agreed", "of", "agreed_tests",
    ]  # fmt: skip
    assert (found.positive, found.negative, found.patches) == ([], [], [])


def test_clusters_give_equally_many_patches():
    """Three clusters give three each; where one has two contents, two each; of the right sign."""
    rng = np.random.default_rng(0)
    patches = [
        Patch(row, (0, 0, 1, 1), sign * 0.1, number)
        for number, contents in ((1, 8), (2, 5), (3, 2))
        for row in range(contents)
        for sign in (1, 1, -1)
    ]
    found = sampled(patches, [2, 1], 1, rng)
    assert [patch.cluster for patch in found] == [2] * 5 + [1] * 5
    assert len({(patch.cluster, patch.row) for patch in found}) == 10
    assert {patch.contribution for patch in found} == {0.1}
    assert [patch.cluster for patch in sampled(patches, [1, 2, 3], -1, rng)] == [1, 1, 2, 2, 3, 3]
    assert sampled(patches, [], 1, rng) == []


def test_the_figure_shows_two_rows_of_ten(insights, pictures):
    """It is drawn, with an alternative text in words."""
    figure = patch_figure(insights, pictures.__getitem__, True)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 20
    assert shown[0].get_xlabel() == (
        "+1.95 percentage points\n[+1.56, +2.34]\n20 contents, 20 tests\nheld in 70% of 10 pairs\n"
        "randomised A/B tests"
    )
    assert tuple(shown[0].images[0].get_array()[8, 8]) == RED
    assert tuple(shown[10].images[0].get_array()[8, 8]) == BLUE
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=30)
    assert drawn.getbuffer().nbytes > 1000
    assert patch_alt_text(insights, True) == (
        "10 patches of 1 cluster that raises the predicted rate, by +1.95 percentage points. "
        "10 patches of 1 cluster that lowers the predicted rate, by -1.95 percentage points."
    )


@pytest.mark.parametrize("config", [NI, M2FN], ids=["neural_insights", "m2fn"])
def test_patches_are_embedded_by_the_networks_image_encoder(config, tmp_path, pictures):
    """At their own size where the network reads any size, else resized to what it reads."""
    scorer = build_scorer(config, write_pictured(tmp_path / "pictured"), np.arange(50), seed=0)
    patches = [pictures[0].crop((0, 0, 16, 16)), pictures[1].crop((16, 0, 40, 20))]
    found = patch_embeddings(scorer, patches)
    assert found.shape == (2, 32)
    encoder = scorer.model.encoders["image"]
    for patch, embedding in zip(patches, found):
        size = config.image.input.size
        resized = patch if size is None else patch.resize((size, size), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).unsqueeze(0)
        with torch.no_grad():
            expected = (
                encoder(pixels) if config is NI else encoder(pixels, torch.ones(1), {}).mean((2, 3))
            )
        np.testing.assert_allclose(embedding, expected[0].numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"share": 0.0}, "share must be in"),
        ({"overlap": 1.0}, "overlap must be in"),
        ({"per_picture": 0}, "per_picture must be at least 1"),
    ],
)
def test_a_config_that_cannot_be_is_one_message(values, words):
    """It names the value."""
    with pytest.raises(ConfigError, match=words):
        PatchConfig(**values)

"""The insight correlation (NI Algorithms 1, 3 and 4) against sums done by hand."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
import torch

from ni_platform.attribution.attribution import Attribution
from ni_platform.insights.correlation import (
    agreement,
    all_pairs,
    control_against_best,
    mean_correlation,
)
from ni_platform.insights.differences import (
    attributed_difference,
    element_difference,
    location_difference,
)
from ni_platform.insights.pairs import Arms


def test_worked_example_of_words():
    """NI Figure 5: words of one sentence only are masked 1, and inner products subtracted."""
    control, treatment = ["get", "free", "music", "today"], ["get", "unlimited", "music", "now"]
    p_i, p_j = element_difference(control, treatment)
    np.testing.assert_array_equal(p_i, [0, 1, 0, 1])
    np.testing.assert_array_equal(p_j, [0, 1, 0, 1])
    c_i = Attribution(np.array([0.01, 0.03, 0.02, 0.00]), 0.06, 0.0)
    c_j = Attribution(np.array([0.01, 0.05, 0.02, 0.01]), 0.09, 0.0)
    assert attributed_difference(c_i, c_j, p_i, p_j) == pytest.approx(0.06 - 0.03)


def test_a_word_that_stands_twice_counts_twice():
    """Each occurrence is masked."""
    p_i, p_j = element_difference(["win", "win", "now"], ["now"])
    np.testing.assert_array_equal(p_i, [1, 1, 0])
    np.testing.assert_array_equal(p_j, [0])


def test_worked_example_of_pictures():
    """NI Figure 6: one location of each picture has no like in the other.

    Feature vectors are axes a, b and c; control [[a, b], [b, a]], treatment [[a, b], [b, c]].
    Attribution maps are twice as large, so the masks are resized to them.
    """
    a, b, c = torch.eye(3)
    control = torch.stack([torch.stack([a, b]), torch.stack([b, a])]).permute(2, 0, 1)
    treatment = torch.stack([torch.stack([a, b]), torch.stack([b, 5 * c])]).permute(2, 0, 1)
    p_i, p_j = location_difference(control, treatment, similarity=0.9)
    np.testing.assert_array_equal(p_i, [[0, 0], [0, 0]])  # every location of control has a like
    np.testing.assert_array_equal(p_j, [[0, 0], [0, 1]])
    c_i = Attribution(np.full((4, 4), 0.01), 0.16, 0.0)
    c_j = Attribution(np.arange(16.0).reshape(4, 4) / 1000, 0.12, 0.0)
    expected = (10 + 11 + 14 + 15) / 1000
    assert attributed_difference(c_i, c_j, p_i, p_j) == pytest.approx(expected)


def test_locations_are_compared_in_blocks(monkeypatch):
    """Small blocks give what one large one gives."""
    torch.manual_seed(0)
    first, second = torch.randn(5, 7, 9), torch.randn(5, 4, 11)
    whole = location_difference(first, second, similarity=0.85)
    monkeypatch.setattr("ni_platform.insights.differences._LOCATIONS_AT_ONCE", 8)
    blocks = location_difference(first, second, similarity=0.85)
    for one, other in zip(whole, blocks):
        np.testing.assert_array_equal(one, other)
    assert 0 < whole[0].mean() < 1
    assert whole[0].shape == (7, 9)
    assert whole[1].shape == (4, 11)


def arms() -> Arms:
    """Two tests of three arms, the second without a control; a content outside; one unseen."""
    return Arms.of(
        np.array([0.10, 0.12, 0.08, 0.20, 0.26, 0.22, 0.5, np.nan]),
        pd.Series(["t", "t", "t", "u", "u", "u", None, "u"]),
        pd.Series(["control", "treatment", "treatment", *["treatment"] * 5]),
    )


def test_pairs_are_those_within_tests_and_begin_with_the_control():
    """Every pair once, the control first."""
    found = arms()
    pairs = {(int(i), int(j)) for i, j in zip(found.first, found.second)}
    assert {frozenset(pair) for pair in pairs} == {
        frozenset(p) for p in [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)]
    }
    assert {pair for pair in pairs if 0 in pair} == {(0, 1), (0, 2)}


def test_rho_is_that_of_the_surrogates():
    """d_C = sign(Y' - Y) (attribution of X' less that of X), d_Y = |Y' - Y|."""
    found = arms()
    contribution = np.array([0.0, 0.01, -0.005, 0.0, 0.05, 0.06, 9.0, 9.0])
    difference = contribution[found.second] - contribution[found.first]
    result = agreement(found, difference, all_pairs(found, np.ones(6, dtype=bool)))
    d_y = [0.02, 0.02, 0.04, 0.06, 0.02, 0.04]
    d_c = [0.01, 0.005, 0.015, 0.05, 0.06, -0.01]
    assert result.correlation.value == pytest.approx(np.corrcoef(d_c, d_y)[0, 1])
    assert result.pairwise.value == pytest.approx(5 / 6)
    assert (result.pairs, result.tests) == (6, 2)


def test_the_control_meets_its_best_treatment_only():
    """Of test t: content 1, which did best; test u has no control."""
    found = arms()
    choose = control_against_best(found, np.ones(6, dtype=bool))
    (pair,) = choose(found.rate)
    assert (found.first[pair], found.second[pair]) == (0, 1)
    worse = found.rate.copy()
    worse[1] = 0.01
    (pair,) = choose(worse)
    assert (found.first[pair], found.second[pair]) == (0, 2)
    same = (found.first == 0) & (found.second == 1)
    assert list(control_against_best(found, ~same)(found.rate)) == [
        int(np.flatnonzero((found.first == 0) & (found.second == 2))[0])
    ]


def simulated(seed: int, tests: int = 120, signal: float = 1.0) -> tuple[Arms, np.ndarray]:
    """Tests of 4 arms whose rates follow a contribution plus the test's level plus noise."""
    rng = np.random.default_rng(seed)
    test = np.repeat(np.arange(tests), 4)
    contribution = rng.normal(0, 0.01, 4 * tests)
    rate = 0.1 + rng.normal(0, 0.03, tests)[test] + signal * contribution
    rate += rng.normal(0, 0.01, 4 * tests)
    arm = pd.Series(np.where(np.arange(4 * tests) % 4 == 0, "control", "treatment"))
    found = Arms.of(rate, pd.Series(test), arm)
    return found, contribution[found.second] - contribution[found.first]


@pytest.mark.parametrize("chooser", [all_pairs, control_against_best])
def test_a_planted_agreement_is_found_and_chance_is_not(chooser):
    """The p-value is small with a signal, and uniform without: a tenth lies below a tenth."""
    found, difference = simulated(0)
    choose = chooser(found, np.ones(len(difference), dtype=bool))
    result = agreement(found, difference, choose, permutations=200)
    assert result.p_value == pytest.approx(1 / 201)
    assert result.correlation.low > 0
    assert result.pairwise.low > 0.5
    values = []
    for seed in range(60):
        null, difference = simulated(seed, tests=30, signal=0.0)
        choose = chooser(null, np.ones(len(difference), dtype=bool))
        values.append(
            agreement(null, difference, choose, replicates=0, permutations=99, seed=seed).p_value
        )
    assert abs(np.mean(values) - 0.5) < 0.13  # 3.5 standard errors
    assert np.mean(np.array(values) <= 0.1) < 0.25


def test_without_pairs_nothing_is_claimed():
    """Figures are undefined, not zero."""
    found = Arms.of(np.array([0.1, 0.2]), None, None)
    result = agreement(found, np.empty(0), all_pairs(found, np.empty(0, dtype=bool)))
    assert np.isnan(result.correlation.value)
    assert np.isnan(result.p_value)
    assert (result.pairs, result.tests) == (0, 0)


def test_the_mean_over_trainings_is_on_the_same_draws_of_tests():
    """Of equal trainings it is one training's own; a training's tests may be fewer."""
    found, difference = simulated(0, tests=30)
    pairs = pd.DataFrame(
        {
            "ab_test": [f"{test:02d}" for test in found.test[found.first]],
            "attribution_difference": difference,
            "rate_difference": found.rate[found.second] - found.rate[found.first],
        }
    )
    alone = agreement(found, difference, all_pairs(found, np.ones(len(difference), dtype=bool)))
    twice = mean_correlation([pairs, pairs]).estimate()
    assert astuple(twice) == pytest.approx(astuple(alone.correlation))
    fewer = pairs[pairs["ab_test"] < "20"]
    d_c = np.sign(fewer["rate_difference"]) * fewer["attribution_difference"]
    rho = np.corrcoef(d_c, fewer["rate_difference"].abs())[0, 1]
    mean = mean_correlation([pairs, fewer], replicates=0)
    assert mean.value == pytest.approx((alone.correlation.value + rho) / 2)
    assert np.isnan(mean_correlation([pairs[:0]]).value)

"""What is believed of a test's arms, before and after some of their counts."""

import numpy as np
import pytest
from scipy.special import expit

from ni_platform.beliefs.arms import gathered
from ni_platform.beliefs.prior import (
    FEWEST_TESTS,
    LEVEL_VARIANCE,
    Prior,
    fisher_step,
    posterior,
    root,
)
from tests.value.planted import world


def test_slope_and_spread_of_planted_tests_are_found():
    """A model that says twice the truth gets a slope of 1/2; the spread is what was planted.

    Effects scatter by 0.3. Predictions are 2 effects + noise of 0.4, so the best slope is
    2 * 0.09 / (4 * 0.09 + 0.16) = 0.346, and 0.3 √(1 - 0.36 / 0.52) = 0.166 is left.
    """
    tests = world(0, 2000, slope=2.0, noise=0.4).tests()
    found = Prior.fit(tests, 1.0, with_model=True)
    assert found.slope == pytest.approx(0.346, abs=0.02)
    assert found.deviation == pytest.approx(0.166, abs=0.02)
    assert found.tests == 2000
    alone = Prior.fit(tests, 1.0, with_model=False)
    assert (alone.slope, alone.deviation) == (0.0, pytest.approx(0.3, abs=0.02))


def test_a_model_that_knows_nothing_or_the_contrary_counts_for_nothing():
    """Its slope is near 0, or 0, and the spread is that without it."""
    for slope in (0.0, -1.0):
        found = Prior.fit(world(1, 1000, slope=slope).tests(), 1.0, with_model=True)
        assert 0 <= found.slope < 0.1
        assert found.deviation == pytest.approx(0.3, abs=0.03)


def test_the_models_own_uncertainty_is_not_counted_twice():
    """Where a covariance already says how predictions miss, no spread is left to find.

    Without it the spread is that of the errors within a test: 0.3 √(1 - 1/6), as one of three
    pairs of arms has a correlation of 1/2.
    """
    rng = np.random.default_rng(3)
    root = 0.3 * np.linalg.cholesky(np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]))
    predicted = rng.normal(0, 0.3, (1500, 3))
    truth = predicted + rng.standard_normal((1500, 3)) @ root.T
    shown = np.full(4500, 4000.0)
    clicks = rng.binomial(4000, expit(truth - 3.5)).ravel().astype(float)
    columns = (np.repeat(np.arange(1500), 3), clicks, shown, predicted.ravel())
    own = dict.fromkeys(range(1500), root @ root.T)
    found = [
        Prior.fit(gathered(*columns, covariance), 1.0, with_model=True) for covariance in (own, {})
    ]
    assert [one.slope for one in found] == pytest.approx([1, 1], abs=0.05)
    assert found[0].deviation < 0.1
    assert found[1].deviation == pytest.approx(0.274, abs=0.03)


def test_too_few_past_tests_show_nothing():
    """Then there is no prior."""
    tests = world(4, FEWEST_TESTS, arms=(2, 2))
    assert Prior.fit(tests.tests(), 1.0, with_model=True) is not None
    few = tests.test < FEWEST_TESTS - 1
    columns = (tests.test, tests.clicks, tests.impressions, tests.logit)
    assert Prior.fit(gathered(*(c[few] for c in columns), {}), 1.0, with_model=True) is None


def test_counts_become_observed_logits():
    """By hand: 30 and 10 clicks of 500 each, pooled 40.5 of 1001; an arm that nobody saw says 0."""
    clicks, shown = np.array([[30, 10, 0]]), np.array([[500, 500, 0]])
    observed, weight = fisher_step(clicks, shown, 2.0)
    pooled = 40.5 / 1001
    unit = pooled * (1 - pooled)
    assert observed[0] == pytest.approx([(0.06 - pooled) / unit, (0.02 - pooled) / unit, 0])
    assert weight[0] == pytest.approx([250 * unit, 250 * unit, 0])


def test_the_posterior_is_that_of_precisions_added_up():
    """Against (C⁻¹ + W)⁻¹, also where an arm has no impressions; draws have its moments."""
    rng = np.random.default_rng(5)
    half = rng.normal(size=(4, 4))
    covariance = half @ half.T + np.eye(4) + LEVEL_VARIANCE
    mean, observed = rng.normal(size=4), rng.normal(size=4)
    weight = np.array([3.0, 0.5, 0.0, 10.0])
    after = np.linalg.inv(np.linalg.inv(covariance) + np.diag(weight))
    expected = after @ (np.linalg.solve(covariance, mean) + weight * observed)
    draws = 200_000
    found, drawn = posterior(
        mean[None],
        covariance[None],
        observed[None],
        weight[None],
        root(covariance[None]),
        (rng.standard_normal((1, 4, draws)), rng.standard_normal((1, 4, draws))),
    )
    assert found[0] == pytest.approx(expected)
    assert drawn[0].mean(axis=1) == pytest.approx(expected, abs=0.03)
    assert np.cov(drawn[0]) == pytest.approx(after, abs=0.05)
    assert posterior(mean[None], covariance[None], observed[None], weight[None])[1].size == 0


def test_a_covariance_without_full_rank_has_a_root():
    """Two arms that a model cannot tell apart, and what rounding does to them."""
    covariance = np.array([[[1.0, 1.0], [1.0, 1.0 - 1e-12]]])
    found = root(covariance)
    assert found @ found.swapaxes(1, 2) == pytest.approx(covariance)

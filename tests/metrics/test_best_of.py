"""The optimism of taking the best of many, against chance that is known."""

from __future__ import annotations

import numpy as np
import pytest

from ni_platform.metrics.pairwise import pairwise_within
from ni_platform.metrics.scored import EvaluationError
from tests.metrics.columns import best_of_many

TESTS, PREDICTORS = 200, 100


def planted(seed: int, skill: float = 0.0):
    """Tests of two contents; all predictors guess, but the last knows a share of the outcomes."""
    rng = np.random.default_rng(seed)
    clicks = rng.permuted(np.tile([100.0, 200.0], (TESTS, 1)), axis=1)
    guesses = rng.random((PREDICTORS, TESTS, 2))
    known = rng.random(TESTS) < skill
    guesses[-1, known] = clicks[known]
    outcomes = {
        "clicks": clicks.ravel(),
        "impressions": np.full(2 * TESTS, 1000.0),
        "ab_test": np.repeat(np.arange(TESTS), 2),
    }
    return guesses.reshape(PREDICTORS, -1).astype(np.float32), outcomes


def test_guessing_is_found_out():
    """The luckiest of 100 guessers looks like 0.59 of 200 pairs; corrected, it is a coin again.

    The largest of 100 standard normal numbers is 2.51 on average, and one right guess in 200
    has a standard deviation of 0.5 / √200 = 0.0354.
    """
    found = []
    for seed in range(8):
        predictions, outcomes = planted(seed)
        found.append(best_of_many("pairwise_within", predictions, **outcomes))
    apparent = np.mean([result.apparent for result in found])
    corrected = np.mean([result.corrected.value for result in found])
    optimism = np.mean([result.optimism for result in found])
    assert apparent == pytest.approx(0.5 + 2.51 * 0.0354, abs=0.012)
    assert corrected == pytest.approx(0.5, abs=0.012)
    assert optimism == pytest.approx(apparent - corrected)
    assert all(r.corrected.low < 0.5 < r.corrected.high for r in found)


def test_errors_are_corrected_upwards():
    """Predictors of equal error: the smallest observed RMSE is corrected to the common one."""
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.1, 0.9, 300)
    predictions = rates + rng.normal(0, 0.05, (200, 300))
    found = best_of_many("rmse", predictions, 1000 * rates, np.full(300, 1000.0))
    observed = np.sqrt(((predictions - rates) ** 2).mean(axis=1))
    assert found.chosen == observed.argmin()
    assert found.apparent == pytest.approx(observed.min())
    assert found.apparent < 0.046
    assert found.corrected.value == pytest.approx(0.05, abs=0.001)
    assert found.optimism == pytest.approx(found.corrected.value - found.apparent)


def test_a_predictor_that_is_far_better_is_no_luck():
    """Who knows 9 of 10 outcomes wins in every bag: nothing is corrected."""
    predictions, outcomes = planted(0, skill=0.9)
    found = best_of_many("pairwise_within", predictions, **outcomes)
    assert found.chosen == PREDICTORS - 1
    assert found.apparent == pairwise_within(predictions[-1], **outcomes)
    assert abs(found.optimism) < 0.005


def test_whole_tests_are_resampled():
    """One test copied ten times is no evidence of its own: 20 tests, not 200, decide."""
    predictions, outcomes = planted(1)
    copied = np.tile(np.arange(40), 10)
    outcomes = {name: column[copied] for name, column in outcomes.items()}
    found = best_of_many("pairwise_accuracy", predictions[:, copied], **outcomes, replicates=50)
    assert found.optimism > 0.1
    fewer = copied < 38
    predictions = predictions[:, copied][:, fewer]
    outcomes = {name: column[fewer] for name, column in outcomes.items()}
    with pytest.raises(EvaluationError, match="at least 20 independent A/B tests"):
        best_of_many("pairwise_accuracy", predictions, **outcomes)


def test_one_predictor_is_no_choice():
    """There is nothing to correct."""
    predictions, outcomes = planted(0)
    with pytest.raises(EvaluationError, match="at least two predictors"):
        best_of_many("rmse", predictions[:1], **outcomes)

"""Probabilities of pairs that are right, too sure and too timid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from ni_platform.metrics.pair_probability import PredictedPairs, pair_probability_metrics


def world(seed=0, tests=4000):
    """Two arms per test; true differences are normal, and the model knows them but for 0.1."""
    rng = np.random.default_rng(seed)
    known = rng.normal(0, 0.3, tests)
    true = known + rng.normal(0, 0.1, tests)
    level = rng.normal(-3, 0.5, tests)
    shown = rng.integers(2000, 9000, 2 * tests)
    logits = np.repeat(level, 2)
    logits[::2] += true
    clicks = rng.binomial(shown, expit(logits))
    return known, clicks.astype(float), shown.astype(float)


def measured(difference, variance, clicks, shown, **changes):
    """The three metrics of pairs (0, 1), (2, 3), ..."""
    first = np.arange(0, len(clicks), 2)
    pairs = PredictedPairs(
        first=first,
        second=first + 1,
        difference=difference,
        variance=np.full(len(first), variance),
        **changes,
    )
    clusters = np.repeat(np.arange(len(first)), 2)
    return pair_probability_metrics(pairs, clicks, shown, clusters, replicates=200)


def test_a_model_that_knows_what_it_knows():
    """Slope 1, 95 % inside, and a log loss below a coin's, each within its interval."""
    found = measured(*_at(0.01))
    assert found["pair_slope"].low < 1 < found["pair_slope"].high
    assert found["pair_coverage"].value == pytest.approx(0.95, abs=0.01)
    assert found["pair_log_loss"].high < np.log(2)


def test_one_that_is_too_sure_and_one_that_is_too_timid():
    """Both lose, and slope and coverage say which it is."""
    right, sure, timid = (measured(*_at(v, scale=s)) for v, s in ((0.01, 1), (1e-6, 3), (1.0, 1)))
    assert sure["pair_slope"].high < 0.8
    assert timid["pair_slope"].low > 1.2
    assert sure["pair_coverage"].value < 0.9 < 0.99 < timid["pair_coverage"].value
    best = right["pair_log_loss"].value
    assert best < min(sure["pair_log_loss"].value, timid["pair_log_loss"].value)


def _at(variance, scale=1.0):
    known, clicks, shown = world()
    return scale * known, variance, clicks, shown


def test_a_coin_by_hand():
    """Without any difference each pair has one chance in two; ties have no winner."""
    clicks, shown = np.array([50.0, 70, 40, 40, 9, 0]), np.array([1000.0, 1000, 800, 800, 90, 0])
    found = measured(np.zeros(3), 0.02, clicks, shown)
    assert found["pair_log_loss"].value == pytest.approx(np.log(2))
    assert found["pair_coverage"].value == 1.0
    assert np.isnan(found["pair_slope"].value)


def test_some_of_the_pairs():
    """Positions are counted among the contents that are chosen."""
    pairs = PredictedPairs(
        first=np.array([0, 2, 3]),
        second=np.array([1, 4, 4]),
        difference=np.array([1.0, 2, 3]),
        variance=np.ones(3),
    )
    own = pairs.of(np.array([False, True, True, True, True]))
    assert own.first.tolist() == [1, 2]
    assert own.second.tolist() == [3, 3]
    assert own.difference.tolist() == [2, 3]

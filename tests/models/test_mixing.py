"""The mean of logits, and weights on planted outcomes of which the best are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from ni_platform.errors import DatasetError
from ni_platform.models.mixing import fit_weights, mixed

TESTS = np.repeat(np.arange(40), 3).astype(object)


def planted(weights, level):
    """Three predictions, and the clicks that their mean expects in tests of a `level` [40]."""
    rng = np.random.default_rng(0)
    z_KN = rng.normal(-2, 0.5, (3, 120))
    shown = rng.integers(500, 5000, 120).astype(float)
    clicks = shown * expit(np.asarray(weights) @ z_KN + np.repeat(level, 3))
    return list(expit(z_KN)), clicks, shown


def test_the_mean_is_one_of_logits():
    """Odds of 1/4 and 4 with weights 1/4 and 3/4: 4 to the power of 1/2 is 2, a rate of 2/3."""
    rates = mixed([np.array([0.2]), np.array([0.8])], [0.25, 0.75])
    assert rates == pytest.approx([2 / 3])
    assert np.isfinite(mixed([np.array([0.0, 1.0])], [1.0])).all()


@pytest.mark.parametrize("weights", [(0.2, 0.3, 0.5), (0.0, 0.6, 0.4), (0.0, 0.0, 1.0)])
def test_planted_weights_are_found(weights):
    """Whatever the level of each test, and exactly 0 for what adds nothing."""
    level = np.random.default_rng(1).normal(0, 2, 40)
    found = fit_weights(*planted(weights, level), TESTS)
    np.testing.assert_allclose(found, weights, atol=1e-3)
    assert found.sum() == pytest.approx(1)
    assert [w == 0 for w in found] == [w == 0 for w in weights]


def test_the_least_loss_of_noisy_clicks():
    """As a general solver finds it that has the level of each test among its unknowns."""
    rates, clicks, shown = planted((0.5, 0.3, 0.2), np.zeros(40))
    clicks = np.random.default_rng(2).binomial(shown.astype(int), clicks / shown).astype(float)
    z_KN = np.log(np.stack(rates) / (1 - np.stack(rates)))

    def loss(unknown):
        a, b = unknown[:2]
        x = a * z_KN[0] + b * z_KN[1] + (1 - a - b) * z_KN[2] + np.repeat(unknown[2:], 3)
        excess = shown * expit(x) - clicks
        by_weight = [excess @ (z_KN[0] - z_KN[2]), excess @ (z_KN[1] - z_KN[2])]
        gradient = np.append(by_weight, excess.reshape(40, 3).sum(1))
        return (shown * np.logaddexp(0, x) - clicks * x).sum(), gradient

    best = minimize(loss, np.full(42, 0.1), jac=True, method="BFGS", options={"maxiter": 5000}).x
    found = fit_weights(rates, clicks, shown, TESTS)
    np.testing.assert_allclose(found[:2], best[:2], atol=2e-3)


def test_equal_predictions_share_their_weight():
    """Nothing tells two equal ones apart, alone or beside a third."""
    rates, clicks, shown = planted((0.6, 0.4, 0.0), np.zeros(40))
    equal = fit_weights([rates[0], rates[0]], clicks, shown, TESTS)
    np.testing.assert_allclose(equal, [0.5, 0.5], atol=1e-6)
    found = fit_weights([rates[0], rates[1], rates[0]], clicks, shown, TESTS)
    np.testing.assert_allclose(found, [0.3, 0.4, 0.3], atol=1e-3)


def test_contents_outside_of_tests():
    """They count where no test has two arms; then all have one level."""
    rates, clicks, shown = planted((0.2, 0.3, 0.5), np.full(40, 0.7))
    nothing = np.full(120, None)
    np.testing.assert_allclose(
        fit_weights(rates, clicks, shown, nothing), [0.2, 0.3, 0.5], atol=1e-3
    )
    some = np.where(np.arange(120) < 60, TESTS, None)
    wrong = np.where(np.arange(120) < 60, clicks, shown / 2)
    np.testing.assert_allclose(fit_weights(rates, wrong, shown, some), [0.2, 0.3, 0.5], atol=1e-3)


def test_what_was_not_shown_does_not_count():
    """Rows without impressions, and tests without clicks, change nothing."""
    rates, clicks, shown = planted((0.2, 0.3, 0.5), np.zeros(40))
    shown[3], clicks[3] = 0, 0
    clicks[6:9] = 0
    np.testing.assert_allclose(fit_weights(rates, clicks, shown, TESTS), [0.2, 0.3, 0.5], atol=1e-3)


@pytest.mark.parametrize("clicks", [0.0, 100.0])
def test_outcomes_that_say_nothing(clicks):
    """Nobody clicked, or everybody did."""
    with pytest.raises(DatasetError, match="none of the 120 that were shown tell arms apart"):
        fit_weights(
            planted((1, 0, 0), np.zeros(40))[0], np.full(120, clicks), np.full(120, 100.0), TESTS
        )

"""Impressions, shares and gains, against statsmodels, Monte Carlo and by hand."""

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.power import NormalIndPower

from ni_platform.plans.traffic import (
    chance_found,
    expected_gain,
    impressions_needed,
    traffic_shares,
)


def test_a_control_gets_more() -> None:
    """The square root of the number of the others: 2 : 1 : 1 : 1 : 1."""
    assert traffic_shares(5, 0).tolist() == pytest.approx([2 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6])
    assert traffic_shares(4, None).tolist() == [0.25] * 4
    assert traffic_shares(1, 0).tolist() == [1.0]


def test_impressions_are_those_of_the_textbook() -> None:
    """Two equal arms with the pooled spread of statsmodels, and a share that costs twice."""
    p, q = 0.10, 0.12
    spread = np.sqrt((p * (1 - p) + q * (1 - q)) / 2)
    each = NormalIndPower().solve_power((q - p) / spread, alpha=0.05, power=0.8)
    assert impressions_needed((p, q), (0.5, 0.5)) == pytest.approx(2 * each, rel=1e-3)
    assert impressions_needed((p, q), (0.25, 0.25)) == pytest.approx(4 * each, rel=1e-3)
    assert impressions_needed((p, q), (0.5, 0.5), 1.8) == pytest.approx(3.6 * each, rel=1e-3)
    assert impressions_needed((p, p), (0.5, 0.5)) == np.inf


def test_the_chance_to_find_it_is_the_power_over_what_may_be() -> None:
    """At sure rates the power; a difference of either sign halves it."""
    needed = impressions_needed((0.12, 0.10), (0.5, 0.5))
    sure = chance_found(np.full(4, 0.12), np.full(4, 0.10), (0.5, 0.5), needed)
    assert sure == pytest.approx(0.8, abs=1e-3)
    either = chance_found(np.array([0.12, 0.10]), np.array([0.10, 0.12]), (0.5, 0.5), needed)
    assert either == pytest.approx(0.4, abs=1e-3)


def test_the_gain_is_that_of_the_winner() -> None:
    """Two arms, worked out: the better one wins with a known probability."""
    rates, traffic = np.array([[0.12, 0.10]] * 40_000), 2_000.0
    spread = np.sqrt((0.12 * 0.88 + 0.10 * 0.90) / 1_000)
    wins = norm.cdf(0.02 / spread)
    gain = expected_gain(rates, [0, 1], np.array([0.5, 0.5]), traffic, control=None)
    expected = 1000 * (0.10 + 0.02 * wins)
    assert gain.planned == pytest.approx(expected, abs=0.2)
    assert gain.without_model == pytest.approx(expected, abs=0.2)
    assert gain.without_test == pytest.approx(110.0)


def test_a_model_that_knows_gains_over_blind_drafts() -> None:
    """Of ten drafts one is good; a blind test of two meets it in one of five."""
    rates = np.tile([0.2] + [0.1] * 9, (20_000, 1))
    sure = expected_gain(rates, [0, 1], np.array([0.5, 0.5]), 1e6, control=None)
    assert sure.planned == pytest.approx(200.0, abs=0.1)
    assert sure.without_model == pytest.approx(100 + 100 / 5, abs=1.5)
    with_control = expected_gain(rates, [0, 9], np.array([0.5, 0.5]), 1e6, control=9)
    assert with_control.without_model == pytest.approx(100 + 100 / 9, abs=1.5)
    assert with_control.without_test == pytest.approx(100.0)

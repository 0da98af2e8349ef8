"""The trust score by hand."""

from __future__ import annotations

import math

import pytest

from ni_platform.insights.correlation import Agreement
from ni_platform.insights.trust import trust_score
from ni_platform.metrics.intervals import Estimate


def agreed(rho: float, low: float, pairwise: float, pair_low: float, tests: int) -> Agreement:
    """An agreement whose intervals are symmetric."""
    return Agreement(
        correlation=Estimate(rho, low, 2 * rho - low),
        p_value=0.01,
        pairwise=Estimate(pairwise, pair_low, 2 * pairwise - pair_low),
        pairs=3 * tests,
        tests=tests,
    )


def test_the_score_is_the_mean_of_its_parts_times_sanity():
    """Correlation 0.3, direction 2 x 0.6 - 1, unseen domains 2 x 0.65 - 1; a fifth is lost.

    Shuffled weights reach 0.1 on average, where they reach anything.
    """
    trust = trust_score(
        agreed(0.5, 0.3, 0.7, 0.6, 100),
        agreed(0.4, 0.1, 0.65, 0.5, 20),
        [agreed(rho, -0.1, 0.5, 0.4, 50) for rho in (0.3, -0.1, math.nan)],
    )
    assert (trust.correlation, trust.direction) == pytest.approx((0.3, 0.2))
    assert trust.transfer == pytest.approx(0.3)
    assert trust.sanity == pytest.approx(0.8)
    assert trust.score == pytest.approx(100 * 0.8 * (0.3 + 0.2 + 0.3) / 3)
    assert str(trust) == "21 of 100"


def test_few_unseen_domains_are_left_out_of_the_mean():
    """Nineteen tests do not make a part."""
    trust = trust_score(agreed(0.5, 0.3, 0.7, 0.6, 100), agreed(0.4, 0.1, 0.9, 0.5, 19), [])
    assert trust.transfer is None
    assert trust.score == pytest.approx(25)


def test_few_tests_give_no_score():
    """Nor do they make a score."""
    trust = trust_score(agreed(0.9, 0.8, 0.9, 0.8, 19), None, [])
    assert trust.score is None
    assert str(trust) == "not enough evidence (19 A/B tests, 20 are needed)"


def test_explanations_that_mislead_or_say_nothing_earn_nothing():
    """Negative figures are cut at 0, undefined ones count 0."""
    assert trust_score(agreed(-0.2, -0.4, 0.45, 0.4, 50), None, []).score == 0
    nan = math.nan
    assert trust_score(agreed(nan, nan, 0.5, nan, 50), None, []).score == 0


def test_shuffled_weights_that_agree_as_well_take_it_all():
    """An explanation of nothing that was learned earns nothing."""
    same = agreed(0.5, 0.3, 0.7, 0.6, 100)
    assert trust_score(same, None, [same]).score == 0

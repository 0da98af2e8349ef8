"""The choice among predictors: luck alone does not unseat a simpler one, a real lead does."""

from __future__ import annotations

import numpy as np
import pytest

from ni_platform.metrics.choice import choose
from ni_platform.metrics.scored import EvaluationError
from tests.metrics.columns import observed

TESTS = 100
WITHIN = "pairwise_within"
OUTCOMES = observed(
    clicks=np.tile([100.0, 200.0], TESTS),
    impressions=np.full(2 * TESTS, 1000.0),
    ab_test=np.repeat(np.arange(TESTS), 2),
)


def right_in(tests: range | list[int]) -> np.ndarray:
    """Predictions that order the two arms of these tests rightly, and of all others wrongly."""
    right = np.isin(np.arange(TESTS), list(tests))
    return np.stack([np.where(right, 0.1, 0.2), np.where(right, 0.2, 0.1)], axis=1).ravel()


CHEAP = right_in(range(60))
LUCKY = right_in([*range(4, 60), *range(60, 66)])
"""Right in 62 tests: six more, four fewer. One standard error: √(0.10 - 0.02²) / √100 = 0.0316."""
BETTER = right_in([*range(5, 60), *range(60, 80)])
"""Right in 75 tests: 20 more, five fewer. One standard error: √(0.25 - 0.15²) / √100 = 0.0477."""


def test_a_lead_within_one_standard_error_is_luck():
    """The simpler one stays, whatever stands behind it."""
    found = choose(WITHIN, [CHEAP, LUCKY], OUTCOMES)
    assert (found.chosen, found.best) == (0, 1)
    assert found.behind == pytest.approx((0.02, 0.0))
    assert found.standard_errors == pytest.approx((0.0316, 0.0), rel=0.1)


def test_a_lead_beyond_it_is_taken():
    """And of two that are as good the simpler one."""
    assert choose(WITHIN, [CHEAP, BETTER], OUTCOMES).chosen == 1
    found = choose(WITHIN, [CHEAP, LUCKY, BETTER, BETTER], OUTCOMES)
    assert (found.chosen, found.best) == (2, 2)
    assert found.behind == pytest.approx((0.15, 0.13, 0.0, 0.0))
    assert found.standard_errors[0] == pytest.approx(0.0477, rel=0.1)


def test_the_order_decides_who_is_simple():
    """A worse one that stands first has no claim."""
    assert choose(WITHIN, [BETTER, CHEAP], OUTCOMES).chosen == 0
    assert choose(WITHIN, [right_in(range(10)), BETTER], OUTCOMES).chosen == 1


def test_errors_are_better_when_lower():
    """The smallest RMSE is the best."""
    rate = np.tile([0.1, 0.2], TESTS)
    found = choose("rmse", [rate + 0.05, rate + 0.01, rate + 0.02], OUTCOMES)
    assert (found.chosen, found.best) == (1, 1)
    assert found.behind == pytest.approx((0.04, 0.0, 0.01))


def test_what_is_not_defined_is_not_chosen():
    """A constant prediction has no rank correlation; and one test gives no standard error."""
    constant, rate = np.full(2 * TESTS, 0.1), np.tile([0.1, 0.2], TESTS)
    assert choose("spearman", [constant, rate], OUTCOMES).chosen == 1
    with pytest.raises(EvaluationError, match="spearman is defined for none of 1 predictors"):
        choose("spearman", [constant], OUTCOMES)
    alone = OUTCOMES.rows(slice(0, 2))
    assert choose(WITHIN, [right_in([])[:2], CHEAP[:2]], alone).chosen == 0

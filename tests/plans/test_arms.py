"""Which drafts are tested."""

from itertools import combinations

import numpy as np
import pytest

from ni_platform.plans.arms import best_set, expected_best


def test_a_copy_adds_nothing() -> None:
    """Drafts 0 and 1 are one text; 2 is expected to be worse, and may be better than both."""
    # Four equally likely worlds, worked by hand: the best of {0, 1} is 0.3 on average, of {0, 2}
    # (0.2 + 0.5 + 0.4 + 0.5) / 4 = 0.4.
    rate_SN = np.array([[0.2, 0.2, 0.0], [0.2, 0.2, 0.5], [0.4, 0.4, 0.0], [0.4, 0.4, 0.5]])
    assert expected_best(rate_SN, [0, 1]) == pytest.approx(0.3)
    assert expected_best(rate_SN, [0, 2]) == pytest.approx(0.4)
    assert best_set(rate_SN, 2) in ([0, 2], [1, 2])


def test_a_control_is_always_there() -> None:
    """However bad it is."""
    rate_SN = np.array([[0.9, 0.8, 0.1], [0.9, 0.7, 0.1]])
    assert best_set(rate_SN, 2, always=[2]) == [0, 2]
    assert best_set(rate_SN, 1, always=[2]) == [2]


def test_many_drafts_come_close_to_the_best_set() -> None:
    """Where sets are too many to compare, one draft after the other reaches almost as much."""
    rng = np.random.default_rng(4)
    factors = rng.normal(size=(12, 3))
    rate_SN = (
        0.1 + 0.01 * rng.normal(size=(400, 3)) @ factors.T + 0.002 * rng.normal(size=(400, 12))
    )
    wide_SN = np.concatenate([rate_SN, rate_SN[:, :1] - 0.05 + np.zeros((400, 40))], axis=1)
    best = max(expected_best(rate_SN, some) for some in combinations(range(12), 4))
    # The 40 drafts that are worse than the first in every world are of no use.
    found = best_set(wide_SN, 4)
    assert expected_best(wide_SN, found) >= best - 1e-4
    assert max(found) < 12


@pytest.mark.parametrize(("arms", "always"), [(4, []), (0, []), (1, [0, 1])])
def test_a_size_that_cannot_be_is_refused(arms: int, always: list[int]) -> None:
    """More arms than drafts, none, or fewer than must be there."""
    with pytest.raises(ValueError, match="a set has"):
        best_set(np.zeros((5, 3)), arms, always)

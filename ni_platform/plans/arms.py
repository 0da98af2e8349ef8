"""Which drafts to test: the set whose best is expected to be best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

_MOST_SETS = 3_000
"""As many sets are compared one by one; of more, a set grows by the draft that adds most."""


def best_set(rate_SN: np.ndarray, arms: int, always: Sequence[int] = ()) -> list[int]:
    """Return the drafts whose best arm has the highest expected rate, in order of their means.

    That is no list of the highest means: of two drafts that are alike the second adds nothing, for
    what is wrong with the prediction of one is wrong with that of the other. The expectation of a
    maximum is submodular in the set, so adding one draft after the other reaches at least 1 - 1/e
    of what is possible (Nemhauser, Wolsey and Fisher 1978).

    Args:
        rate_SN: S draws of the true rates of N drafts, all drafts together.
        arms: size of the set, those of `always` included.
        always: drafts that are in it, such as the control.

    Raises:
        ValueError: more arms than drafts, or fewer than `always`.
    """
    drafts = rate_SN.shape[1]
    if not max(1, len(always)) <= arms <= drafts:
        raise ValueError(f"a set has {max(1, len(always))} to {drafts} arms, not {arms}")
    others = [draft for draft in range(drafts) if draft not in set(always)]
    missing = arms - len(always)
    if math.comb(len(others), missing) <= _MOST_SETS:
        sets: Iterable[tuple[int, ...]] = combinations(others, missing)
        chosen = [*always, *max(sets, key=lambda some: expected_best(rate_SN, [*always, *some]))]
    else:
        chosen = list(always)
        for _ in range(missing):
            left = [draft for draft in others if draft not in chosen]
            chosen.append(max(left, key=lambda one: expected_best(rate_SN, [*chosen, one])))
    mean = rate_SN.mean(axis=0)
    return sorted(chosen, key=lambda draft: -mean[draft])


def expected_best(rate_SN: np.ndarray, chosen: Sequence[int]) -> float:
    """The expected rate of the best of a set of drafts."""
    return float(rate_SN[:, list(chosen)].max(axis=1).mean())

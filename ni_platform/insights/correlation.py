"""Do attributions agree with A/B outcomes? The insight correlation of NI Section 5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ni_platform.insights.pairs import Arms
from ni_platform.metrics.intervals import Draws, Estimate, Resampling, ratio


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How attribution differences agree with what happened, over pairs of arms."""

    correlation: Estimate
    """Pearson's rho of d_C and d_Y (NI Eq. 7); interval over A/B tests."""
    p_value: float
    """Share of outcomes permuted within tests whose rho is as high, the observed one counted."""
    pairwise: Estimate
    """How often the arm with the higher attribution difference had the higher rate."""
    pairs: int
    tests: int


Choose = Callable[[np.ndarray], np.ndarray]
"""From rates [N] the positions of the pairs that are compared."""


def all_pairs(arms: Arms, differs: np.ndarray) -> Choose:
    """Every pair within a test whose contents differ in the modality (`differs`, bool [P])."""
    chosen = np.flatnonzero(differs)
    return lambda rate: chosen


def control_against_best(arms: Arms, differs: np.ndarray) -> Choose:
    """Each test's control against its treatment with the highest rate (NI Section 6.3).

    Among the treatments that differ from it in the modality; of equal rates the first.
    """
    chosen = np.flatnonzero(differs & arms.control[arms.first])
    chosen = chosen[np.argsort(arms.test[arms.first[chosen]], kind="stable")]
    test = arms.test[arms.first[chosen]]
    starts = np.flatnonzero(np.diff(test, prepend=-1))

    def best(rate: np.ndarray) -> np.ndarray:
        if not len(chosen):
            return chosen
        highest = np.maximum.reduceat(rate[arms.second[chosen]], starts)
        of_test = np.repeat(highest, np.diff(np.append(starts, len(chosen))))
        found = np.flatnonzero(rate[arms.second[chosen]] == of_test)
        _, first = np.unique(test[found], return_index=True)
        return chosen[found[first]]

    return best


def agreement(
    arms: Arms,
    difference: np.ndarray,
    choose: Choose,
    *,
    replicates: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Evaluate attributions by NI's Algorithms 1, 3 and 4, given their differences.

    The null distribution permutes observed rates among the arms of each test, choosing best
    treatments anew: under it attributions say nothing of which arm wins, while everything that
    tests differ in stays as it is.

    Args:
        arms: contents, outcomes and the pairs.
        difference: attribution of what only the second content has less that of what only the
            first has, float64 [P].
        choose: which pairs are compared.
        replicates: bootstrap replicates of whole A/B tests behind the intervals.
        permutations: behind the p-value; none if 0.
        seed: what both follow from.
    """
    chosen = choose(arms.rate)
    d_c, d_y = _surrogates(arms, difference, arms.rate, chosen)
    nothing = Estimate(float("nan"))
    if not len(chosen):
        return Agreement(
            correlation=nothing, p_value=float("nan"), pairwise=nothing, pairs=0, tests=0
        )
    codes = np.unique(arms.test[arms.first[chosen]], return_inverse=True)[1].astype(np.int64)
    resampling = Resampling.of(codes, replicates=replicates, seed=seed)
    ones = np.ones(len(chosen))
    rho = _pearson(*resampling.sums(ones, d_c, d_y, d_c * d_c, d_y * d_y, d_c * d_y))
    decided = (d_y > 0).astype(np.float64)
    hits = decided * (1 + np.sign(d_c)) / 2
    won, of = resampling.sums(hits, decided)
    return Agreement(
        correlation=resampling.draws(rho, support=ones).estimate(),
        p_value=_p_value(arms, difference, choose, float(rho[0]), permutations, seed),
        pairwise=Draws(ratio(won, of), int(codes.max()) + 1).estimate(),
        pairs=len(chosen),
        tests=int(codes.max()) + 1,
    )


def _surrogates(
    arms: Arms, difference: np.ndarray, rate: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """d_C and d_Y [P] of Algorithm 1, step ii."""
    improvement = rate[arms.second[chosen]] - rate[arms.first[chosen]]
    return np.sign(improvement) * difference[chosen], np.abs(improvement)


def _pearson(
    n: np.ndarray, x: np.ndarray, y: np.ndarray, xx: np.ndarray, yy: np.ndarray, xy: np.ndarray
) -> np.ndarray:
    """Pearson's rho from sums; NaN where one of the two does not vary beyond rounding."""
    vx, vy = n * xx - x * x, n * yy - y * y
    flat = (vx <= 1e-12 * n * xx) | (vy <= 1e-12 * n * yy)
    return np.where(flat, np.nan, ratio(n * xy - x * y, np.sqrt(np.maximum(vx * vy, 0))))


def _p_value(
    arms: Arms,
    difference: np.ndarray,
    choose: Choose,
    observed: float,
    permutations: int,
    seed: int,
) -> float:
    if not permutations or not np.isfinite(observed):
        return float("nan")
    rng = np.random.default_rng([seed, 1])
    inside = np.flatnonzero(arms.test >= 0)
    inside = inside[np.argsort(arms.test[inside], kind="stable")]
    as_high = 0
    for _ in range(permutations):
        # Sorted by test, then at random: the arms of each test in a random order.
        shuffled = inside[np.lexsort((rng.random(len(inside)), arms.test[inside]))]
        rate = arms.rate.copy()
        rate[inside] = arms.rate[shuffled]
        d_c, d_y = _surrogates(arms, difference, rate, choose(rate))
        sums = (
            np.array([v.sum()]) for v in (np.ones(len(d_c)), d_c, d_y, d_c**2, d_y**2, d_c * d_y)
        )
        as_high += bool(_pearson(*sums)[0] >= observed)
    return (1 + as_high) / (1 + permutations)

"""Do attributions agree with A/B outcomes? The insight correlation of NI Section 5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

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
    rho = _correlation(resampling, d_c, d_y, np.ones(len(chosen)))
    decided = (d_y > 0).astype(np.float64)
    hits = decided * (1 + np.sign(d_c)) / 2
    won, of = resampling.sums(hits, decided)
    return Agreement(
        correlation=rho.estimate(),
        p_value=_p_value(arms, difference, choose, rho.value, permutations, seed),
        pairwise=Draws(ratio(won, of), int(codes.max()) + 1).estimate(),
        pairs=len(chosen),
        tests=int(codes.max()) + 1,
    )


def mean_correlation(
    trainings: Sequence[pd.DataFrame], *, replicates: int = 1000, seed: int = 0
) -> Draws:
    """Mean of rho over several trainings, on the same draws of A/B tests for all of them.

    Args:
        trainings: the compared pairs of each: ab_test, attribution_difference and
            rate_difference of the second content against the first (see `pair_table`).
        replicates: bootstrap replicates of whole A/B tests.
        seed: what they follow from.
    """
    pairs = pd.concat(trainings, ignore_index=True)
    of = np.repeat(np.arange(len(trainings)), [len(own) for own in trainings])
    if not len(pairs):
        return Draws(np.full(1 + replicates, np.nan), 0)
    codes = np.unique(pairs["ab_test"].to_numpy(str), return_inverse=True)[1].astype(np.int64)
    resampling = Resampling.of(codes, replicates=replicates, seed=seed)
    improvement = pairs["rate_difference"].to_numpy(np.float64)
    d_c = np.sign(improvement) * pairs["attribution_difference"].to_numpy(np.float64)
    draws = [
        _correlation(resampling, d_c, np.abs(improvement), (of == training).astype(np.float64))
        for training in range(len(trainings))
    ]
    values = np.mean([draw.values for draw in draws], axis=0)
    return Draws(values, min(draw.clusters for draw in draws))


def _correlation(
    resampling: Resampling, d_c: np.ndarray, d_y: np.ndarray, counted: np.ndarray
) -> Draws:
    """Rho of the pairs that are `counted` (0 or 1 [P]), on the data and on each replicate."""
    x, y = counted * d_c, counted * d_y
    rho = _pearson(*resampling.sums(counted, x, y, x * x, y * y, x * y))
    return resampling.draws(rho, support=counted)


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

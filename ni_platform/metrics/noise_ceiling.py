"""The noise ceiling: how often an oracle that knows the true rates would be called right.

Observed rates are binomial draws, so the better of two contents often shows the lower rate, and
then even a perfect prediction counts as a miss. How often that happens follows from how far
true rates lie apart, which is estimated from the data by empirical Bayes: the observed
log-odds difference d of a pair with noise s has the density Σ_k π_k N(0, σ_k² + s²), a mixture of
zero-centred normals (Stephens 2017, "False discovery rates: a new deal", Biostatistics), because
most changes of a headline do little and a few do much, which one normal cannot say (on the
Upworthy archive it puts the ceiling 2 points too high). Given d, the true difference has the
observed sign with probability Σ_k r_k Φ(|d| σ_k / (s √(σ_k² + s²))), where r_k is the
posterior weight of component k. The mean over pairs is the ceiling.

The noise is that of clicks given impressions, in normal approximation, times the overdispersion
that twins show (`data/overdispersion.py`). Below about ten clicks per content the ceiling is off by
a few points. Ratings scatter less than clicks of the same
rate, so for a ratings target the ceiling is a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from ni_platform.metrics.intervals import Draws, Resampling, ratio
from ni_platform.metrics.pairs import SIGNIFICANT_Z, two_proportion_z, within_test_pairs
from ni_platform.metrics.scored import Codes, Floats, ScoredContents

MAX_STRATA = 4
PAIRS_PER_STRATUM = 2_000
MAX_FITTED_PAIRS = 8_000


@dataclass(frozen=True)
class EffectPrior:
    """How far true log-odds lie apart within tests: one scale mixture per stratum of noise.

    Strata, because the spread of true effects goes with the noise: tests with high rates are
    less noisy and differ less in log-odds.
    """

    edges: Floats
    """Noise at which the next stratum begins [S - 1]."""
    scales: tuple[Floats, ...]
    """Standard deviations σ_k of each stratum's components."""
    weights: tuple[Floats, ...]
    """Shares π_k of each stratum's components."""

    @classmethod
    def fit(cls, difference: Floats, noise: Floats, *, seed: int = 0) -> EffectPrior:
        """Maximum likelihood from observed log-odds differences and their noise, each [P > 0].

        Each stratum is fitted on 8,000 of its pairs at most, drawn with `seed`.
        """
        count = int(np.clip(len(noise) // PAIRS_PER_STRATUM, 1, MAX_STRATA))
        edges = np.unique(np.quantile(noise, np.arange(1, count) / count))
        edges = edges[edges > noise.min()]  # equal noise must not leave a stratum empty
        rng = np.random.default_rng(seed)
        stratum = np.searchsorted(edges, noise, side="right")
        scales, weights = [], []
        for index in range(len(edges) + 1):
            rows = np.flatnonzero(stratum == index)
            if len(rows) > MAX_FITTED_PAIRS:
                rows = rng.choice(rows, MAX_FITTED_PAIRS, replace=False)
            scale = _scale_grid(difference[rows], noise[rows])
            scales.append(scale)
            density_PK = _densities(difference[rows], noise[rows], scale)
            with threadpool_limits(1, user_api="blas"):  # its matrices are too small to share out
                weights.append(_mixture_weights(density_PK))
        return cls(edges, tuple(scales), tuple(weights))

    def sign_probability(self, difference: Floats, noise: Floats) -> Floats:
        """Probability that the true difference has the sign of the observed one [P].

        ½ where the noise is infinite.
        """
        probability = np.full(len(noise), 0.5)
        stratum = np.searchsorted(self.edges, noise, side="right")
        for index, (scale, weight) in enumerate(zip(self.scales, self.weights)):
            rows = np.flatnonzero((stratum == index) & np.isfinite(noise))
            d, s = difference[rows], noise[rows][:, None]
            posterior = _densities(d, noise[rows], scale) * weight
            posterior /= posterior.sum(axis=1, keepdims=True)
            sign = ndtr(np.abs(d)[:, None] * scale / (s * np.sqrt(scale**2 + s**2)))
            probability[rows] = (posterior * sign).sum(axis=1)
        return probability


def noise_ceiling_metrics(scored: ScoredContents, resampling: Resampling) -> dict[str, Draws]:
    """The ceiling of pairwise accuracy within tests, of all and of significant pairs.

    The prediction is not looked at. Intervals resample the tests at the fitted prior; what the
    fit itself leaves open, one or two points, comes on top. `_distinct` as in
    `pairwise.within_test_metrics`: pairs whose inputs differ, with a prior of their own.
    `overdispersion` stands beside them where there is any.
    """
    metrics = _ceilings(scored, resampling, distinct=False)
    if (scored.overdispersion != 1).any():
        metrics["overdispersion"] = Draws(scored.overdispersion.mean(keepdims=True), 0)
    if scored.has_twins:
        metrics |= _ceilings(scored, resampling, distinct=True)
    return metrics


def _ceilings(
    scored: ScoredContents, resampling: Resampling, *, distinct: bool
) -> dict[str, Draws]:
    size, prior = len(scored), fit_effect_prior(scored, distinct=distinct)
    expected, pairs = np.zeros(size), np.zeros(size)
    expected_significant, significant_pairs = np.zeros(size), np.zeros(size)
    if prior is not None:
        for first, second in _pairs(scored, distinct):
            counted = scored.success_rate[first] != scored.success_rate[second]
            first, second = first[counted], second[counted]
            z, noise = two_proportion_z(scored, first, second)
            probability = prior.sign_probability(_log_odds(z, noise), noise)
            significant = np.abs(z) > SIGNIFICANT_Z
            expected[first] += probability
            pairs[first] += 1
            expected_significant[first] += probability * significant
            significant_pairs[first] += significant
    sums = resampling.sums(expected, pairs, expected_significant, significant_pairs)
    ending = "_distinct" if distinct else ""
    return {
        f"ceiling_within{ending}": resampling.draws(ratio(sums[0], sums[1]), support=pairs),
        f"ceiling_significant{ending}": resampling.draws(
            ratio(sums[2], sums[3]), support=significant_pairs
        ),
    }


def _pairs(scored: ScoredContents, distinct: bool) -> Iterator[tuple[Codes, Codes]]:
    for first, second in within_test_pairs(scored.test_codes):
        differ = scored.input_codes[first] != scored.input_codes[second]
        yield (first[differ], second[differ]) if distinct else (first, second)


def fit_effect_prior(scored: ScoredContents, *, distinct: bool = False) -> EffectPrior | None:
    """The prior of true differences within tests; None without a pair that had a click.

    With `distinct` of pairs whose inputs differ.

    Pairs with equal observed rates count as well: they tell that differences are small.
    """
    differences, noises, fitted = [], [], 0
    for first, second in _pairs(scored, distinct):
        z, noise = two_proportion_z(scored, first, second)
        known = np.isfinite(noise)
        differences.append(_log_odds(z, noise)[known])
        noises.append(noise[known])
        fitted += int(known.sum())
        if fitted > 100 * MAX_STRATA * MAX_FITTED_PAIRS:
            break
    if not fitted:
        return None
    return EffectPrior.fit(np.concatenate(differences), np.concatenate(noises))


def _log_odds(z: Floats, noise: Floats) -> Floats:
    return z * np.where(np.isfinite(noise), noise, 0.0)


def _scale_grid(difference: Floats, noise: Floats) -> Floats:
    """Candidates σ_k [K]: 0 and a geometric grid of ratio √2.

    It reaches from below what can be told from 0 to beyond the largest difference.
    """
    lowest = 0.3 * np.median(noise)
    excess = np.max(difference**2 - noise**2, initial=0.0)
    highest = max(2 * np.sqrt(excess), 2 * lowest)
    steps = int(np.ceil(2 * np.log2(highest / lowest)))
    return np.concatenate([[0.0], lowest * 2 ** (np.arange(steps + 1) / 2)])


def _densities(difference: Floats, noise: Floats, scale: Floats) -> Floats:
    """N(0, σ_k² + s²) at each difference, up to a factor per row that keeps it from 0 [P, K]."""
    variance = scale**2 + noise[:, None] ** 2
    log = -0.5 * (difference[:, None] ** 2 / variance + np.log(variance))
    return np.exp(log - log.max(axis=1, keepdims=True))


def _mixture_weights(density_PK: Floats) -> Floats:
    """The weights [K] that maximise the mean log density (concave in the weights)."""

    def loss(logits: Floats) -> tuple[float, Floats]:
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        density = density_PK @ weights
        gradient = weights * ((1 / density) @ density_PK / len(density) - 1)
        return -float(np.log(density).mean()), -gradient

    start = np.zeros(density_PK.shape[1])
    logits = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()

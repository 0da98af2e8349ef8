"""Whether predicted probabilities that one arm beats another are right.

A model says of each pair of arms the difference f of their logits and its variance v. What is
observed is a difference of empirical logits, which scatters by the noise s² of both arms beside
that: so the first arm is seen to win with probability Φ(f / √(v + s²)). A factor on f alone, which
stands for the mean of 1 / √(v + s²), is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri

from ni_platform.data.overdispersion import empirical_logit, logit_noise
from ni_platform.metrics.intervals import COVERAGE, Estimate, Resampling, ratio
from ni_platform.metrics.scored import Codes, Floats

_BOUND = 1e-6
"""Probabilities are kept this far from 0 and 1."""
_Z = float(ndtri(0.5 + COVERAGE / 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedPairs:
    """P pairs of arms of one A/B test with different inputs; positions in a table of contents."""

    first: Codes
    second: Codes
    difference: Floats
    """Predicted logit of the first less that of the second."""
    variance: Floats
    """Of the true difference about the predicted one: what the model does not know."""
    overdispersion: float = 1.0
    """Variance of observed logits, in units of the binomial one."""

    def of(self, chosen: np.ndarray) -> PredictedPairs:
        """Return the pairs whose contents are all `chosen`, bool [N], counted among these."""
        place = np.cumsum(chosen) - 1
        kept = chosen[self.first] & chosen[self.second]
        return PredictedPairs(
            first=place[self.first[kept]],
            second=place[self.second[kept]],
            difference=self.difference[kept],
            variance=self.variance[kept],
            overdispersion=self.overdispersion,
        )


def pair_probability_metrics(
    pairs: PredictedPairs,
    clicks: Floats,
    impressions: Floats,
    clusters: Codes,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """How probabilities of pairs compare with what was observed, with 95 % intervals.

    `pair_log_loss` (0.693 is a coin's), `pair_slope` (of outcomes on the logit of probabilities: 1
    is right, less is too sure) and `pair_coverage`, the share of observed differences inside of
    their 95 % interval. Pairs with equal observed rates have no winner and count for the last only.

    Args:
        pairs: predicted.
        clicks: of N contents.
        impressions: of N contents; a pair with a content that nobody saw is left out.
        clusters: numbers from 0 of what is resampled together [N].
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """
    seen = impressions > 0
    kept = seen[pairs.first] & seen[pairs.second]
    first, second = pairs.first[kept], pairs.second[kept]
    noise = pairs.overdispersion * logit_noise(clicks, impressions)
    deviation = np.sqrt(pairs.variance[kept] + noise[first] + noise[second])
    logits = empirical_logit(clicks, impressions)
    observed = logits[first] - logits[second]
    predicted = pairs.difference[kept]
    resampling = Resampling.of(clusters, replicates=replicates, seed=seed)
    inside = (np.abs(observed - predicted) <= _Z * deviation).astype(np.float64)
    won = np.sign(clicks[first] / impressions[first] - clicks[second] / impressions[second])
    decided = (won != 0).astype(np.float64)
    probability = np.clip(ndtr(predicted / deviation), _BOUND, 1 - _BOUND)
    loss = -np.log(np.where(won > 0, probability, 1 - probability)) * decided

    def booked(values: Floats) -> Floats:
        return np.bincount(first, values, minlength=len(clicks)).astype(np.float64)

    losses, inner, pairs_sum, decided_sum = resampling.sums(
        booked(loss), booked(inside), booked(np.ones(len(first))), booked(decided)
    )
    slope, score, information = _slope(logit(probability), won)
    scores, informations = resampling.sums(booked(score), booked(information))
    found = {
        "pair_log_loss": ratio(losses, decided_sum),
        "pair_coverage": ratio(inner, pairs_sum),
        # One step of Newton's from the value on the data, where the scores sum to 0.
        "pair_slope": slope + ratio(scores, informations),
    }
    support = booked(np.ones(len(first)))
    return {
        name: resampling.draws(values, support=support).estimate() for name, values in found.items()
    }


def _slope(log_odds: Floats, won: Floats) -> tuple[float, Floats, Floats]:
    """Maximum-likelihood slope of outcomes on log-odds; each pair's score and information there."""
    y, decided = (won > 0).astype(np.float64), won != 0

    def scores(slope: float) -> Floats:
        return np.where(decided, (y - expit(slope * log_odds)) * log_odds, 0.0)

    low, high = -10.0, 10.0
    if not scores(low).sum() > 0 > scores(high).sum():
        return float("nan"), np.zeros(len(won)), np.zeros(len(won))
    slope = float(brentq(lambda at: scores(at).sum(), low, high))
    chance = expit(slope * log_odds)
    return slope, scores(slope), np.where(decided, log_odds**2 * chance * (1 - chance), 0.0)

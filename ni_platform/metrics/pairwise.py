"""Pairwise accuracy (NI Algorithm 2) over all pairs, within A/B tests, and of significant pairs.

Ties in the prediction count half; pairs whose observed rates are equal are left out, because
neither order is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from ni_platform.metrics.concordance import concordance
from ni_platform.metrics.intervals import Draws, Estimate, Resampling, ratio
from ni_platform.metrics.pairs import SIGNIFICANT_Z, two_proportion_z, within_test_pairs
from ni_platform.metrics.scored import Floats, Observed, ScoredContents


def pairwise_accuracy(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Share of all pairs in the right order, in O(N log N); NaN without a pair."""
    hits, pairs = concordance(
        np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    )
    return float(hits.sum() / pairs.sum()) if pairs.sum() else float("nan")


def pairwise_within(
    prediction: ArrayLike, clicks: ArrayLike, impressions: ArrayLike, ab_test: Any
) -> float:
    """Share of the pairs within one A/B test in the right order; NaN without a pair."""
    observed = Observed(clicks=clicks, impressions=impressions, ab_test=ab_test)
    counts = WithinTestCounts.of(ScoredContents.of(prediction, observed))
    return float(counts.hits.sum() / counts.pairs.sum()) if counts.pairs.sum() else float("nan")


def all_pairs_metrics(scored: ScoredContents, resampling: Resampling) -> dict[str, Draws]:
    """`pairwise_accuracy` over all pairs.

    A U-statistic of pairs: to first order a replicate changes it by the weighted sum of each
    content's own hits less expected hits, formed on the log-odds scale to stay within (0, 1).
    """
    ones = np.ones(len(scored))
    hits, pairs = concordance(scored.prediction, scored.success_rate)
    if pairs.sum() == 0:
        return {"pairwise_accuracy": Draws(np.full(len(resampling.weights), np.nan), 0)}
    value = hits.sum() / pairs.sum()
    (shift,) = resampling.sums(2 * (hits - value * pairs) / pairs.sum())
    values = np.full(len(shift), value)
    if 0 < value < 1:
        values = expit(logit(value) + shift / (value * (1 - value)))
        values[0] = value
    return {"pairwise_accuracy": resampling.draws(values, support=ones)}


class WithinTestCounts:
    """Hits and pairs within A/B tests, per content [N]; each pair is booked on one of its two."""

    hits: Floats
    pairs: Floats
    significant_hits: Floats
    significant_pairs: Floats

    def __init__(self, size: int) -> None:
        self.hits, self.pairs = np.zeros(size), np.zeros(size)
        self.significant_hits, self.significant_pairs = np.zeros(size), np.zeros(size)

    @classmethod
    def of(cls, scored: ScoredContents, *, distinct: bool = False) -> WithinTestCounts:
        """Count the pairs of `scored`; with `distinct` only those whose inputs differ."""
        counts = cls(len(scored))
        for first, second in within_test_pairs(scored.test_codes):
            truth = np.sign(scored.success_rate[first] - scored.success_rate[second])
            order = np.sign(scored.prediction[first] - scored.prediction[second])
            z, _ = two_proportion_z(scored, first, second)
            counted = (truth != 0).astype(np.float64)
            if distinct:
                counted *= scored.input_codes[first] != scored.input_codes[second]
            hit = counted * (1 + order * truth) / 2
            significant = counted * (np.abs(z) > SIGNIFICANT_Z)
            counts.hits[first] += hit
            counts.pairs[first] += counted
            counts.significant_hits[first] += hit * significant
            counts.significant_pairs[first] += significant
        return counts


def within_test_metrics(scored: ScoredContents, resampling: Resampling) -> dict[str, Draws]:
    """Accuracy of pairs within tests, of the significant ones, and how many pairs there are.

    Where tests have contents that are the same to a model (they differ in something that it does
    not read), `_distinct` gives the same without such pairs, which no model can order.
    """
    metrics = _counted_metrics(WithinTestCounts.of(scored), resampling, "")
    if scored.has_twins:
        counts = WithinTestCounts.of(scored, distinct=True)
        metrics |= _counted_metrics(counts, resampling, "_distinct")
    return metrics


def _counted_metrics(
    counts: WithinTestCounts, resampling: Resampling, ending: str
) -> dict[str, Draws]:
    hits, pairs, significant_hits, significant_pairs = resampling.sums(
        counts.hits, counts.pairs, counts.significant_hits, counts.significant_pairs
    )
    return {
        f"pairwise_within{ending}": resampling.draws(ratio(hits, pairs), support=counts.pairs),
        f"pairwise_significant{ending}": resampling.draws(
            ratio(significant_hits, significant_pairs), support=counts.significant_pairs
        ),
        f"n_pairs_within{ending}": Draws(pairs[:1], 0),
        f"n_pairs_significant{ending}": Draws(significant_pairs[:1], 0),
    }


def accuracy_by_confidence(
    prediction: ArrayLike, observed: Observed, *, bins: int = 5, replicates: int = 1000
) -> list[tuple[float, Estimate]]:
    """Pairwise accuracy within tests by how far apart the two are predicted.

    Pairs are ordered by the difference of their predicted rates and divided into equally full
    bins. Returns the mean difference and the accuracy of each, with its interval; nothing where
    there are no pairs.
    """
    scored = ScoredContents.of(prediction, observed)
    first, apart, right = [], [], []
    for a, b in within_test_pairs(scored.test_codes):
        predicted = scored.prediction[b] - scored.prediction[a]
        seen = scored.success_rate[b] - scored.success_rate[a]
        rated = seen != 0
        first.append(a[rated])
        apart.append(np.abs(predicted[rated]))
        right.append(0.5 + 0.5 * np.sign(predicted[rated] * seen[rated]))
    firsts, aparts, rights = (np.concatenate(each or [[]]) for each in (first, apart, right))
    resampling = Resampling.of(scored.cluster_codes, replicates=replicates, seed=0)
    accuracies = []
    order = np.argsort(aparts, kind="stable")
    for chosen in np.array_split(order, min(bins, len(order)) or 1) if len(order) else ():
        rows = firsts[chosen]
        hits = np.bincount(rows, rights[chosen], len(scored)).astype(np.float64)
        pairs = np.bincount(rows, minlength=len(scored)).astype(np.float64)
        accuracy = resampling.draws(ratio(*resampling.sums(hits, pairs)), support=pairs)
        accuracies.append((float(aparts[chosen].mean()), accuracy.estimate()))
    return accuracies

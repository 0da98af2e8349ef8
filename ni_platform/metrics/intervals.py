"""95 % intervals by a bootstrap that draws whole clusters (A/B tests), never rows.

Contents of one A/B test share their audience, week and article, so rows are not independent and
an interval that resamples rows is too narrow. A replicate draws as many clusters as there are,
with replacement; what a metric needs from it are weighted sums, so that all replicates together
are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from ni_platform.metrics.scored import Codes, Floats

COVERAGE = 0.95
MAX_BLOCKS = 4096


@dataclass(frozen=True)
class Estimate:
    """A metric and its 95 % interval.

    `value` is NaN where the metric is undefined (no pair, a constant prediction); `low` and
    `high` are NaN where fewer than two clusters bear on it or no replicates were asked for.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Draws:
    """A metric on the data and on each replicate."""

    values: Floats
    """[1 + R]: the metric on the data, then on R replicates; NaN where undefined."""
    clusters: int
    """How many clusters bear on the metric."""

    @property
    def value(self) -> float:
        """The metric on the data."""
        return float(self.values[0])

    @property
    def standard_error(self) -> float:
        """Standard deviation over replicates; NaN where there is no interval either.

        Widened as a bootstrap's variance is too small for few clusters, by n / (n - 1).
        """
        if self._levels() is None:
            return float("nan")
        return float(np.std(self._replicates()) * np.sqrt(self.clusters / (self.clusters - 1)))

    def less(self, other: Draws) -> Draws:
        """Subtract another, draw by draw: what both share on the same replicates cancels."""
        return Draws(self.values - other.values, min(self.clusters, other.clusters))

    def estimate(self) -> Estimate:
        """The expanded percentile interval.

        Percentiles of a bootstrap are too narrow for few clusters by the factors by which a
        normal interval is narrower than Student's; the levels are widened by them (Hesterberg
        2015, "What Teachers Should Know About the Bootstrap").
        """
        levels = self._levels()
        if levels is None:
            return Estimate(self.value)
        low, high = np.quantile(self._replicates(), levels)
        return Estimate(self.value, min(float(low), self.value), max(float(high), self.value))

    def reversed_estimate(self, *, minimum: float) -> Estimate:
        """The reversed percentile interval, cut at `minimum`.

        For a metric that sampling noise can only raise, such as a mean of absolute deviations:
        replicates lie above the value as the value lies above the truth.
        """
        levels = self._levels()
        if levels is None:
            return Estimate(self.value)
        low, high = 2 * self.value - np.quantile(self._replicates(), levels[::-1])
        return Estimate(
            self.value,
            min(max(float(low), minimum), self.value),
            max(float(high), self.value),
        )

    def _replicates(self) -> Floats:
        return self.values[1:][np.isfinite(self.values[1:])]

    def _levels(self) -> Floats | None:
        if self.clusters < 2 or not np.isfinite(self.value) or not len(self._replicates()):
            return None
        tail = (1 - COVERAGE) / 2
        widening = np.sqrt(self.clusters / (self.clusters - 1))
        level = ndtr(widening * stdtrit(self.clusters - 1, tail))
        return np.array([level, 1 - level])


@dataclass(frozen=True)
class Resampling:
    """Which clusters each replicate draws; two predictions compared on it see the same draws.

    More than 4,096 clusters are first dealt at random into 4,096 blocks of equal number, and
    blocks are drawn: the variance between random blocks is that between clusters, estimated
    with a relative standard error of 2 %, at a cost that no longer grows with the data.
    """

    blocks: Codes
    """Block of each row [N]."""
    weights: Floats
    """How often each replicate draws each block [1 + R, blocks]; the first row is all ones, so
    that the first result of a matrix product is the value on the data."""

    @classmethod
    def of(cls, cluster_codes: Codes, *, replicates: int, seed: int) -> Resampling:
        """Draw `replicates` replicates of the clusters (numbers from 0, one per row)."""
        rng = np.random.default_rng(seed)
        clusters = int(cluster_codes.max()) + 1
        blocks = cluster_codes
        if clusters > MAX_BLOCKS:
            blocks = (rng.permutation(clusters) % MAX_BLOCKS)[cluster_codes]
            clusters = MAX_BLOCKS
        weights = np.ones((1 + replicates, clusters))
        for row in weights[1:]:
            row[:] = np.bincount(rng.integers(clusters, size=clusters), minlength=clusters)
        return cls(blocks, weights)

    def sums(self, *columns: Floats) -> tuple[Floats, ...]:
        """The sum of each column [N] over the data and over each replicate, each [1 + R]."""
        return tuple((self.weights @ self._block_sums(columns)).T)

    def mean(self, values: Floats) -> Draws:
        """The mean of a column [N] over the data and over each replicate."""
        ones = np.ones(len(values))
        total, count = self.sums(values, ones)
        return self.draws(ratio(total, count), support=ones)

    def draws(self, values: Floats, *, support: Floats) -> Draws:
        """Pair the values of a metric [1 + R] with the clusters whose `support` [N] is not 0."""
        return Draws(values, int(np.count_nonzero(self._block_sums((support,)))))

    def _block_sums(self, columns: tuple[Floats, ...]) -> Floats:
        size = self.weights.shape[1]
        return np.stack([np.bincount(self.blocks, c, size) for c in columns], axis=1)


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, giving NaN where the denominator is 0."""
    out = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)

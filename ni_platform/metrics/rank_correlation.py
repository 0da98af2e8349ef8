"""Spearman's rank correlation (SPRC) and Pearson's linear correlation (LCC)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ni_platform.metrics.concordance import below_and_tied, dense_ranks
from ni_platform.metrics.intervals import Draws, Resampling, ratio
from ni_platform.metrics.scored import Floats, ScoredContents


def correlation_metrics(scored: ScoredContents, resampling: Resampling) -> dict[str, Draws]:
    """Pearson and Spearman correlation; NaN where either side is constant."""
    return {
        "pearson": _pearson(scored, resampling),
        "spearman": _spearman(scored, resampling),
    }


def _pearson(scored: ScoredContents, resampling: Resampling) -> Draws:
    ones = np.ones(len(scored))
    if _constant(scored):
        return _undefined(resampling)
    p = scored.prediction - scored.prediction.mean()
    y = scored.success_rate - scored.success_rate.mean()
    p, y = p / p.std(), y / y.std()
    n, sp, sy, spp, syy, spy = resampling.sums(ones, p, y, p * p, y * y, p * y)
    covariance = spy - sp * sy / n
    spread = np.sqrt(np.maximum(spp - sp**2 / n, 0) * np.maximum(syy - sy**2 / n, 0))
    return resampling.draws(np.clip(ratio(covariance, spread), -1, 1), support=ones)


def _spearman(scored: ScoredContents, resampling: Resampling) -> Draws:
    """Spearman's correlation with mid-ranks for ties.

    Replicates are linear in the weights: to recompute ranks in each costs O(N R), the influence
    of each content on the correlation is known after one sort. They are formed on Fisher's
    scale, where the sampling distribution is nearly normal.
    """
    ones = np.ones(len(scored))
    if _constant(scored):
        return _undefined(resampling)
    value, influence = spearman_influence(scored.prediction, scored.success_rate)
    if 1 - abs(value) < 1e-12:
        return resampling.draws(np.full(len(resampling.weights), value), support=ones)
    (shift,) = resampling.sums(influence)
    values = np.tanh(np.arctanh(value) + shift / (len(scored) * (1 - value**2)))
    values[0] = value
    return resampling.draws(values, support=ones)


def spearman_influence(x: Floats, y: Floats) -> tuple[float, Floats]:
    """Spearman's correlation of x and y [N] and each row's influence on it [N] (mean 0).

    With F and G the mid-distribution functions (share below plus half the share equal), the
    correlation is (E[FG] − ¼) / √((E[F²] − ¼)(E[G²] − ¼)); E[F] = ½ whatever the ties. Raising
    the weight of row k changes E[FG] by its own product and by what it adds to the ranks of
    the rows above it.
    """
    F, above_x = _mid_distribution(x)
    G, above_y = _mid_distribution(y)
    fg, ff, gg = (F * G).mean(), (F * F).mean(), (G * G).mean()
    d_fg = F * G + above_x(G) + above_y(F) - 3 * fg
    d_ff = F * F + 2 * above_x(F) - 3 * ff
    d_gg = G * G + 2 * above_y(G) - 3 * gg
    spread = np.sqrt((ff - 0.25) * (gg - 0.25))
    value = float((fg - 0.25) / spread)
    influence = d_fg / spread - value / 2 * (d_ff / (ff - 0.25) + d_gg / (gg - 0.25))
    return value, influence


def _mid_distribution(x: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
    """F(x) [N], and the function g ↦ Σ_i g_i ([x_i > x_k] + ½ [x_i = x_k]) / N of each row k."""
    size = len(x)
    ranks = dense_ranks(x)
    below, tied = below_and_tied(ranks)

    def above(g: Floats) -> Floats:
        total = np.bincount(ranks, g)
        return (total.sum() - np.cumsum(total) + total / 2)[ranks] / size

    return (below + tied / 2) / size, above


def _constant(scored: ScoredContents) -> bool:
    return bool(np.ptp(scored.prediction) == 0 or np.ptp(scored.success_rate) == 0)


def _undefined(resampling: Resampling) -> Draws:
    return Draws(np.full(len(resampling.weights), np.nan), 0)

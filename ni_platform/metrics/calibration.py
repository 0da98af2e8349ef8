"""Calibration: whether contents predicted at 2 % are clicked 2 % of the time."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from ni_platform.metrics.intervals import Draws, Resampling, ratio
from ni_platform.metrics.scored import Floats, ScoredContents

BINS = 10
EDGE = 1e-9


def calibration_metrics(scored: ScoredContents, resampling: Resampling) -> dict[str, Draws]:
    """Slope, intercept and expected calibration error; every content counts once.

    - `calibration_slope`: b of logit E[y] = a + b logit(prediction), fitted by fractional
      logistic regression (Papke and Wooldridge 1996); 1 is ideal, below 1 predictions are too
      extreme, and NaN where the prediction is constant.
    - `calibration_intercept`: a of the same with b = 1 ("calibration in the large"); 0 is ideal,
      above 0 predictions are too low on average.
    - `calibration_error`: mean absolute difference of mean prediction and mean observed rate
      over ten bins of equally many contents, in units of the success rate.

    Slope and intercept are NaN where a prediction lies outside [0, 1] or every observed rate is
    0 or every one 1; predictions of exactly 0 or 1 are moved inwards by 1e-9.
    """
    slope, intercept = _logit_fits(scored, resampling)
    return {
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "calibration_error": _calibration_error(scored, resampling),
    }


def calibration_curve(prediction: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Mean prediction and mean observed rate of each of at most ten equally full bins."""
    bins = _equal_bins(prediction)
    counts = np.bincount(bins)
    filled = counts > 0
    mean_prediction = np.bincount(bins, prediction)[filled] / counts[filled]
    return mean_prediction, np.bincount(bins, truth)[filled] / counts[filled]


def _logit_fits(scored: ScoredContents, resampling: Resampling) -> tuple[Draws, Draws]:
    truth = scored.success_rate
    undefined = Draws(np.full(len(resampling.weights), np.nan), 0)
    outside = (scored.prediction < 0) | (scored.prediction > 1)
    if outside.any() or truth.max() <= 0 or truth.min() >= 1:
        return undefined, undefined
    x = logit(np.clip(scored.prediction, EDGE, 1 - EDGE))
    intercept = _fit(x, truth, resampling, with_slope=False)
    if np.ptp(x) < EDGE:
        return undefined, intercept
    return _fit(x, truth, resampling, with_slope=True), intercept


def _fit(x: Floats, truth: Floats, resampling: Resampling, *, with_slope: bool) -> Draws:
    """The slope (or, with the slope held at 1, the intercept) by Newton's method.

    Each replicate takes one Newton step from the fit on the data with its own gradient and
    curvature, which is exact to the order at which the bootstrap is.
    """
    ones = np.ones(len(x))
    # Centred, so that slope and level are nearly orthogonal and the steps well conditioned.
    centred = x - x.mean() if with_slope else np.zeros(len(x))
    offset = np.zeros(len(x)) if with_slope else x
    level, slope = float(logit(truth.mean()) - offset.mean()), 0.0
    alone = Resampling(np.zeros(len(x), dtype=np.int64), np.ones((1, 1)))
    for _ in range(100):
        step = _newton_step(offset + level + slope * centred, centred, truth, alone)
        # Damped: a full step from far away can overshoot where the curve is flat.
        level += float(np.clip(step[0][0], -2, 2))
        slope += float(np.clip(step[1][0], -2, 2))
        if max(abs(step[0][0]), abs(step[1][0])) < 1e-10:
            break
    else:
        return Draws(np.full(len(resampling.weights), np.nan), 0)
    d_level, d_slope = _newton_step(offset + level + slope * centred, centred, truth, resampling)
    values = slope + d_slope if with_slope else level + d_level
    return resampling.draws(values, support=ones)


def _newton_step(
    linear: Floats, x: Floats, truth: Floats, resampling: Resampling
) -> tuple[Floats, Floats]:
    """The Newton step of level and slope on the data and each replicate, each [1 + R]."""
    rate = expit(linear)
    curve = rate * (1 - rate)
    g0, g1, h00, h01, h11 = resampling.sums(
        truth - rate, (truth - rate) * x, curve, curve * x, curve * x * x
    )
    determinant = h00 * h11 - h01**2
    if not x.any():
        return ratio(g0, h00), np.zeros_like(g0)
    return (
        ratio(h11 * g0 - h01 * g1, determinant),
        ratio(h00 * g1 - h01 * g0, determinant),
    )


def _calibration_error(scored: ScoredContents, resampling: Resampling) -> Draws:
    ones = np.ones(len(scored))
    bins = _equal_bins(scored.prediction)
    error = scored.prediction - scored.success_rate
    sums = resampling.sums(ones, *[error * (bins == index) for index in range(BINS)])
    total = np.sum(np.abs(sums[1:]), axis=0)
    return resampling.draws(ratio(total, sums[0]), support=ones)


def _equal_bins(prediction: Floats) -> np.ndarray:
    """The bin [N] of each prediction; equal predictions share one."""
    edges = np.quantile(prediction, np.arange(1, BINS) / BINS)
    return np.searchsorted(edges, prediction, side="right")

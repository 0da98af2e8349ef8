"""Errors of predicted success rates: RMSE, MAE and R²; every content counts once."""

from __future__ import annotations

import numpy as np

from ni_platform.metrics.intervals import Draws, Resampling, ratio
from ni_platform.metrics.scored import Floats, ScoredContents


def rmse(prediction: Floats, truth: Floats) -> float:
    """Root mean squared error, in units of the success rate."""
    return float(np.sqrt(np.mean((prediction - truth) ** 2)))


def mae(prediction: Floats, truth: Floats) -> float:
    """Mean absolute error, in units of the success rate."""
    return float(np.mean(np.abs(prediction - truth)))


def error_metrics(scored: ScoredContents, resampling: Resampling) -> dict[str, Draws]:
    """RMSE, MAE and R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)² (NaN where all observed rates are equal)."""
    error = scored.prediction - scored.success_rate
    # Centred before squaring: rates near 0.02 would lose digits to cancellation.
    truth = scored.success_rate - scored.success_rate.mean()
    ones = np.ones(len(scored))
    n, squared, absolute, y, yy = resampling.sums(ones, error**2, np.abs(error), truth, truth**2)
    spread = yy - y**2 / n
    if np.ptp(scored.success_rate) == 0:
        spread = np.zeros_like(spread)
    values = {
        "rmse": np.sqrt(squared / n),
        "mae": absolute / n,
        "r2": 1 - ratio(squared, np.maximum(spread, 0.0)),
    }
    return {name: resampling.draws(value, support=ones) for name, value in values.items()}

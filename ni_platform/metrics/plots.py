"""Figures of an evaluation, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ni_platform.metrics.calibration import calibration_curve
from ni_platform.metrics.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAIRWISE = {
    "pairwise_accuracy": "all pairs",
    "pairwise_within": "within A/B tests",
    "pairwise_significant": "significant pairs",
    "pairwise_within_distinct": "within A/B tests,\ninputs differ",
    "pairwise_significant_distinct": "significant,\ninputs differ",
}
CEILINGS = {
    "pairwise_within": "ceiling_within",
    "pairwise_significant": "ceiling_significant",
    "pairwise_within_distinct": "ceiling_within_distinct",
    "pairwise_significant_distinct": "ceiling_significant_distinct",
}
CURVES = {
    "train_loss": "training loss",
    "validation/loss": "validation loss",
    "validation/pairwise_within": "validation, pairs within tests in order",
    "validation/pairwise_accuracy": "validation, pairs in order",
}
"""The figures of an epoch that are drawn, where there are any."""
MAX_POINTS = 20_000


def calibration_figure(prediction: ArrayLike, success_rate: ArrayLike) -> Figure:
    """Mean observed against mean predicted rate of ten equally full bins, beside the diagonal."""
    predicted, observed = calibration_curve(
        np.asarray(prediction, dtype=np.float64), np.asarray(success_rate, dtype=np.float64)
    )
    figure, axes = _empty(5, 5)
    ends = [0.0, float(max(predicted.max(), observed.max())) * 1.05]
    axes.plot(ends, ends, color="grey", linestyle="--", label="perfectly calibrated")
    axes.plot(predicted, observed, marker="o", label="tenths of the contents")
    axes.set(xlabel="mean predicted success rate", ylabel="mean observed success rate")
    axes.legend()
    return figure


def predicted_observed_figure(
    prediction: ArrayLike, success_rate: ArrayLike, *, seed: int = 0
) -> Figure:
    """Observed against predicted rate, a point per content (20,000 at random at most)."""
    predicted = np.asarray(prediction, dtype=np.float64)
    observed = np.asarray(success_rate, dtype=np.float64)
    if len(predicted) > MAX_POINTS:
        rows = np.random.default_rng(seed).choice(len(predicted), MAX_POINTS, replace=False)
        predicted, observed = predicted[rows], observed[rows]
    figure, axes = _empty(5, 5)
    axes.scatter(predicted, observed, s=6, alpha=0.3, linewidths=0)
    ends = [0.0, float(max(predicted.max(), observed.max())) * 1.05]
    axes.plot(ends, ends, color="grey", linestyle="--")
    axes.set(xlabel="predicted success rate", ylabel="observed success rate")
    return figure


def pairwise_figure(models: Mapping[str, Mapping[str, Estimate]]) -> Figure:
    """Pairwise accuracies of each model (name → result of `evaluate`) with 95 % intervals.

    A dashed line marks chance, a tick above each group of bars its noise ceiling.
    """
    forms = [
        form
        for form in PAIRWISE
        if any(form in e and np.isfinite(e[form].value) for e in models.values())
    ]
    figure, axes = _empty(1.5 + 2 * max(len(forms), 1), 4)
    width = 0.8 / max(len(models), 1)
    for index, (model, estimates) in enumerate(models.items()):
        places = np.arange(len(forms)) - 0.4 + width * (index + 0.5)
        values = np.array([estimates[form].value for form in forms])
        low = np.array([estimates[form].low for form in forms])
        high = np.array([estimates[form].high for form in forms])
        errors = np.nan_to_num(np.array([values - low, high - values]))
        axes.bar(places, values, width, yerr=errors.reshape(2, -1), capsize=3, label=model)
    first = next(iter(models.values()), {})
    for place, form in enumerate(forms):
        ceiling = first.get(CEILINGS.get(form, ""), Estimate(float("nan")))
        if np.isfinite(ceiling.value):
            label = "noise ceiling" if form == "pairwise_within" else ""
            axes.hlines(ceiling.value, place - 0.42, place + 0.42, color="black", label=label)
    axes.axhline(0.5, color="grey", linestyle="--", label="chance")
    axes.set_xticks(range(len(forms)), [PAIRWISE[form] for form in forms])
    axes.set(ylabel="pairwise accuracy", ylim=(0, 1.02))
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def confidence_figure(accuracies: Sequence[tuple[float, Estimate]]) -> Figure:
    """Pairwise accuracy by how far apart pairs are predicted; see `accuracy_by_confidence`."""
    figure, axes = _empty(5.5, 4)
    for apart, accuracy in accuracies:
        axes.plot([100 * apart] * 2, [accuracy.low, accuracy.high], color="#005ab5")
        axes.plot(100 * apart, accuracy.value, "o", color="#005ab5")
    axes.axhline(0.5, color="grey", linestyle="--", label="chance")
    axes.set(
        xlabel="predicted difference in percentage points, mean of a fifth of the pairs",
        ylabel="pairwise accuracy within A/B tests",
    )
    axes.legend()
    return figure


def learning_curve_figure(curves: pd.DataFrame) -> Figure | None:
    """Figures by epoch, a panel per figure and a line per stage; None where there are none.

    `curves` has the columns of `tracking.learning_curves.read_curves`.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = [name for name in CURVES if (curves["metric"] == name).any()]
    if not names:
        return None
    figure = Figure(figsize=(3.1 * len(names), 2.4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names):
        for stage, points in curves[curves["metric"] == name].groupby("stage", sort=False):
            axes.plot(points["epoch"], points["value"], marker="o", markersize=3, label=str(stage))
        axes.set_title(CURVES[name], fontsize=9)
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
    panels[0].legend(fontsize=7)
    return figure


def _empty(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # takes a second

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()

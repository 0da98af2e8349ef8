"""Figures of a sweep, drawn without a display; with twenty thousand trials they take seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ni_platform.tuning.files.journal import TrialRecord
from ni_platform.tuning.results.parameters import ParameterAxis, as_level
from ni_platform.tuning.results.summary import SweepSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEST_MARKED = 10
BEST_CURVES = 5
MAX_POINTS = 4000
MAX_PANELS = 24
SLICE_COLUMNS = 4
# Colours of Okabe and Ito's palette, which the colour-blind tell apart.
_BEST, _COMPLETE, PRUNED, _FAILED = "#D55E00", "#0072B2", "#999999", "#CC79A7"
_LONGEST_LABEL = 22


def history_figure(summary: SweepSummary) -> Figure:
    """Objective of each trial in the order of their numbers, and the best so far."""
    figure, axes = empty_figure(9, 4.2)
    for status, colour in (("pruned", PRUNED), ("complete", _COMPLETE)):
        shown = [trial for trial in summary.best if trial.status == status]
        if not shown:
            continue
        axes.scatter(
            [trial.number for trial in shown],
            values_of(shown),
            s=12 if len(summary.best) < 2000 else 4,
            alpha=0.8 if len(summary.best) < 200 else 0.35,
            linewidths=0,
            color=colour,
            label=f"{status} ({len(shown):,})",
        )
    if summary.best:
        order = sorted(summary.best, key=lambda trial: trial.number)
        best = _accumulated(values_of(order), summary.sweep.lower_is_better)
        axes.step([t.number for t in order], best, where="post", color=_BEST, label="best so far")
        _limit(axes, values_of(order), summary.sweep.lower_is_better)
    failed = [t.number for t in summary.trials.values() if t.status == "failed"]
    if failed:
        label = f"failed ({len(failed):,})"
        _at_the_bottom(axes, failed, label)
    axes.set(xlabel="trial", ylabel=objective_label(summary))
    axes.set_xlim(-1 - 0.01 * len(summary.trials), len(summary.trials) * 1.01)
    axes.locator_params(axis="x", integer=True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, markerscale=2)
    if not summary.best:
        axes.set_yticks([])
    return figure


def curves_figure(summary: SweepSummary) -> Figure:
    """Objective after each epoch: the best trials over the spread of all."""
    objective = summary.sweep.objective
    curves = [
        [epoch.get(objective, np.nan) for epoch in trial.epochs]
        for trial in summary.best
        if trial.epochs
    ]
    figure, axes = empty_figure(9, 4.2)
    values = _padded(curves)
    epochs = np.arange(1, values.shape[1] + 1)
    if len(values) > BEST_CURVES:
        finite = np.where(np.isfinite(values), values, np.nan)
        quantiles = np.nanquantile(finite, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
        for low, high, shade, label in (
            (0, 4, "#e6e6e6", "90 % of trials"),
            (1, 3, "#cccccc", "half of the trials"),
        ):
            axes.fill_between(
                epochs,
                quantiles[low],
                quantiles[high],
                color=shade,
                linewidth=0,
                label=label,
            )
        axes.plot(epochs, quantiles[2], color="#666666", linestyle="--", label="median")
    colours = shades(min(BEST_CURVES, len(curves)))
    for trial, curve, colour in reversed(list(zip(summary.best, curves, colours))):
        axes.plot(
            epochs[: len(curve)],
            curve,
            color=colour,
            marker="o",
            markersize=3,
            label=f"trial {trial.number}",
        )
    finite = values[np.isfinite(values)]
    _limit(axes, finite, summary.sweep.lower_is_better, quantile=0.9)
    axes.set(xlabel="epoch", ylabel=objective_label(summary))
    axes.locator_params(axis="x", integer=True)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False
    )
    return figure


def importances_figure(found: Mapping[str, float]) -> Figure:
    """Share of each parameter, the largest on top; the 25 largest."""
    shown = list(found.items())[:25][::-1]
    figure, axes = empty_figure(9, 0.9 + 0.3 * len(shown))
    bars = axes.barh(
        range(len(shown)), [100 * share for _, share in shown], color=_COMPLETE, height=0.7
    )
    axes.bar_label(bars, [f"{100 * share:.0f} %" for _, share in shown], padding=4)
    axes.set_yticks(range(len(shown)), [name for name, _ in shown])
    axes.set(xlabel="share of importance (%)")
    axes.margins(x=0.1)
    return figure


def slices_figure(summary: SweepSummary, axes_shown: Sequence[ParameterAxis]) -> Figure:
    """Objective against each parameter, a panel each; at most 4,000 points, the best ten marked."""
    from matplotlib.figure import Figure

    columns = min(SLICE_COLUMNS, len(axes_shown))
    rows = -(-len(axes_shown) // columns)
    figure = Figure(figsize=(max(4.0, 2.9 * columns), 2.5 * rows), layout="constrained")
    shown = sampled(summary.best[BEST_MARKED:], MAX_POINTS)
    values = values_of(summary.best)
    rng = np.random.default_rng(0)
    for number, axis in enumerate(axes_shown):
        axes = figure.add_subplot(rows, columns, number + 1)
        for status, colour in (("pruned", PRUNED), ("complete", _COMPLETE)):
            _slice(axes, axis, [t for t in shown if t.status == status], colour, rng)
        _slice(axes, axis, summary.best[:BEST_MARKED], _BEST, rng, best=True)
        _limit(axes, values, summary.sweep.lower_is_better, note=False)
        if axis.levels is not None:
            crowded = sum(map(len, axis.levels)) > 26
            axes.set_xticks(
                range(len(axis.levels)),
                [shortened(level) for level in axis.levels],
                rotation=35 if crowded else 0,
                ha="right" if crowded else "center",
            )
            axes.set_xlim(-0.6, len(axis.levels) - 0.4)
        elif axis.log:
            axes.set_xscale("log")
        else:
            axes.locator_params(axis="x", nbins=4)
        axes.set_title(axis.name, fontsize=9)
        axes.tick_params(labelsize=8)
        if number % columns == 0:
            axes.set_ylabel(objective_label(summary).split(",")[0], fontsize=8)
    return figure


def _slice(
    axes: Axes,
    axis: ParameterAxis,
    trials: Sequence[TrialRecord],
    colour: str,
    rng: np.random.Generator,
    *,
    best: bool = False,
) -> None:
    own = [trial for trial in trials if axis.name in trial.parameters]
    values = np.array([trial.parameters[axis.name] for trial in own], dtype=object)
    if axis.levels is not None:
        # Spread sideways, so that points of one level do not hide each other.
        spread = rng.uniform(-0.25, 0.25, len(own)) * (not best)
        values = np.array([axis.levels.index(as_level(value)) for value in values]) + spread
    axes.scatter(
        values,
        values_of(own),
        s=22 if best else 8,
        alpha=1.0 if best else 0.8 if len(own) < 200 else 0.3,
        linewidths=0.5 if best else 0,
        edgecolors="black" if best else None,
        color=colour,
        zorder=3 if best else 2,
    )


def _limit(
    axes: Axes,
    values: NDArray[np.float64],
    lower_is_better: bool,
    *,
    quantile: float = 0.95,
    note: bool = True,
) -> None:
    """Leave the worst values out of sight, so that the good ones can be told apart."""
    low, high = value_range(values, lower_is_better, quantile)
    axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    finite = values[np.isfinite(values)]
    beyond = int(((finite < low) | (finite > high)).sum() + len(values) - len(finite))
    if beyond and note:
        where = "above" if lower_is_better else "below"
        axes.set_title(f"{beyond:,} values lie {where} this range", fontsize=8, loc="right")


def value_range(
    values: NDArray[np.float64], lower_is_better: bool, quantile: float
) -> tuple[float, float]:
    """From the best value to the quantile of the worst; never empty."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return 0.0, 1.0
    few = len(finite) < 20
    low = finite.min() if lower_is_better or few else np.quantile(finite, 1 - quantile)
    high = finite.max() if not lower_is_better or few else np.quantile(finite, quantile)
    if high - low < 1e-12:
        low, high = low - 0.5 * abs(low) - 1e-6, high + 0.5 * abs(high) + 1e-6
    return float(low), float(high)


def _at_the_bottom(axes: Axes, numbers: Sequence[int], label: str) -> None:
    axes.scatter(
        numbers,
        np.full(len(numbers), 0.015),
        transform=axes.get_xaxis_transform(),
        marker="x",
        s=16,
        linewidths=1,
        color=_FAILED,
        label=label,
    )


def _accumulated(values: NDArray[np.float64], lower_is_better: bool) -> NDArray[np.float64]:
    best = np.fmin if lower_is_better else np.fmax
    return np.asarray(best.accumulate(values))


def _padded(curves: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    longest = max(map(len, curves), default=1)
    values = np.full((len(curves), longest), np.nan)
    for row, curve in enumerate(curves):
        values[row, : len(curve)] = curve
    return values


def values_of(trials: Sequence[TrialRecord]) -> NDArray[np.float64]:
    """Return the objectives of trials that have one."""
    return np.array([trial.value for trial in trials], dtype=np.float64)


def sampled(trials: Sequence[TrialRecord], most: int) -> list[TrialRecord]:
    """Return at most so many of the trials, drawn at random, in their order."""
    if len(trials) <= most:
        return list(trials)
    drawn = np.random.default_rng(0).choice(len(trials), most, replace=False)
    return [trials[place] for place in np.sort(drawn)]


def shades(count: int) -> list[tuple[float, ...]]:
    """Colours from the best to the last of the best."""
    import matplotlib as mpl

    return [mpl.colormaps["plasma"](place) for place in np.linspace(0.05, 0.85, max(count, 1))]


def objective_label(summary: SweepSummary) -> str:
    """Return what an axis of the objective is called."""
    better = "lower" if summary.sweep.lower_is_better else "higher"
    return f"validation {summary.sweep.objective.replace('_', ' ')}, {better} is better"


def shortened(text: str) -> str:
    """Return the end of a text that is too long for an axis."""
    return text if len(text) <= _LONGEST_LABEL else f"…{text[-_LONGEST_LABEL + 1 :]}"


def empty_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of this size in inches, and its axes."""
    from matplotlib.figure import Figure  # takes a second

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()

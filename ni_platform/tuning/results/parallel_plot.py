"""Parallel coordinates: a line per trial through its parameters to its objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ni_platform.tuning.files.journal import TrialRecord
from ni_platform.tuning.results.parameters import ParameterAxis
from ni_platform.tuning.results.plots import (
    BEST_MARKED,
    PRUNED,
    empty_figure,
    objective_label,
    sampled,
    shades,
    shortened,
    value_range,
    values_of,
)
from ni_platform.tuning.results.summary import SweepSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LINES = 400
MAX_AXES = 14
_ABSENT = -0.14
"""Height at which a trial passes an axis of a parameter that it does not have."""


def parallel_figure(summary: SweepSummary, axes_shown: Sequence[ParameterAxis]) -> Figure:
    """A line per trial through its parameters to its objective; the best ones coloured.

    A trial without a parameter passes below its axis. At most 400 lines besides the best ten.
    """
    shown = list(axes_shown)[:MAX_AXES]
    figure, axes = empty_figure(max(6.0, 1.4 * (len(shown) + 1)), 5.2)
    rest = sampled(summary.best[BEST_MARKED:], MAX_LINES)
    low, high = value_range(values_of(summary.best), summary.sweep.lower_is_better, 0.95)
    places = np.arange(len(shown) + 1)
    absent = [_lacks(axis, summary.best) for axis in shown]
    colours = shades(min(BEST_MARKED, len(summary.best)))
    best = summary.best[:BEST_MARKED]
    for group, kept in ((rest, False), (best[::-1], True)):
        lines = _heights(group, shown, low, high)
        for number, line in enumerate(lines):
            colour = colours[len(lines) - 1 - number] if kept else PRUNED
            axes.plot(
                places,
                line,
                color=colour,
                alpha=0.95 if kept else 0.18,
                linewidth=1.8 if kept else 0.6,
                zorder=3 if kept else 2,
            )
    for place, axis in enumerate(shown):
        _draw_axis(axes, place, axis, absent=absent[place])
    axes.plot([len(shown), len(shown)], [0, 1], color="black", linewidth=0.8)
    for place in np.linspace(0, 1, 5):
        label = _number(low + place * (high - low))
        _label(axes, len(shown), place, label, outside=True)
    names = [shortened(axis.name).replace(".", ".\n") for axis in shown]
    axes.set_xticks(places, [*names, objective_label(summary).replace(", ", "\n")])
    axes.tick_params(axis="x", length=0, labelsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    axes.set_xlim(-0.3, len(shown) + 0.6)
    axes.set_ylim(-0.2 if any(absent) else -0.04, 1.04)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def _draw_axis(axes: Axes, place: int, axis: ParameterAxis, *, absent: bool) -> None:
    axes.plot([place, place], [0, 1], color="black", linewidth=0.8, zorder=4)
    if axis.levels is not None:
        heights = axis.places(axis.levels) if len(axis.levels) > 1 else np.array([0.5])
        for height, level in zip(heights, axis.levels):
            _label(axes, place, height, shortened(level))
    else:
        for height in (0.0, 0.5, 1.0) if axis.high > axis.low else (0.5,):
            value = axis.low + height * (axis.high - axis.low)
            if axis.log:
                value = axis.low * (axis.high / axis.low) ** height
            _label(axes, place, height, _number(value))
    if absent:
        _label(axes, place, _ABSENT, "absent")


def _label(axes: Axes, place: float, height: float, text: str, *, outside: bool = False) -> None:
    axes.text(
        place + (0.06 if outside else 0.03),
        height,
        text,
        fontsize=7.5,
        va="center",
        zorder=5,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
    )


def _heights(
    trials: Sequence[TrialRecord], shown: Sequence[ParameterAxis], low: float, high: float
) -> NDArray[np.float64]:
    """Where each trial's line meets each axis and the objective, [T, A + 1]."""
    lines = np.full((len(trials), len(shown) + 1), _ABSENT)
    for column, axis in enumerate(shown):
        rows = [row for row, trial in enumerate(trials) if axis.name in trial.parameters]
        if rows:
            lines[rows, column] = axis.places([trials[r].parameters[axis.name] for r in rows])
    lines[:, -1] = np.clip((values_of(trials) - low) / (high - low), 0, 1)
    return lines


def _lacks(axis: ParameterAxis, trials: Sequence[TrialRecord]) -> bool:
    return any(axis.name not in trial.parameters for trial in trials)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

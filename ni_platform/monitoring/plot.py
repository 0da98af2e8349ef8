"""The course of what is watched over time, drawn without a display."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ni_platform.monitoring.streams import Watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 5
"""Streams that are drawn, those with most evidence."""
_PERIODS = 24
"""Points of a stream at most: each the mean of a period."""
_CALM, _ALARM = "#005ab5", "#b42318"


def course_figure(watched: Sequence[Watched]) -> Figure | None:
    """Evidence of a change over time, and means over time of the streams that have most.

    None where nothing was observed.
    """
    from matplotlib.figure import Figure  # takes a second

    seen = [found for found in watched if len(found.stream.values)]
    if not seen:
        return None
    shown = sorted(seen, key=_rank)[:_MOST]
    rows = math.ceil((1 + len(shown)) / 2)
    figure = Figure(figsize=(9.5, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False).flatten()
    _evidence(panels[0], seen)
    for axes, found in zip(panels[1:], shown):
        _means(axes, found)
    for axes in panels[1 + len(shown) :]:
        axes.set_axis_off()
    days = [found.course.days for found in seen]
    first, last = min(each[0] for each in days), max(each[-1] for each in days)
    margin = np.timedelta64(1, "D") + (last - first) // 40
    for axes in panels[: 1 + len(shown)]:
        axes.set_xlim(first - margin, last + margin)
        _dates(axes)
    return figure


def _rank(found: Watched) -> tuple[bool, bool, float]:
    """Alarms first, then accuracy, then the most evidence."""
    return (found.alarm is None, found.stream.kind != "accuracy", -found.evidence)


def _evidence(axes: Any, seen: Sequence[Watched]) -> None:
    for found in seen:
        capital = found.course.log_capital / np.log(10) + np.log10(found.alpha)
        alarmed = found.alarm is not None
        axes.plot(
            found.course.days,
            capital,
            color=_ALARM if alarmed else _CALM,
            linewidth=1.4 if alarmed else 0.8,
            alpha=1 if alarmed else 0.6,
            marker="." if len(capital) < 3 else None,
        )
    axes.axhline(0, color="black", linewidth=1, linestyle="--")
    axes.set_title("evidence of a change, every stream (alarm above the line)", fontsize=9)
    axes.set_ylabel("e-value / alarm's, log10", fontsize=8)


def _means(axes: Any, found: Watched) -> None:
    stream = found.stream
    colour = _CALM if found.alarm is None else _ALARM
    day = stream.days.astype("datetime64[D]").astype(np.int64)
    width = max(1, math.ceil((day.max() - day.min() + 1) / _PERIODS))
    period = (day - day.min()) // width
    means = pd.Series(stream.values).groupby(period).mean()
    middle = day.min() + means.index.to_numpy() * width + (width - 1) // 2
    axes.plot(middle.astype("datetime64[D]"), means, "o-", color=colour, markersize=3, linewidth=1)
    axes.axhline(stream.promised, color="black", linewidth=1, linestyle="--")
    axes.axhline(stream.usual, color="grey", linewidth=0.8)
    if found.alarm is not None:
        axes.axvline(found.alarm.day, color=_ALARM, linewidth=1, linestyle=":")
    axes.set_ylim(-0.04, 1.04)
    axes.set_title(stream.label, fontsize=9)


def _dates(axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.tick_params(labelsize=8)

"""Figures of a selection: success rate by level (M2FN Figure 4) and the effects side by side."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from ni_platform.selection.selection import Selection, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BARS = 25
# Two colours of Okabe and Ito's palette, which the colour-blind tell apart.
_KEPT, _DROPPED, _MEAN = "#0072B2", "#999999", "#D55E00"
_LONGEST_LABEL = 28
_UPRIGHT_CHARACTERS = 60
_CAPTION_WIDTH = 90


def level_figure(verdict: Verdict, overall_rate: float) -> Figure:
    """Bars of an attribute's success rate by level with 95 % intervals; the 25 most shown."""
    shown = sorted(verdict.levels, key=lambda item: -item.impressions)[:MAX_BARS]
    levels = [item for item in verdict.levels if item in shown]
    labels = [f"{_short(item.level)}\n({item.contents:,})" for item in levels]
    widest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    crowded = widest * len(labels) > _UPRIGHT_CHARACTERS
    figure, axes = _empty(max(6.0, 1.5 + 0.5 * len(levels)), 5.5 if crowded else 4.5)
    rates = np.array([item.rate.value for item in levels]) * 100
    low = np.array([item.rate.low for item in levels]) * 100
    high = np.array([item.rate.high for item in levels]) * 100
    reach = np.array([rates - low, high - rates]).clip(0)
    colour = _KEPT if verdict.keep else _DROPPED
    axes.bar(range(len(levels)), rates, 0.7, color=colour, yerr=reach, capsize=3, ecolor="black")
    axes.axhline(overall_rate * 100, color=_MEAN, linestyle="--", label="mean of all contents")
    axes.set_xticks(
        range(len(levels)),
        [label.replace("\n", " ") for label in labels] if crowded else labels,
        rotation=45 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor" if crowded else "default",
    )
    axes.set(ylabel="success rate (%)", xlabel=f"{verdict.name} (number of contents)")
    axes.margins(x=0.02)
    axes.legend(loc="upper right", bbox_to_anchor=(1, 1.12), frameon=False)
    axes.set_title(f"{verdict.name}: {'kept' if verdict.keep else 'dropped'}", loc="left")
    hidden = len(verdict.levels) - len(levels) + verdict.levels_left_out
    rest = f" {hidden:,} levels that were shown less are left out." if hidden else ""
    _caption(
        figure, f"{verdict.reason[:1].upper()}{verdict.reason[1:]}.{rest} Whiskers: 95 % intervals."
    )
    return figure


def effect_figure(selection: Selection) -> Figure:
    """Omega squared of each tested attribute with its 95 % interval, the largest on top."""
    tested = [(item, item.effect) for item in selection.verdicts if item.effect is not None]
    tested.sort(key=lambda pair: pair[1].omega_squared.value)
    figure, axes = _empty(7, 1.8 + 0.35 * len(tested))
    for place, (item, effect) in enumerate(tested):
        omega = effect.omega_squared
        colour = _KEPT if item.keep else _DROPPED
        reach = np.array([[omega.value - omega.low], [omega.high - omega.value]]) * 100
        axes.errorbar(
            omega.value * 100,
            place,
            xerr=reach,
            fmt="o" if item.keep else "x",
            color=colour,
            capsize=3,
        )
    axes.set_yticks(
        range(len(tested)),
        [f"{_short(item.name)} ({'keep' if item.keep else 'drop'})" for item, _ in tested],
    )
    axes.set_ylim(-0.6, max(len(tested), 1) - 0.4)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="variance of success rates explained, partial omega² (%)")
    axes.set_title(f"Attributes of {selection.dataset}", loc="left")
    return figure


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _caption(figure: Figure, text: str) -> None:
    figure.supxlabel(textwrap.fill(text, _CAPTION_WIDTH), fontsize=8, x=0.01, ha="left")


def _empty(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # takes a second

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()

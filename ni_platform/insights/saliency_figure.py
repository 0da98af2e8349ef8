"""Six contents of a run under their attributions, in one figure for MLflow's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ni_platform.data.dataset import Dataset
from ni_platform.insights.insights import Insights, picture_of
from ni_platform.insights.saliency import LOWERS, RAISES, overlay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EACH_END = 3
"""Contents shown of those with the highest predictions, and of those with the lowest."""
_WORDS = 8
_LETTERS = 18


def examples(insights: Insights) -> list[int]:
    """Return which contents are shown, counted in `Insights.rows`: the highest, then the lowest."""
    order = np.argsort(-insights.explanations.predictions, kind="stable")
    return [*map(int, order[:EACH_END]), *map(int, order[max(EACH_END, len(order) - EACH_END) :])]


def saliency_figure(insights: Insights, dataset: Dataset) -> Figure | None:
    """Each content's picture under its map and its strongest words; None if neither is explained.

    Blue raises the predicted rate, orange lowers it.
    """
    from matplotlib.figure import Figure

    kinds = [kind for kind in ("image", "text") if kind in insights.explanations.modalities]
    chosen = examples(insights)
    if not kinds or not chosen:
        return None
    figure = Figure(figsize=(2.6 * len(chosen), 2.6 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), len(chosen), squeeze=False)
    for column, place in zip(panels.T, chosen):
        for axes, kind in zip(column, kinds):
            _draw(axes, kind, insights, dataset, place)
        row = int(insights.rows[place])
        predicted, observed = insights.explanations.predictions[place], dataset.success_rate[row]
        said = f"predicted {100 * predicted:.3g} %, observed {100 * observed:.3g} %"
        column[0].set_title(f"{dataset.content_id.iloc[row]}\n{said}", fontsize=8)
    return figure


def _draw(axes: Axes, kind: str, insights: Insights, dataset: Dataset, place: int) -> None:
    explained = insights.explanations.modalities[kind]
    found = explained.by_method[insights.modalities[kind].method][place].raw
    if kind == "image":
        axes.set_axis_off()
        if found.size:
            axes.imshow(overlay(picture_of(dataset, insights.rows)(place), found))
        return
    words = explained.words[place]
    strongest: Any = np.argsort(-np.abs(found), kind="stable")[:_WORDS]
    strongest = np.sort(strongest)[::-1]
    values = found[strongest]
    colours = [np.array(RAISES if value > 0 else LOWERS) / 255 for value in values]
    axes.barh(range(len(values)), values, color=colours)
    # A dollar sign would begin a formula.
    labels = [words[position].text[:_LETTERS].replace("$", r"\$") for position in strongest]
    axes.set_yticks(range(len(values)), labels, fontsize=7)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.tick_params(axis="x", labelsize=6)

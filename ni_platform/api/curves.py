"""Learning curves as a picture."""

from __future__ import annotations

import pandas as pd

from ni_platform.reporting.page import Picture

_DRAWN = {
    "train_loss": "training loss",
    "validation/loss": "validation loss",
    "validation/pairwise_within": "validation, pairs within tests in order",
    "validation/pairwise_accuracy": "validation, pairs in order",
}
"""The figures of an epoch that are drawn, where there are any."""


def curves_picture(curves: pd.DataFrame) -> Picture | None:
    """Draw the learning curves of a run, a panel per figure and a line per stage; None without."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = [name for name in _DRAWN if (curves["metric"] == name).any()]
    if not names:
        return None
    drawing = Figure(figsize=(3.1 * len(names), 2.4), layout="constrained")
    panels = drawing.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names):
        for stage, points in curves[curves["metric"] == name].groupby("stage", sort=False):
            axes.plot(points["epoch"], points["value"], marker="o", markersize=3, label=str(stage))
        axes.set_title(_DRAWN[name], fontsize=9)
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
    panels[0].legend(fontsize=7)
    return Picture.of(drawing, "Learning curves of each stage, by epoch.", "")

"""Clicks per 1,000 impressions by traffic, a line per policy, drawn without a display."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "model": "the model alone, no test",
    "winner": "winner of a uniform test",
    "combined": "uniform test with the model's prior",
    "thompson": "Thompson sampling",
    "thompson_during": "  its own viewers, during the test",
    "thompson_prior": "Thompson sampling with the model's prior",
    "thompson_prior_during": "  its own viewers, during the test",
    "best_at_least": "best arm, at least",
    "best_at_most": "best arm, at most",
}
"""What policies are called."""
_DRAWN = {
    "model": ("#e69f00", "-"),
    "winner": ("#555555", "-"),
    "combined": ("#005ab5", "-"),
    "thompson": ("#555555", ":"),
    "thompson_prior": ("#005ab5", ":"),
    "best_at_least": ("#000000", "--"),
}
"""Colours and strokes. `best_at_most` is so far above the others that they would look alike."""


def value_figure(by_traffic: pd.DataFrame) -> Figure | None:
    """Draw a line per policy, most with 95 % bands; None where no test has the traffic.

    `by_traffic` as `Figures.by_traffic`.
    """
    from matplotlib.figure import Figure  # takes a second

    table = by_traffic[by_traffic["traffic"] > 0]
    if table.empty:
        return None
    traffic = sorted(table["traffic"].unique())
    tests = table.groupby("traffic")["tests"].first()
    wide = {name: rows.set_index("traffic") for name, rows in table.groupby("policy")}
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for name, (colour, style) in _DRAWN.items():
        rows = wide[name].reindex(traffic)
        if rows["value"].notna().any():
            if style == "-":
                axes.fill_between(
                    traffic, rows["low"], rows["high"], color=colour, alpha=0.12, lw=0
                )
            axes.plot(traffic, rows["value"], style, marker="o", color=colour, label=LABELS[name])
    axes.axhline(0, color="grey", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(traffic, [f"{one:,}\n{tests[one]:,} tests" for one in traffic])
    axes.minorticks_off()
    axes.set(
        xlabel="impressions of the test, in all arms",
        ylabel="clicks per 1,000 impressions\nagainst all arms alike",
    )
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure

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
    "thompson_prior": "Thompson sampling with the model's prior",
    "thompson_during": "  its own viewers, during the test",
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
}


def value_figure(by_traffic: pd.DataFrame) -> Figure | None:
    """Draw a line per policy with its 95 % band; None where no test has any of the traffic.

    `by_traffic` as `Figures.by_traffic`. The grey area is between the bounds of the best arm.
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
    lowest, highest = (
        wide[f"best_at_{end}"]["value"].reindex(traffic) for end in ("least", "most")
    )
    axes.fill_between(
        traffic, lowest, highest, color="#cccccc", alpha=0.6, label="best arm, bounds"
    )
    for name, (colour, style) in _DRAWN.items():
        rows = wide[name].reindex(traffic)
        if rows["value"].notna().any():
            axes.fill_between(traffic, rows["low"], rows["high"], color=colour, alpha=0.12, lw=0)
            axes.plot(traffic, rows["value"], style, marker="o", color=colour, label=LABELS[name])
    axes.axhline(0, color="grey", linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(traffic, [f"{one:,}\n{tests[one]:,} tests" for one in traffic])
    axes.minorticks_off()
    axes.set(
        xlabel="impressions of the test, in all arms",
        ylabel="clicks per 1,000 impressions\nagainst all arms alike",
    )
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure

"""The page of what a model is worth: in words, a picture and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ni_platform.reporting.page import Picture, Table, render
from ni_platform.value.figures import Figures
from ni_platform.value.plot import LABELS, value_figure


def value_report(name: str, run_id: str, sentences: list[str], found: Figures) -> str:
    """Return the page.

    Args:
        name: Of the run.
        run_id: Of the run.
        sentences: What came out, in words.
        found: Every figure.
    """
    drawn = value_figure(found.by_traffic)
    words = "Clicks per 1,000 impressions by traffic of the test, a line per policy."
    return render(
        "value.html",
        name=name,
        run_id=run_id,
        sentences=sentences,
        picture_of_value=None if drawn is None else Picture.of(drawn, words, ""),
        by_traffic=_by_traffic(found),
        top=_top(found),
    )


def clicks(row: Mapping[Any, Any]) -> str:
    """A figure with its interval as text: +1.20 (+0.80 to +1.60)."""
    if not np.isfinite(row["low"]):
        return f"{row['value']:+.2f}"
    return f"{row['value']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"


def _by_traffic(found: Figures) -> Table:
    table = found.by_traffic
    levels = sorted(table["traffic"].unique())
    by_place = {(row["policy"], row["traffic"]): row for row in table.to_dict("records")}
    rows = [
        (label, *(_cell(by_place.get((policy, level))) for level in levels))
        for policy, label in LABELS.items()
    ]
    heads = ("policy", *("no test" if not level else f"{level:,} impressions" for level in levels))
    return Table.of(heads, rows)


def _top(found: Figures) -> Table | None:
    if found.top.empty:
        return None
    rows = [
        (
            f"{row['k']:.0f}",
            f"{row['tests']:,.0f}",
            f"{100 * row['share']:.0f} %",
            f"{100 * row['by_chance']:.0f} %",
            f"{row['lost']:.2f} ({row['lost_low']:.2f} to {row['lost_high']:.2f})",
        )
        for row in found.top.to_dict("records")
    ]
    heads = ("first k", "tests of more arms", "hold the winner", "by chance", "clicks given away")
    return Table.of(heads, rows)


def _cell(row: Mapping[Any, Any] | None) -> str:
    return "–" if row is None or row["value"] != row["value"] else clicks(row)

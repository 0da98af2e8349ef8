"""Whether a model orders the arms of A/B tests better than a coin, in words."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

_JUDGED = {
    "pairwise_within_distinct": "ceiling_within_distinct",
    "pairwise_within": "ceiling_within",
}
"""Figures that are judged, the first that there is, and their noise ceilings."""
LEAST_SKILL = 0.25
"""Share of the way from a coin to the noise ceiling below which a model hardly helps."""


def hardly_skilled(table: pd.DataFrame) -> str | None:
    """Say that a model orders held-out arms no better or hardly better than a coin; else None.

    None, too, where no pair within A/B tests judges it.

    Args:
        table: a run's figures: slice, metric, value, low, high.
    """
    test: dict[Any, dict[Any, Any]] = (
        table[table["slice"] == "test"].set_index("metric").to_dict("index")
    )
    name = next((name for name in _JUDGED if name in test), None)
    if name is None:
        return None
    found = test[name]
    value, low, high = found["value"], found["low"], found["high"]
    reached = f"of 100 pairs of arms it orders {100 * value:.1f} right, a coin 50"
    if math.isfinite(low):
        reached += f" (95 % interval {100 * low:.1f} to {100 * high:.1f})"
    if not low > 0.5:
        return f"not shown to be better than guessing: {reached}"
    ceiling = test.get(_JUDGED[name], {}).get("value", math.nan)
    if (value - 0.5) < LEAST_SKILL * (ceiling - 0.5):
        return f"hardly better than guessing: {reached}, and who knew the truth {100 * ceiling:.1f}"
    return None

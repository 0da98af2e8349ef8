"""What became of a log: counted, set aside, dropped, merged or left out, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from ni_platform.data.click_log.levels import Merge

REPORT_FILE, REJECTS_FILE = "aggregation.json", "rejects.csv"


@dataclass(kw_only=True)
class Aggregation:
    """What became of a log's rows."""

    files: int = 0
    passed_over: list[str] = field(default_factory=list)
    """Files of the log's folders that are no logs by their names."""
    rows: int = 0
    rejected: int = 0
    max_rejected: float = 0.0
    """Largest share of rows that could have been bad."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Events left out by each drop rule."""
    attributes: list[str] = field(default_factory=list)
    """Columns whose levels were merged where they were rare."""
    min_level_impressions: int = 0
    merges: list[Merge] = field(default_factory=list)
    """Rare levels that went into others, in their order."""
    combinations: int = 0
    min_impressions: int = 0
    below_min_impressions: int = 0
    """Combinations left out because they were shown too rarely."""
    impressions_below_min: int = 0
    without_creative: int = 0
    """Combinations left out because no row of the creatives table is theirs."""
    contents: int = 0
    impressions: int = 0
    clicks: int = 0

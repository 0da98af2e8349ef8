"""Merging of rare levels of an attribute with the closest level (M2FN Section 6.3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ni_platform.data.click_log.counts import CLICKS, IMPRESSIONS
from ni_platform.errors import DatasetError

_JOINED = " + "


@dataclass(frozen=True, kw_only=True)
class Merge:
    """One level that went into another."""

    attribute: str
    level: str
    impressions: int
    into: str
    result: str


def merge_rare_levels(
    counts: pd.DataFrame, attribute: str, least: int, order: Sequence[str] | None = None
) -> tuple[dict[str, str], list[Merge]]:
    """Merge the rarest level with the closest one until each has `least` impressions.

    The closest is, with an `order`, the neighbour whose success rate is nearer, else the level
    with the nearest success rate; of two as near, the one with more impressions. Null is no level.

    Returns:
        The name of each level after merging, such as `a + b`, and what was merged.

    Raises:
        DatasetError: A level that the order does not list.

    """
    totals = counts.groupby(attribute, sort=True, observed=True)[[IMPRESSIONS, CLICKS]].sum()
    if order is not None:
        unknown = sorted(set(totals.index) - set(order))
        if unknown:
            raise DatasetError(
                f"ordered.{attribute} must list every level, but the log also has {unknown[:5]}: "
                "add them at their place."
            )
    names = [name for name in (order or totals.index) if name in totals.index]
    levels = [_Level((name,), *map(int, totals.loc[name])) for name in names]
    merges: list[Merge] = []
    while len(levels) > 1:
        rarest = min(range(len(levels)), key=lambda i: levels[i].impressions)
        rare = levels[rarest]
        if rare.impressions >= least:
            break
        others = [i for i in range(len(levels)) if i != rarest]
        if order is not None:
            others = [i for i in others if abs(i - rarest) == 1]
        closest = min(
            others, key=lambda i: (abs(levels[i].rate - rare.rate), -levels[i].impressions)
        )
        first, second = sorted((rarest, closest))
        both = levels[first].with_(levels[second])
        merges.append(
            Merge(
                attribute=attribute,
                level=rare.name,
                impressions=rare.impressions,
                into=levels[closest].name,
                result=both.name,
            )
        )
        levels[first] = both
        del levels[second]
    return {name: level.name for level in levels for name in level.members}, merges


@dataclass(frozen=True)
class _Level:
    members: tuple[str, ...]
    impressions: int
    clicks: int

    @property
    def name(self) -> str:
        return _JOINED.join(self.members)

    @property
    def rate(self) -> float:
        return self.clicks / self.impressions

    def with_(self, other: _Level) -> _Level:
        return _Level(
            self.members + other.members,
            self.impressions + other.impressions,
            self.clicks + other.clicks,
        )

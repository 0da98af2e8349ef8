"""Attributes made ready for tests and charts: levels, rare ones together, numbers standardized."""

from __future__ import annotations

import calendar
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from ni_platform.data.manifest import Columns
from ni_platform.errors import DatasetError
from ni_platform.selection.config import SelectionConfig
from ni_platform.selection.sample import Sample

MISSING = "missing"
_BINS = 5
_NAMED = 3
_CALENDAR = [
    [name.lower() for name in names]
    for names in (calendar.day_name, calendar.day_abbr, calendar.month_name, calendar.month_abbr)
]


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One attribute of N contents."""

    name: str
    kind: Literal["categorical", "numeric"]
    is_domain: bool = False
    level: np.ndarray
    """Level of each content as the charts show it, object [N]; numbers in bins."""
    levels: tuple[str, ...]
    """The levels in their own order, or as they came where they have none."""
    ordered: bool
    """Whether `levels` has an order of its own."""
    columns: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """What is tested, float64 [N, P]: all levels but the most frequent one, or the number in
    standard deviations from its mean (0 where missing); then whether it is missing."""
    column_levels: tuple[str, ...] = ()
    """The level of each column; a number's own column is called "+1 SD (…)"."""
    reference: str | None = None
    """The level that has no column."""
    values: np.ndarray | None = None
    """The numbers, NaN where missing, float64 [N]; None for a categorical attribute."""
    problem: str | None = None
    """Why the attribute cannot be tested, or None."""

    @property
    def resolution(self) -> int:
        """How many values it tells apart."""
        if self.values is None:
            return len(self.levels)
        return len(np.unique(self.values[np.isfinite(self.values)]))

    def only(self, levels: Collection[str]) -> Attribute:
        """The same attribute with some of its levels, for charts and tables."""
        return replace(self, levels=tuple(item for item in self.levels if item in levels))


def read_attributes(columns: Columns, sample: Sample, config: SelectionConfig) -> list[Attribute]:
    """Read the domain and the declared attributes, in the manifest's order.

    Raises:
        DatasetError: A number is infinite.

    """
    domain = [] if columns.domain is None else [_categorical(columns.domain, sample, config, True)]
    categorical = [_categorical(name, sample, config) for name in columns.categorical]
    return domain + categorical + [_numeric(name, sample, config) for name in columns.numeric]


def _categorical(
    name: str, sample: Sample, config: SelectionConfig, is_domain: bool = False
) -> Attribute:
    column = sample.contents[name]
    level = np.where(column.notna(), column.astype(object).map(str), MISSING).astype(object)
    raw, ordered = _order(column, level)
    merged = _rare_together(level, raw, sample, config)
    levels = tuple(dict.fromkeys(merged[item] for item in raw))
    if len(raw) < 2 or len(levels) < 2:
        problem = (
            f"its only level is {raw[0]}"
            if len(raw) < 2
            else f"no two of its {len(raw):,} levels have {config.min_level_groups} independent "
            f"groups of contents and {config.min_level_clicks:g} expected clicks"
        )
        return Attribute(
            name=name,
            kind="categorical",
            is_domain=is_domain,
            level=level,
            levels=raw,
            ordered=ordered,
            problem=problem,
        )
    level = pd.Series(level).map(merged).to_numpy(dtype=object)
    reference = str(pd.Series(level).value_counts().idxmax())
    tested = tuple(item for item in levels if item != reference)
    return Attribute(
        name=name,
        kind="categorical",
        is_domain=is_domain,
        level=level,
        levels=levels,
        ordered=ordered,
        columns=np.stack([level == item for item in tested], axis=1).astype(np.float64),
        column_levels=tested,
        reference=reference,
    )


def _numeric(name: str, sample: Sample, config: SelectionConfig) -> Attribute:
    values = sample.contents[name].to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise DatasetError(
            f"Numbers must be finite, but {int(np.isinf(values).sum()):,} of {name!r} are "
            "infinite: correct them, or empty the cells."
        )
    known = ~np.isnan(values)
    level, levels = _binned(values)
    # By the range, as rounding leaves a spread of equal numbers.
    if not known.any() or np.ptp(values[known]) == 0:
        value = f"{values[known][0]:g} wherever it is known" if known.any() else "missing"
        return Attribute(
            name=name,
            kind="numeric",
            level=level,
            levels=levels,
            ordered=True,
            values=values,
            problem=f"it is always {value}",
        )
    spread = float(values[known].std())
    blocks = [np.where(known, (values - values[known].mean()) / spread, 0.0)]
    names = [f"+1 SD ({spread:.4g})"]
    # Whether a number is known may say something; a rare gap only takes the mean.
    if min(_groups_of(sample, known), _groups_of(sample, ~known)) >= config.min_level_groups:
        blocks.append((~known).astype(np.float64))
        names.append(MISSING)
    return Attribute(
        name=name,
        kind="numeric",
        level=level,
        levels=levels,
        ordered=True,
        columns=np.stack(blocks, axis=1),
        column_levels=tuple(names),
        values=values,
    )


def _order(column: pd.Series, level: np.ndarray) -> tuple[tuple[str, ...], bool]:
    """Levels in their order: an ordered column's, by leading number, or of the calendar."""
    found = [str(item) for item in pd.unique(level) if item != MISSING]
    gap = (MISSING,) if (level == MISSING).any() else ()
    if isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
        own = [str(item) for item in column.cat.categories]
        return (*(item for item in own if item in found), *gap), True
    for names in _CALENDAR:
        if all(item.lower() in names for item in found):
            return (*sorted(found, key=lambda item: names.index(item.lower())), *gap), True
    leading = {item: re.match(r"-?\d+(?:\.\d+)?", item) for item in found}
    if all(leading.values()):
        keys = {item: float(match.group()) for item, match in leading.items() if match}
        return (*sorted(found, key=lambda item: (keys[item], item)), *gap), True
    return (*sorted(found), *gap), False


def _rare_together(
    level: np.ndarray, levels: Sequence[str], sample: Sample, config: SelectionConfig
) -> dict[str, str]:
    """Level -> level as tested. Decided by exposure only, so that no test is biased by it."""
    frame = pd.DataFrame({"level": level, "group": sample.group, "seen": sample.impressions})
    by_level = frame.groupby("level").agg(groups=("group", "nunique"), seen=("seen", "sum"))
    least = config.min_level_clicks / min(sample.overall_rate, 1 - sample.overall_rate)
    rare = (by_level["groups"] < config.min_level_groups) | (by_level["seen"] < least)
    if not rare.any():
        return {item: item for item in levels}
    # The rare levels may be too rare even together: then the next larger ones join them.
    by_size = by_level.assign(rare=rare).sort_values(["rare", "seen"], ascending=[False, True])
    members: list[str] = []
    for item in by_size.index:
        if not rare[item]:
            together = frame[frame["level"].isin(members)]
            enough = together["group"].nunique() >= config.min_level_groups
            if enough and together["seen"].sum() >= least:
                break
        members.append(str(item))
    joined = set(members)
    kept = [item for item in levels if item in joined]
    name = ", ".join(kept) if len(kept) <= _NAMED else f"{len(kept):,} rare levels"
    return {item: f"other ({name})" if item in joined else item for item in levels}


def _binned(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Equally full bins of numbers, at most five, as labels."""
    known = ~np.isnan(values)
    level = np.full(len(values), MISSING, dtype=object)
    gap = () if known.all() else (MISSING,)
    if not known.any():
        return level, gap
    distinct = np.unique(values[known])
    if len(distinct) <= _BINS:
        names = [f"{value:.6g}" for value in distinct]
        level[known] = np.array(names, dtype=object)[np.searchsorted(distinct, values[known])]
        return level, (*names, *gap)
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, _BINS + 1)))
    bins = np.searchsorted(edges[1:-1], values[known])  # upper bounds belong to their bin
    members = [values[known][bins == index] for index in range(len(edges) - 1)]
    names = [f"{item.min():.4g} to {item.max():.4g}" if len(item) else "" for item in members]
    level[known] = np.array(names, dtype=object)[bins]
    return level, (*dict.fromkeys(name for name in names if name), *gap)


def _groups_of(sample: Sample, rows: np.ndarray) -> int:
    return len(np.unique(sample.group[rows]))

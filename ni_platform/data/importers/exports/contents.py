"""Rows of counts to contents: what may be added up is, and nothing is counted twice."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from ni_platform.data.importers.exports.profile import Profile
from ni_platform.data.importers.exports.rows import (
    AB_TEST,
    CLICKS,
    CONTENT_ID,
    DAY,
    IMPRESSIONS,
    LINE,
    SINCE,
    SOURCE,
)
from ni_platform.data.importers.exports.set_aside import SetAside
from ni_platform.errors import DatasetError

_COUNTS = [IMPRESSIONS, CLICKS]
_PERIOD = [CONTENT_ID, SINCE, DAY]


def once_each(facts: pd.DataFrame) -> pd.DataFrame:
    """Return the facts without rows that a second file repeats.

    Raises:
        DatasetError: Files give other counts for the same content and days, or days overlap.
    """
    sums = facts.groupby([SOURCE, *_PERIOD], dropna=False, sort=False)[_COUNTS].sum()
    several = sums.reset_index()
    shared = several[several.duplicated(_PERIOD, keep=False)]
    differ = shared.groupby(_PERIOD, dropna=False)[_COUNTS].nunique().max(axis=1)
    if (differ > 1).any():
        content, _, day = differ.index[int(np.argmax(differ > 1))]
        rows = shared[(shared[CONTENT_ID] == content) & _same(shared[DAY], day)]
        counts = "; ".join(
            f"{row[IMPRESSIONS]} and {row[CLICKS]} in {row[SOURCE]}"
            for row in rows.to_dict("records")
        )
        raise DatasetError(
            f"Files must not count the same twice, but {content!r}{_on(day)} has impressions and "
            f"successes of {counts}: if one file is newer, import the older first and then the "
            "newer into the same folder; if they are parts, put them into one file."
        )
    extra = several[several.duplicated(_PERIOD)]
    if len(extra):
        keys = pd.MultiIndex.from_frame(_comparable(extra[[SOURCE, *_PERIOD]]))
        repeated = pd.MultiIndex.from_frame(_comparable(facts[[SOURCE, *_PERIOD]])).isin(keys)
        facts = facts[~repeated].reset_index(drop=True)
    check_periods(facts)
    return facts


def check_periods(facts: pd.DataFrame) -> None:
    """Raise DatasetError where days of one content are counted in two rows of other periods."""
    periods = facts[[CONTENT_ID, SINCE, DAY]].drop_duplicates()
    with_days = periods[DAY].notna()
    mixed = set(periods.loc[with_days, CONTENT_ID]) & set(periods.loc[~with_days, CONTENT_ID])
    if mixed:
        raise DatasetError(
            f"{sorted(mixed)[0]!r} is counted with days and without: import exports of one form."
        )
    ordered = periods[with_days].sort_values([CONTENT_ID, SINCE, DAY])
    same = ordered[CONTENT_ID] == ordered[CONTENT_ID].shift()
    overlaps = same & (ordered[SINCE] <= ordered[DAY].shift().fillna(""))
    if overlaps.any():
        place = int(np.argmax(overlaps))
        first, second = ordered.iloc[place - 1], ordered.iloc[place]
        raise DatasetError(
            f"Days must not be counted twice, but {second[CONTENT_ID]!r} has rows of "
            f"{first[SINCE]} to {first[DAY]} and of {second[SINCE]} to {second[DAY]}: export "
            "periods that do not overlap, a row per day at best."
        )


def check_people(facts: pd.DataFrame, profile: Profile, counted: Sequence[str]) -> None:
    """Raise DatasetError where people would be added up over days, on which some come again."""
    people = [name for name in counted if profile.fields[name].holds == "people"]
    periods = facts[_PERIOD].drop_duplicates().groupby(CONTENT_ID).size()
    if people and (periods > 1).any():
        raise DatasetError(
            f"{people[0]} counts each person once per row, so rows of several days cannot be added "
            f"up, but {periods.idxmax()!r} has {periods.max()}: export one row for the whole "
            "period."
        )


def contents_of(facts: pd.DataFrame, aside: SetAside, names: Collection[str] = ()) -> pd.DataFrame:
    """Add up rows to contents.

    Args:
        facts: As `read_rows` returns them, each counted once.
        aside: Is told of contents that no model can learn from.
        names: Fields that nobody saw, such as an ad's name: what they became last is taken.

    Returns:
        A row per content, in the order of the facts: its id, A/B test, counts and fields, and its
        first day where days are known.

    Raises:
        DatasetError: A content is in two A/B tests, or none is left.
    """
    tests = facts.groupby(CONTENT_ID, sort=False)[AB_TEST].nunique()
    if (tests > 1).any():
        content = tests.index[int(np.argmax(tests > 1))]
        names = sorted(facts.loc[facts[CONTENT_ID] == content, AB_TEST].unique())[:2]
        raise DatasetError(
            f"A content is in one A/B test, but {content!r} is in {names[0]!r} and {names[1]!r}: "
            "name the fields that tell them apart, such as --content-id campaign,ad."
        )
    inputs = [
        str(name) for name in facts if name not in (*_PERIOD, AB_TEST, *_COUNTS, SOURCE, LINE)
    ]
    facts = _without_changed(facts, [name for name in inputs if name not in names], aside)
    groups = facts.groupby(CONTENT_ID, sort=False)
    contents = groups[[AB_TEST, *inputs]].last().join(groups[_COUNTS].sum())
    if facts[SINCE].notna().any():
        contents[DAY] = groups[SINCE].min()
    contents = contents.reset_index()
    for broken, reason in (
        ((contents[_COUNTS] < 0).any(axis=1), "its corrections exceed its counts"),
        (contents[CLICKS] > contents[IMPRESSIONS], "it has more successes than impressions"),
    ):
        ids = contents.loc[broken, CONTENT_ID]
        aside.add(facts[facts[CONTENT_ID].isin(ids)], reason)
        facts = facts[~facts[CONTENT_ID].isin(ids)]
        contents = contents[~contents[CONTENT_ID].isin(ids)]
    if contents.empty:
        raise DatasetError(f"No content is left: {aside.by_reason}.")
    return contents.reset_index(drop=True)


def notes_on_tests(contents: pd.DataFrame, inputs: Sequence[str]) -> list[str]:
    """What a user should know of A/B tests that teach nothing about differences."""
    found = []
    arms = contents.groupby(AB_TEST)[CONTENT_ID].size()
    if (lonely := arms.index[arms < 2]).size:
        found.append(
            f"{len(lonely):,} A/B tests have one arm, such as {lonely[0]!r}: they are kept, and "
            "say nothing about differences"
        )
    there = [name for name in inputs if name in contents]
    if there:
        tested = contents[contents[AB_TEST].notna()]
        alike = tested[tested.duplicated([AB_TEST, *there], keep=False)]
        if len(alike):
            found.append(
                f"{alike[AB_TEST].nunique():,} A/B tests have arms with equal content, such as "
                f"{alike[AB_TEST].iloc[0]!r}: add what differs with --creatives"
            )
    return found


def _without_changed(facts: pd.DataFrame, inputs: Sequence[str], aside: SetAside) -> pd.DataFrame:
    """Leave out contents whose text or picture was changed while they were shown."""
    for name in inputs:
        kinds = facts.groupby(CONTENT_ID)[name].nunique(dropna=False)
        changed = facts[CONTENT_ID].isin(kinds.index[kinds > 1])
        aside.add(facts[changed], f"its {name} changed while it was shown")
        facts = facts[~changed]
    if facts.empty:
        raise DatasetError(f"No content is left: {aside.by_reason}.")
    return facts


def _comparable(table: pd.DataFrame) -> pd.DataFrame:
    """Nulls as a text, as null is unequal to null in an index."""
    return table.astype(object).where(table.notna(), "")


def _same(column: pd.Series, value: str | None) -> pd.Series:
    return column.isna() if pd.isna(value) else column == value


def _on(day: str | None) -> str:
    return "" if pd.isna(day) else f" on {day}"

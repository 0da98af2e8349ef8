"""Rows of one content and days in one file: parts that add up, or the same counted again."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ni_platform.data.importers.exports.raw_rows import CELLS, LINE, SOURCE, WORDS
from ni_platform.data.importers.exports.set_aside import TOTALS, SetAside
from ni_platform.data.reading.csv_file import Say
from ni_platform.errors import DatasetError


def counted_once(
    facts: pd.DataFrame,
    key: Sequence[str],
    counts: Sequence[str],
    audience: Sequence[str],
    people: str | None,
    aside: SetAside,
    say: Say,
) -> pd.DataFrame:
    """Return the facts without rows that are sums of others.

    Args:
        facts: Rows with the columns `key`, `counts`, `audience` and what rows are compared by.
        key: Names a content and its days.
        counts: Impressions and successes.
        audience: Fields by which an export splits rows of one content.
        people: Field that counts people, who cannot be added up unless the audience tells them
            apart; None if there is none, or the user has said what a content is.
        aside: Is told of rows of sums.
        say: Told of rows that only numbers tell apart.

    Raises:
        DatasetError: A row stands twice, counts people again, or may be a sum or a part.
    """
    group = [SOURCE, *key]
    facts = _without_sums(facts, group, counts[0], audience, aside)
    shown = facts[(facts[list(counts)] != 0).any(axis=1)]
    for columns, message in (
        (
            [CELLS],
            "equal in all columns, so it would be counted twice: remove one of them, or export a "
            "column that tells them apart, such as an id",
        ),
        (
            audience,
            f"{people} counts people, of whom some may be in both, so that they cannot be added "
            "up: remove one of them, or name the fields that tell them apart (--content-id, "
            "--ab-test)",
        ),
    ):
        if columns is audience and people is None:
            continue
        again = shown[shown.duplicated([*group, *columns], keep=False)]
        if len(again):
            first, second = _pair(again, [*group, *columns])
            raise DatasetError(
                f"{first[SOURCE]} lines {first[LINE]} and {second[LINE]} are both of "
                f"{first[key[0]]!r}: {message}."
            )
    alike = shown[shown.duplicated([*group, WORDS], keep=False)]
    if len(alike):
        first, second = _pair(alike, [*group, WORDS])
        say(
            f"{alike[key[0]].nunique():,} contents have several rows of the same days that only "
            f"numbers tell apart, such as {first[key[0]]!r} in {first[SOURCE]} lines "
            f"{first[LINE]} and {second[LINE]}: they are added up, which is wrong if they are an "
            "older and a newer export, or two contents of one name"
        )
    return facts


def _pair(rows: pd.DataFrame, group: Sequence[str]) -> list[dict[str, object]]:
    """The first two rows of one group."""
    _, first = next(iter(rows.groupby(list(group), dropna=False, sort=False)))
    return [{str(name): row[name] for name in row} for row in first.head(2).to_dict("records")]


def _without_sums(
    facts: pd.DataFrame,
    group: Sequence[str],
    impressions: str,
    audience: Sequence[str],
    aside: SetAside,
) -> pd.DataFrame:
    """Leave out rows without an age, say, that are the sum of rows with one."""
    if not audience:
        return facts
    blank = facts[list(audience)].isna()
    by_group = facts[list(group)].fillna("").apply(tuple, axis=1)
    # A field that all rows of a content lack is no breakdown of it.
    split = ~blank.groupby(by_group).transform("all")
    is_part = ~(blank & split).any(axis=1)
    if is_part.all():
        return facts
    parts: dict[object, pd.DataFrame] = {}
    for name, rows in facts[is_part].groupby(by_group[is_part]):
        parts[name] = rows
    sums: list[object] = []
    for place in facts.index[~is_part]:
        row = facts.loc[place]
        found = parts.get(by_group[place], facts.iloc[:0])
        for name in audience:
            found = found if pd.isna(row[name]) else found[found[name] == row[name]]
        whole = found[impressions].sum()
        if len(found) and whole == row[impressions]:
            sums.append(place)
        elif len(found):
            lacking = [name for name in audience if pd.isna(row[name])]
            raise DatasetError(
                f"{row[SOURCE]} line {row[LINE]} is of {row[group[1]]!r} without "
                f"{' and '.join(lacking)}, beside rows with it: its impressions are "
                f"{row[impressions]:,}, and theirs together {whole:,}. Remove the line if it is a "
                "total, or write 'unknown' in it if it is a group of its own."
            )
    aside.add(facts.loc[sums], TOTALS)
    return facts.drop(index=sums).reset_index(drop=True)

"""Rows of an export as facts: each names a content, its A/B test, its days and its counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ni_platform.data.importers.exports.files import ExportFile
from ni_platform.data.importers.exports.profile import FILE, Profile
from ni_platform.data.importers.exports.raw_rows import CELLS, LINE, SOURCE, WORDS, read_raw
from ni_platform.data.importers.exports.recognition import Match
from ni_platform.data.importers.exports.set_aside import TOTALS, SetAside
from ni_platform.data.importers.exports.told_apart import counted_once
from ni_platform.data.importers.ids import joined_ids
from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.data.reading.days import DayError, DayOrder, days_of
from ni_platform.errors import ConfigError, DatasetError

CONTENT_ID, AB_TEST, SINCE, DAY = "content_id", "ab_test", "since", "day"
IMPRESSIONS, CLICKS = "impressions", "clicks"


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user says of an export, where it leaves a choice."""

    success: str | None = None
    """What counts as a success, of the profile's."""
    metric: str | None = None
    """Which metric is counted, where rows are of several."""
    by: tuple[str, ...] = ()
    """Audience fields by which contents are told apart."""
    content_id: tuple[str, ...] = ()
    """Fields or columns that name a content, in place of the profile's."""
    ab_test: tuple[str, ...] = ()
    """Fields or columns that name the A/B test, in place of the profile's."""
    creative_field: str | None = None
    """Field that names the creative in another file, in place of the profile's."""
    dates: DayOrder | None = None


def read_rows(
    files: Sequence[tuple[ExportFile, Match]],
    wishes: Wishes,
    form: CsvFormat,
    say: Say,
    aside: SetAside,
) -> tuple[pd.DataFrame, str]:
    """Read files of one profile as one table of facts.

    Returns:
        The facts, and the field that counts successes. A row per row of the files that is about a
        content: `content_id`, `ab_test`, `since` and `day` (ISO, None where rows have no days),
        `impressions` and `clicks` (int64), the fields that the profile gives models, and where the
        row stands.

    Raises:
        DatasetError: A cell is not what its field holds; names file, line, value and remedy.
        ConfigError: What is a success, or which metric is meant, must be said.
    """
    profile = files[0][1].profile
    success = _success(profile, files, wishes)
    unread = {*profile.success.values()} - {success}
    metric = profile.metric or profile.fields[success].of
    raw = _countable(read_raw(files, unread, form, say), profile, aside)
    raw = _of_metric(raw, metric, wishes, aside)
    content = _choices(wishes.content_id, profile.content, files, raw)
    ab_test = _choices(wishes.ab_test, profile.ab_test, files, raw)
    raw = _without_totals(raw, profile, content, aside, say)
    facts = _facts(raw, profile, content, ab_test, success, wishes)
    counted = {IMPRESSIONS: profile.impressions, CLICKS: success}
    facts = _complete(facts, profile, counted, bool(ab_test), aside)
    audience = [name for name in profile.audience if name in facts]
    people = [name for name in counted.values() if profile.fields[name].holds == "people"]
    facts = counted_once(
        facts, [CONTENT_ID, SINCE, DAY], [IMPRESSIONS, CLICKS], audience,
        people[0] if people and not wishes.content_id else None, aside, say,
    )  # fmt: skip
    unasked = [name for name in audience if name not in wishes.by]
    return facts.drop(columns=[*unasked, CELLS, WORDS]), success


def _countable(raw: pd.DataFrame, profile: Profile, aside: SetAside) -> pd.DataFrame:
    """Rows whose counts are what the profile says they are."""
    for name, values in profile.only.items():
        if name in raw:
            other = raw[name].notna() & ~raw[name].isin(values)
            aside.add(raw[other], f"its {name} is not {values[0]}")
            raw = raw[~other].reset_index(drop=True)
    return raw


def _of_metric(
    raw: pd.DataFrame, field: str | None, wishes: Wishes, aside: SetAside
) -> pd.DataFrame:
    """Rows of the metric that is counted, which a field names."""
    if field is None or field not in raw:
        return raw
    metrics = sorted(raw[field].dropna().unique())
    chosen = wishes.metric or (metrics[0] if len(metrics) == 1 else None)
    if metrics and chosen not in metrics:
        said = f", and has none called {wishes.metric!r}" if wishes.metric else ""
        raise ConfigError(
            f"The export holds rows of {len(metrics)} metrics{said}: say which one is the success "
            f"with --metric, of {', '.join(map(repr, metrics))}."
        )
    others = raw[field].notna() & (raw[field] != chosen)
    aside.add(raw[others], "it is of another metric")
    return raw[~others].reset_index(drop=True)


def _success(profile: Profile, files: Sequence[tuple[ExportFile, Match]], wishes: Wishes) -> str:
    """The field that counts successes, which all files must have."""
    there = {
        word: name
        for word, name in profile.success.items()
        if all(name in match.columns for _, match in files)
    }
    if wishes.success is None and len(there) == 1:
        return next(iter(there.values()))
    if wishes.success not in there:
        raise ConfigError(
            f"{profile.title}: say what counts as a success with --success, of "
            f"{', '.join(there)}" + (f", not {wishes.success}." if wishes.success else ".")
        )
    return there[wishes.success]


def _choices(
    wanted: Sequence[str],
    choices: Sequence[Sequence[str]],
    files: Sequence[tuple[ExportFile, Match]],
    raw: pd.DataFrame,
) -> list[Sequence[str]]:
    """Sets of fields that may name something: the user's, else those of the profile."""
    fields = files[0][1].profile.fields
    if wanted:
        named = {alias: key for key, item in fields.items() for alias in item.names}
        known = [name if name in raw else named.get(name, name) for name in wanted]
        if absent := [name for name in known if name not in raw]:
            has = [name for name in (*fields, FILE) if name in raw]
            raise ConfigError(f"The export has no field {absent[0]!r}; it has {', '.join(has)}.")
        return [known]
    first = {match.chosen(choices): file.name for file, match in files}
    if len(first) > 1:
        ways = "; ".join(f"{name} by {' and '.join(names)}" for names, name in first.items())
        raise DatasetError(
            f"Files of one import must name contents and tests alike, but do not: {ways}. Export "
            "them with the same columns."
        )
    return [names for names in choices if set(names) <= {*raw.columns}]


def _without_totals(
    raw: pd.DataFrame, profile: Profile, content: Sequence[Sequence[str]], aside: SetAside, say: Say
) -> pd.DataFrame:
    """Rows that no field of a content calls a total."""
    named = raw[list({name for names in content for name in names} - {FILE})]
    is_total = np.zeros(len(raw), dtype=bool)
    pattern = re.compile("|".join(profile.totals) or r"(?!)", re.IGNORECASE)
    for name in named:
        cells = named[name].fillna("").astype(str)
        is_total |= cells.str.match(pattern).to_numpy(dtype=bool)
    aside.add(raw[is_total], TOTALS)
    _compare_totals(raw, is_total, profile.impressions, say)
    return raw[~is_total].reset_index(drop=True)


def _compare_totals(raw: pd.DataFrame, is_total: np.ndarray, name: str, say: Say) -> None:
    """Say where a file's one row of totals is not the sum of its rows, as of a file cut short."""
    for file, rows in raw[name].groupby(raw[SOURCE]):
        own = is_total[rows.index]
        total, whole = rows[own].sum(), rows[~own].sum()
        if own.sum() == 1 and total not in (0, whole):
            say(
                f"{file}: the row of totals says {total:,.0f} {name}, but the rows add up to "
                f"{whole:,.0f}: was the export cut short, or filtered?"
            )


def _facts(
    raw: pd.DataFrame,
    profile: Profile,
    content: Sequence[Sequence[str]],
    ab_test: Sequence[Sequence[str]],
    success: str,
    wishes: Wishes,
) -> pd.DataFrame:
    for name in wishes.by:
        if name not in profile.audience or name not in raw:
            there = [known for known in profile.audience if known in raw]
            raise ConfigError(f"--by takes fields of the audience, {there}, but got {name!r}.")
    if wishes.creative_field is not None and wishes.creative_field not in raw:
        there = [known for known in profile.fields if known in raw]
        raise ConfigError(
            f"--creative-field takes a field of the export, {there}, but got "
            f"{wishes.creative_field!r}."
        )
    given = (
        *profile.text, *profile.categorical, profile.domain, profile.image, profile.creative,
        profile.share, *profile.audience, wishes.creative_field,
    )  # fmt: skip
    kept = list(dict.fromkeys(name for name in given if name is not None and name in raw))
    day = _days(raw, profile.day, wishes.dates)
    since = _days(raw, profile.since, wishes.dates)
    facts = pd.DataFrame(
        {
            CONTENT_ID: _ids(raw, [[*names, *wishes.by] for names in content]),
            AB_TEST: _ids(raw, ab_test),
            SINCE: day if since is None else since,
            DAY: day,
            IMPRESSIONS: raw[profile.impressions],
            CLICKS: raw[success],
        }
    )
    return pd.concat([facts, raw[[*kept, SOURCE, LINE, CELLS, WORDS]]], axis=1)


def _ids(raw: pd.DataFrame, choices: Sequence[Sequence[str]]) -> pd.Series:
    """One id per row, of the first set of fields that it has all of; null where it has none."""
    ids = pd.Series([None] * len(raw), dtype=object, index=raw.index)
    for names in choices:
        joined = joined_ids(raw, names)
        ids = ids.where(ids.notna(), joined)
    return ids


def _days(raw: pd.DataFrame, name: str | None, order: DayOrder | None) -> pd.Series | None:
    if name is None or name not in raw:
        return None
    try:
        days = days_of(raw[name].astype(object).where(raw[name].notna(), None).tolist(), order)
    except DayError as error:
        row = raw.iloc[error.position]
        raise DatasetError(
            f"{row[SOURCE]} line {row[LINE]}: {name} holds {row[name]!r}, which {error}."
        ) from error
    iso = [None if day is None else day.isoformat() for day in days]
    return pd.Series(iso, dtype=object)


def _complete(
    facts: pd.DataFrame,
    profile: Profile,
    counted: Mapping[str, str],
    tested: bool,
    aside: SetAside,
) -> pd.DataFrame:
    """Rows that name all they must, with whole counts; the others are listed."""
    named = facts[CONTENT_ID].notna()
    is_total = ~named & (facts[IMPRESSIONS] == facts.loc[named, IMPRESSIONS].sum())
    rules = [
        (is_total, TOTALS),
        (~named, "no content is named"),
        *((facts[name].isna(), f"{counts} is empty") for name, counts in counted.items()),
    ]
    if facts[DAY].notna().any():
        rules.append((facts[DAY].isna() | facts[SINCE].isna(), "it has no day"))
        backwards = facts[SINCE].fillna("").astype(str) > facts[DAY].fillna("~").astype(str)
        rules.append((backwards, "its first day is after its last"))
    if tested:
        rules.append((facts[AB_TEST].isna(), "no A/B test is named"))
    for broken, reason in rules:
        chosen = broken.reindex(facts.index)
        aside.add(facts[chosen], reason)
        facts = facts[~chosen]
    if facts.empty:
        raise DatasetError(
            f"{profile.title}: no row is about a content ({aside.by_reason}): check the export."
        )
    for name, counts in counted.items():
        numbers = facts[name].to_numpy(dtype=np.float64)
        for row in facts[numbers != np.floor(numbers)].head(1).to_dict("records"):
            raise DatasetError(
                f"{row[SOURCE]} line {row[LINE]}: {counts} must be a count, but the row has "
                f"{row[name]:g}: choose what counts people or events, no rate or amount."
            )
    whole = {name: facts[name].astype(np.int64) for name in counted}
    return facts.assign(**whole).reset_index(drop=True)

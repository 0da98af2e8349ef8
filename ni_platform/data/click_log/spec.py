"""What the columns of a click log mean, and which events and combinations to keep: `log.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict

from ni_platform.data import storage
from ni_platform.data.assignment import KINDS, Assignment, one_of
from ni_platform.data.click_log.spec_file import texts_and_numbers
from ni_platform.data.click_log.times import TimeUnit
from ni_platform.data.importers.creatives import Creatives
from ni_platform.data.reading.csv_file import CsvFormat
from ni_platform.data.reading.labels import CellError, label
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.overrides import from_dict

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class DropRule:
    """Events to leave out, such as those of robots: all conditions that are given must hold."""

    __pydantic_config__ = _STRICT

    column: str
    equals: str | None = None
    one_of: tuple[str, ...] = ()
    matches: str | None = None
    """A regular expression (RE2), found anywhere in the value."""
    below: float | None = None
    above: float | None = None

    def __post_init__(self) -> None:
        if self.conditions == "":
            raise ConfigError(
                f"The drop rule on {self.column!r} needs a condition: equals, one_of, matches, "
                "below or above."
            )
        try:
            pc.match_substring_regex(pa.array([""]), self.matches or "")
        except pa.ArrowInvalid as error:
            raise ConfigError(
                f"matches must be a regular expression, but {self.matches!r} in the drop rule on "
                f"{self.column!r} is none ({error}): correct it."
            ) from error

        _ = self.levels

    @property
    def levels(self) -> frozenset[str] | None:
        """Labels that `equals` and `one_of` leave, None if there is neither."""
        where = f"the drop rule on {self.column!r}"
        listed = [frozenset(_labels(self.one_of, where))] if self.one_of else []
        equal = [frozenset(_labels([self.equals], where))] if self.equals is not None else []
        return frozenset.intersection(*listed, *equal) if listed or equal else None

    @property
    def conditions(self) -> str:
        """The conditions in words."""
        said = {
            "=": self.equals,
            "one of": list(self.one_of) or None,
            "matches": self.matches,
            "<": self.below,
            ">": self.above,
        }
        return " and ".join(f"{word} {value}" for word, value in said.items() if value is not None)

    @property
    def name(self) -> str:
        """Column and conditions, for the report."""
        return f"{self.column} {self.conditions}"


@dataclass(frozen=True, kw_only=True)
class LogSpec:
    """How a log becomes a dataset. A row is one exposure of one content, or counts of several."""

    __pydantic_config__ = _STRICT

    name: str
    content: str
    """Column that names the creative."""
    clicked: str | None = None
    """Column that holds 0 or 1 (or false or true), where a row is one exposure."""
    impressions: str | None = None
    """Column that holds a number of exposures, where rows are counts, such as per day."""
    clicks: str | None = None
    """Column that holds how many of them succeeded."""
    time: str | None = None
    """Column with timestamps, ISO 8601 or numbers since 1970; the source of `time_parts`.

    A time without a zone is in UTC.
    """
    time_unit: TimeUnit | None = None
    """Unit of the numbers since 1970; seconds if it is not given."""
    time_parts: tuple[Literal["weekday", "hour"], ...] = ()
    """Attributes made from the time, in UTC."""
    domain: str | None = None
    ab_test: str | None = None
    assignment: Assignment | None = None
    """How the arms of its A/B tests were assigned; needed where there are any."""
    assignment_reason: str | None = None
    """Why that is known, in a sentence."""
    shares: Literal["unknown"] | None = None
    """"unknown" where arms were not planned to be equal. So it is, too, where a creative has
    several combinations in an A/B test: rows are not arms then."""
    categorical: tuple[str, ...] = ()
    """Attributes of audience and context."""
    ordered: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Categorical attributes whose levels have an order, with their levels from first to last."""
    drop: tuple[DropRule, ...] = ()
    min_impressions: int = 100
    """Combinations with fewer are left out; M2FN has datasets of 100 and of 500."""
    min_level_impressions: int = 50_000
    """Levels of an attribute with fewer are merged with the closest level."""
    max_rejected: float = 0.01
    """Largest share of rows that cannot be read; above it nothing is written."""
    creatives: Creatives | None = None
    """Their paths are relative to the folder of the spec; `key` holds what `content` holds."""
    csv: CsvFormat = field(default_factory=CsvFormat)
    """How the log is written, where it is CSV that does not tell."""

    def __post_init__(self) -> None:
        if (self.ab_test is None) != (self.assignment is None):
            raise ConfigError(
                "ab_test and assignment go together, but got "
                f"ab_test={self.ab_test!r} and assignment={self.assignment!r}: say with "
                f"assignment ({one_of(KINDS)}) how the arms of the A/B tests were assigned, or "
                "remove it where there are none."
            )
        if self.time_unit and self.time is None:
            raise ConfigError("time_unit is that of the time: name its column with time.")
        for attribute in self.ordered:
            self.order(attribute)
        if self.time_parts and self.time is None:
            raise ConfigError("time_parts are made from the time: name its column with time.")
        self._check_outcomes()
        names = [*self.keys, *self.outcomes, *(self.creatives.columns if self.creatives else ())]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigError(
                f"A column has one role, but {', '.join(repeated)} has several: declare it once, "
                "and name columns of the creatives otherwise than those of the log."
            )
        taken = sorted({"impressions", "clicked", "clicks"} & ({*names} - {*self.outcomes}))
        if taken:
            raise ConfigError(
                f"impressions, clicked and clicks name what is counted, but {taken[0]!r} is "
                "declared as something else: rename that column."
            )
        for name in ("min_impressions", "min_level_impressions"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be 0 or more, but is {getattr(self, name)}.")
        if not 0 <= self.max_rejected <= 1:
            raise ConfigError(f"max_rejected must be in [0, 1], but is {self.max_rejected}.")

    def _check_outcomes(self) -> None:
        given = {name: getattr(self, name) for name in ("clicked", "impressions", "clicks")}
        there = [name for name, column in given.items() if column is not None]
        if there not in (["clicked"], ["impressions", "clicks"]):
            raise ConfigError(
                "A row is one exposure (clicked) or counts of several (impressions and clicks), "
                f"but the spec names {' and '.join(there) or 'none of them'}: keep one of the two."
            )

    @property
    def attributes(self) -> tuple[str, ...]:
        """Categorical attributes of the dataset, those made from the time included."""
        return (*self.categorical, *self.ordered, *self.time_parts)

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Columns that are counted."""
        named = (self.clicked, self.impressions, self.clicks)
        return tuple(name for name in named if name is not None)

    @property
    def keys(self) -> tuple[str, ...]:
        """What makes a combination: events that agree in all of these are counted together."""
        optional = tuple(name for name in (self.domain, self.ab_test) if name is not None)
        return (self.content, *optional, *self.attributes)

    def order(self, attribute: str) -> list[str] | None:
        """Labels of an ordered attribute from first to last, None for one without an order."""
        if attribute not in self.ordered:
            return None
        levels = _labels(self.ordered[attribute], f"ordered.{attribute}")
        repeated = [level for level in levels if levels.count(level) > 1]
        if repeated:
            raise ConfigError(
                f"ordered.{attribute} must list each level once, but {repeated[0]!r} comes twice "
                "(1.0 is 1, True is true)."
            )
        return levels

    @property
    def content_id(self) -> str:
        """Column of the dataset that names a combination."""
        return "combination_id" if "content_id" in self.keys else "content_id"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read from the log."""
        read = [name for name in self.keys if name not in self.time_parts]
        read += [
            *self.outcomes,
            *([self.time] if self.time else []),
            *(r.column for r in self.drop),
        ]
        return tuple(dict.fromkeys(read))

    @classmethod
    def load(cls, path: str | Path) -> LogSpec:
        """Read a YAML file. Raises DatasetError or ConfigError that names file and key."""
        values = texts_and_numbers(storage.read_bytes(path), str(path))
        if not isinstance(values, dict):
            raise DatasetError(f"{path} must be a mapping such as `content: ad_id`.")
        try:
            return from_dict(cls, values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error


def _labels(levels: Iterable[str], where: str) -> list[str]:
    """The labels of levels that a spec names, which the log's own are compared with."""
    found = []
    for level in levels:
        try:
            name = label(level)
        except CellError as error:
            raise ConfigError(f"{where} has {level!r}, {error}.") from error
        if name is None:
            raise ConfigError(f"{where} has a blank level, which is null in a log: leave it out.")
        found.append(name)
    return found

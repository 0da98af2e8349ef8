"""What an export means: a YAML file per kind of export, shipped or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict

from ni_platform.data.assignment import Assignment, Shares
from ni_platform.data.importers.exports.json_records import JsonRecords
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.overrides import from_dict

SHIPPED = Path(__file__).parents[1] / "profiles"
"""Folder of the profiles that come with the package."""
USERS = "profiles"
"""Folder of a user's own profiles, in the current folder."""
FILE = "file"
"""A field that every export has: the name of the file without its ending."""

RESERVED = frozenset({"content_id", "ab_test", "since", "day", "impressions", "clicks"})
"""Columns of every imported dataset, which no input may be called."""

_STRICT = ConfigDict(extra="forbid")

Holds = Literal["label", "text", "count", "people", "number", "day"]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One fact of a row, and how the header names it."""

    __pydantic_config__ = _STRICT

    names: tuple[str, ...] = ()
    """Of the column, in any language; `*` stands for anything. Of JSON: the path, see `records`."""
    holds: Holds = "label"
    """`count`: may be added up over rows. `people`: each person once per row, so that days cannot
    be added up."""
    optional: bool = False
    blank_is_zero: bool = False
    """Whether an empty cell of a count means none."""
    of: str | None = None
    """Field that says what a row's count is of; counts of different things are not one success."""


@dataclass(frozen=True, kw_only=True)
class Sections:
    """A report in sections, each a list of `label:,value`; those of the arms are the rows."""

    __pydantic_config__ = _STRICT

    arm: str
    """Regular expression of the title of an arm's section; its first group names the arm."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How files of one export are recognised, read and turned into contents."""

    __pydantic_config__ = _STRICT

    name: str
    title: str
    """Of the export, as its users know it."""
    row: str
    """What a row is, in words."""
    fields: dict[str, Field]
    content: tuple[tuple[str, ...], ...] = ()
    """Fields that together name a content: the first of these sets that a row has."""
    ab_test: tuple[tuple[str, ...], ...] = ()
    """Fields that together name the A/B test, as `content`."""
    impressions: str = "impressions"
    success: dict[str, str] = field(default_factory=dict)
    """What may count as a success: its name, and its field."""
    metric: str | None = None
    """Field that says what a row counts: rows of one value are taken, the others are not read."""
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Field, and what it may hold: rows that hold something else cannot be counted."""
    domain: str | None = None
    text: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    image: str | None = None
    """Field with the URL or path of the picture."""
    creative: str | None = None
    """Field that names the creative in another file."""
    audience: tuple[str, ...] = ()
    """Fields that tell rows of one content apart, such as its audience: contents are made of all
    of them together, or of each, where asked."""
    since: str | None = None
    """Field with the first day of a row, if it covers several."""
    day: str | None = None
    """Field with the (last) day of a row."""
    totals: tuple[str, ...] = ()
    """Regular expressions: a row is no content where a field of `content` begins with one. `$` ends
    those that are whole words, for an ad may be called "Total Look"."""
    nothing: tuple[str, ...] = ()
    """Texts of cells that hold nothing, beyond the usual ones."""
    assignment: Assignment | None = None
    """How arms of its A/B tests were assigned; None where only the user knows."""
    reason: str
    """Why."""
    shares: Shares = "equal"
    share: str | None = None
    """Field with an arm's intended share."""
    note: str | None = None
    """What one should know of this export."""
    refused: str | None = None
    """Why no dataset can be made of this export, and what to export in its place."""
    sections: Sections | None = None
    json: JsonRecords | None = None

    def __post_init__(self) -> None:
        if self.refused is not None:
            return
        known = {*self.fields, FILE}
        used: dict[str, Any] = {
            "content": [name for names in self.content for name in names],
            "ab_test": [name for names in self.ab_test for name in names],
            "success": list(self.success.values()),
            "text": self.text,
            "categorical": self.categorical,
            "audience": self.audience,
            "only": list(self.only),
        }
        single = ("impressions", "metric", "domain", "image", "creative", "since", "day", "share")
        used |= {name: [getattr(self, name)] for name in single if getattr(self, name)}
        for key, names in used.items():
            if unknown := [name for name in names if name not in known]:
                raise ConfigError(
                    f"{key} names the field {unknown[0]!r}, which fields does not list: add it."
                )
        given = {*self.text, *self.categorical, *self.audience, self.domain, self.image}
        if taken := given & RESERVED:
            raise ConfigError(f"{sorted(map(str, taken))} name what is counted: rename the field.")
        if not self.content or not all(self.content) or not self.success:
            raise ConfigError("A profile says what names a content, and what is a success.")

    @property
    def required(self) -> list[str]:
        """Fields that a file must have; of several sets one will do, so those are not in it."""
        single = (self.impressions, self.metric, self.day, self.since)
        needed = {name for name in single if name is not None}
        for choices in (self.content, self.ab_test, [(name,) for name in self.success.values()]):
            if len(choices) == 1:
                needed |= set(choices[0])
        return [name for name in self.fields if name in needed and not self.fields[name].optional]


def profiles() -> dict[str, Profile]:
    """Return all profiles by name: the shipped ones, and those of the current folder.

    Raises:
        ConfigError: A file is no profile, or is not called as its profile is.
    """
    found: dict[str, Profile] = {}
    for folder in (SHIPPED, Path(USERS)):
        for path in sorted(folder.glob("*.yaml")):
            profile = load_profile(path)
            if profile.name != path.stem or profile.name in found:
                raise ConfigError(
                    f"{path}: a profile has a name of its own, that of its file, but this one is "
                    f"{profile.name!r}: rename it."
                )
            found[profile.name] = profile
    return found


def profile_file(name: str) -> Path:
    """Return the file of a profile. Raises ConfigError where there is none of this name."""
    for folder in (Path(USERS), SHIPPED):
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    raise ConfigError(f"There is no profile {name!r}; there are {', '.join(profiles())}.")


def load_profile(path: Path) -> Profile:
    """Read a profile. Raises ConfigError that names file and key."""
    try:
        values = yaml.safe_load(path.read_bytes())
        if not isinstance(values, Mapping):
            raise ConfigError("a profile is a mapping with the keys " + ", ".join(_KEYS))
        return from_dict(Profile, values)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except (ConfigError, DatasetError) as error:
        raise ConfigError(f"{path}: {error}") from error


_KEYS = [item.name for item in fields(Profile)]

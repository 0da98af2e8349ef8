"""The manifest of a dataset folder, `dataset.yaml`: which column means what."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ni_platform.data import storage
from ni_platform.data.assignment import Assignment, Shares, check_words
from ni_platform.data.reading.table import Role
from ni_platform.errors import DatasetError

FILE_NAME = "dataset.yaml"
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The role of each column of the contents table. Undeclared columns are kept, never read."""

    __pydantic_config__ = _STRICT

    content_id: str
    """Unique per row."""
    ab_test: str | None = None
    """The A/B test a content was shown in; null where it was not in one."""
    arm: str | None = None
    """"control" or "treatment"."""
    assignment: str | None = None
    """How the arms of a content's A/B test were assigned, a word of `KINDS`; equal in a test."""
    share: str | None = None
    """Weight that was planned for each arm within its A/B test, in any unit; null if unknown."""
    day: str | None = None
    """First day on which a content was shown, such as 2026-05-31; null where it is not known."""
    domain: str | None = None
    """Where the content is shown."""
    image: str | None = None
    """Path of the picture, relative to `Manifest.images`; null where there is none."""
    text: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    vector: tuple[str, ...] = ()
    """Lists of numbers, all of one length in a column, such as text embeddings."""
    split: str | None = None
    """The owner's own split: train, validation or test in every row."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that a model may read."""
        single = tuple(name for name in (self.domain, self.image) if name is not None)
        return (*self.text, *self.categorical, *self.numeric, *self.vector, *single)

    def only(self, inputs: Collection[str]) -> "Columns":
        """The same without other input columns than these."""
        several: dict[str, Any] = {
            role: tuple(name for name in getattr(self, role) if name in inputs)
            for role in ("text", "categorical", "numeric", "vector")
        }
        domain = self.domain if self.domain in inputs else None
        image = self.image if self.image in inputs else None
        return dataclasses.replace(self, domain=domain, image=image, **several)

    @property
    def declared(self) -> dict[str, str]:
        """Every declared column, by the manifest key that declares it."""
        found: dict[str, str] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                found[f"columns.{field.name}"] = value
            elif value:
                found |= {f"columns.{field.name}[{i}]": name for i, name in enumerate(value)}
        return found


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is predicted: clicks of impressions, or counts of ratings per bucket, lowest first."""

    __pydantic_config__ = _STRICT

    impressions: str | None = None
    clicks: str | None = None
    ratings: tuple[str, ...] | None = None

    @property
    def declared(self) -> dict[str, str]:
        """Every outcome column, by the manifest key that declares it."""
        if self.ratings is not None:
            return {f"target.ratings[{i}]": name for i, name in enumerate(self.ratings)}
        return {"target.impressions": str(self.impressions), "target.clicks": str(self.clicks)}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A typed `dataset.yaml`. An invalid one raises `DatasetError` naming key and remedy."""

    __pydantic_config__ = _STRICT

    name: str
    contents: str = "contents.parquet"
    """Parquet table, relative to the dataset folder."""
    images: str | None = None
    """Folder (relative to the dataset folder, or absolute) or `s3://` prefix of the pictures."""
    columns: Columns
    target: Target
    derived: tuple[str, ...] = ()
    """Inputs that were computed from the picture and texts of their row (`ni data attributes`).

    They do not tell contents apart: keys and splits of contents stay what they were without them.
    """
    description: str | None = None
    assignment: Assignment | None = None
    """How the arms of all A/B tests were assigned, unless `columns.assignment` says it per test."""
    assignment_reason: str | None = None
    """Why that is known, in a sentence."""
    shares: Shares | None = None
    """"unknown" where arms got no planned share, or a changing one: their impressions cannot be
    checked then. Equal if not given, unless `columns.share` says what was planned."""

    def __post_init__(self) -> None:
        _check_names(self)
        _check_target(self.target)
        _check_roles(self)
        _check_derived(self)
        check_words(
            ab_test=self.columns.ab_test,
            assignment=self.assignment,
            column=self.columns.assignment,
            shares=self.shares,
            share=self.columns.share,
        )

    @property
    def roles(self) -> dict[str, Role]:
        """What each declared column holds, for reading it."""
        columns = self.columns
        roles: dict[str, Role] = dict.fromkeys(columns.declared.values(), "label")
        roles |= dict.fromkeys(columns.text, "text")
        roles |= dict.fromkeys(columns.numeric, "number")
        roles |= dict.fromkeys(columns.vector, "vector")
        if columns.share is not None:
            roles[columns.share] = "number"
        if columns.image is not None:
            roles[columns.image] = "text"
        return roles | dict.fromkeys(self.target.declared.values(), "count")

    def given(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the input columns `names` that are not derived from others."""
        return tuple(name for name in names if name not in self.derived)

    @classmethod
    def from_dict(cls, values: Any, *, source: str = FILE_NAME) -> "Manifest":
        """Build from the mapping that `to_dict` gives; `source` stands in error messages."""
        if not isinstance(values, Mapping):
            raise DatasetError(
                f"{source} must be a mapping with the keys {_keys(cls)}, but it holds "
                f"{type(values).__name__}."
            )
        try:
            return TypeAdapter(cls).validate_python(dict(values))
        except ValidationError as error:
            problems = " ".join(_problem(item) for item in error.errors())
            raise DatasetError(f"{source}: {problems}") from error
        except DatasetError as error:
            raise DatasetError(f"{source}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> "Manifest":
        """Read a local or `s3://` manifest."""
        try:
            values = yaml.safe_load(storage.read_bytes(path))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise DatasetError(f"{path} is not valid YAML: {reason}") from error
        return cls.from_dict(values, source=str(path))

    def save(self, path: str | Path) -> None:
        """Write to a local or `s3://` path."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
        storage.write_bytes(path, text.encode())

    def to_dict(self) -> dict[str, Any]:
        """Plain mapping without the keys that are not set, ready for YAML or JSON."""
        return _without_unset(dataclasses.asdict(self))


def _check_names(manifest: Manifest) -> None:
    if not manifest.name.strip():
        raise DatasetError("name must not be empty: give the dataset a name.")
    if PurePosixPath(manifest.contents).is_absolute() or ".." in manifest.contents.split("/"):
        raise DatasetError(
            f"contents must lie inside the dataset folder, but got {manifest.contents!r}: "
            "move the table into the folder."
        )
    if (manifest.columns.image is None) != (manifest.images is None):
        raise DatasetError(
            f"images and columns.image go together, but got images={manifest.images!r} and "
            f"columns.image={manifest.columns.image!r}: declare both or neither."
        )


def _check_target(target: Target) -> None:
    counts = (target.impressions, target.clicks)
    if (target.ratings is None) == (counts == (None, None)) or (None in counts and any(counts)):
        raise DatasetError(
            "target must give either impressions and clicks or ratings, but got "
            f"impressions={target.impressions!r}, clicks={target.clicks!r}, "
            f"ratings={target.ratings!r}: keep one of the two forms."
        )
    if target.ratings is not None and len(target.ratings) < 2:
        raise DatasetError(
            f"target.ratings needs two or more buckets, but got {list(target.ratings)}: name one "
            "column of counts per bucket, lowest first."
        )


def _check_roles(manifest: Manifest) -> None:
    columns, outcomes = manifest.columns, manifest.target.declared
    inputs = {key: name for key, name in columns.declared.items() if name in columns.inputs}
    # A picture's path may serve as the id, as the model reads the picture and not its name.
    identifiers = {columns.ab_test, columns.arm, columns.split, columns.content_id}
    identifiers |= {columns.assignment, columns.share, columns.day}
    identifiers -= {None, columns.image}
    seen: dict[str, str] = {}
    for key, name in (columns.declared | outcomes).items():
        other = seen.setdefault(name, key)
        if {key, other} == {"columns.content_id", "columns.image"} or key == other:
            continue
        if key in outcomes and other in inputs:
            raise DatasetError(
                f"An outcome cannot be an input, but {other} and {key} both name {name!r}: "
                f"remove it from {other}."
            )
        if name in identifiers and (key in inputs or other in inputs):
            raise DatasetError(
                f"An identifier cannot be an input, but {other} and {key} both name {name!r}: "
                "declare it once."
            )
        raise DatasetError(
            f"A column has one role, but {other} and {key} both name {name!r}: keep one of them."
        )


def _check_derived(manifest: Manifest) -> None:
    unknown = [name for name in manifest.derived if name not in manifest.columns.inputs]
    if unknown:
        raise DatasetError(
            f"derived lists columns that models read, but {unknown} are no inputs: remove them "
            "from derived, or declare them under columns."
        )


_OWNERS: dict[str, type] = {"columns": Columns, "target": Target}


def _problem(item: Any) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        owner = _OWNERS.get(location[0], Manifest) if len(location) > 1 else Manifest
        known = _keys(owner)
        return f"{key} is not a known key{nearest(location[-1], known)}; known are {known}."
    if item["type"] in ("missing", "missing_argument"):
        return f"{key} is missing: add it."
    if item["type"] == "tuple_type":
        return f"{key} must be a list of column names, but got {item['input']!r}: write [...]."
    if item["type"] == "literal_error":
        return f"{key} must be {item['ctx']['expected']}, but got {item['input']!r}: correct it."
    return f"{key} must be a {_expected(item)}, but got {item['input']!r}: correct it."


def _expected(item: Any) -> str:
    named = {"string_type": "text value", "dataclass_type": "mapping"}
    return named.get(item["type"], item["msg"])


def nearest(name: str, known: list[str]) -> str:
    """`: did you mean ...?` for the closest known name, or nothing where none is close."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _keys(owner: type) -> list[str]:
    return [field.name for field in dataclasses.fields(owner)]


def _without_unset(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_unset(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None and item != []}
    if isinstance(value, tuple):
        return list(value)
    return value

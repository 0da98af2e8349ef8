"""What a dataset folder holds of earlier imports, and what another one adds to it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import pandas as pd

from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import restore
from ni_platform.data.importers.exports.files import ExportFile
from ni_platform.data.importers.exports.profile import Profile
from ni_platform.data.importers.exports.rows import (
    AB_TEST,
    CLICKS,
    CONTENT_ID,
    DAY,
    IMPRESSIONS,
    SINCE,
    Wishes,
)
from ni_platform.data.importers.exports.set_aside import SetAside
from ni_platform.data.manifest import FILE_NAME, Manifest
from ni_platform.data.reading.csv_file import Say
from ni_platform.data.reading.parquet_file import read_parquet
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.overrides import from_dict

RECORD_FILE = "import.json"
COUNTS_FILE = "counts.parquet"
"""The facts of all imports: a row per content and days, with its counts and fields."""
SET_ASIDE_FILE = "set_aside.csv"
_FORMAT = 1
_KEY = [CONTENT_ID, SINCE, DAY]
_COUNTS = [IMPRESSIONS, CLICKS]
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class CreativeColumns:
    """Columns that creatives add to contents."""

    text: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    image: str | None = None

    @property
    def names(self) -> list[str]:
        """All of them."""
        image = [self.image] if self.image else []
        return [*self.text, *self.categorical, *self.numeric, *image]


@dataclass(frozen=True, kw_only=True)
class History:
    """Earlier imports into a folder; nothing of each where there are none."""

    facts: pd.DataFrame | None = None
    record: dict[str, Any] = field(default_factory=dict)
    set_aside: list[dict[str, Any]] = field(default_factory=list)
    dataset: Dataset | None = None

    @classmethod
    def of(cls, out: str | Path) -> History:
        """Read what a folder holds.

        Raises:
            DatasetError: It holds something that no import of an export has written.
        """
        if not storage.is_remote(out):
            restore(out)
        if not storage.exists(storage.join(out, FILE_NAME)):
            return cls()
        place = storage.join(out, RECORD_FILE)
        if not storage.exists(place):
            raise DatasetError(
                f"{out} holds a dataset that was not imported from an export: choose another "
                "folder, or delete it first."
            )
        if storage.is_remote(out):
            raise DatasetError(
                f"{out} holds an import, which another can only be added to in a local folder: "
                "`ni data pull` it, import, and push it to a new prefix."
            )
        record = json.loads(storage.read_bytes(place))
        if record.get("format") != _FORMAT:
            raise DatasetError(
                f"{place} is of format {record.get('format')}, but {_FORMAT} is read: import all "
                "files anew with this version."
            )
        counts = storage.join(out, COUNTS_FILE)
        facts = read_parquet(storage.read_bytes(counts), counts).to_pandas()
        aside = pd.read_csv(io.BytesIO(storage.read_bytes(storage.join(out, SET_ASIDE_FILE))))
        return cls(
            facts=facts,
            record=record,
            set_aside=cast(list[dict[str, Any]], aside.to_dict("records")),
            dataset=Dataset.open(out),
        )

    @property
    def profile(self) -> str | None:
        """Name of the profile of the earlier imports."""
        return self.record.get("profile")

    @property
    def manifest(self) -> Manifest | None:
        """Of the dataset, as people may have corrected it."""
        return self.dataset.manifest if self.dataset else None

    @property
    def creatives(self) -> CreativeColumns:
        """Columns that creatives have added."""
        given = self.record.get("creatives")
        return from_dict(CreativeColumns, given) if given else CreativeColumns()

    def new_files(self, files: Sequence[ExportFile], say: Say) -> list[ExportFile]:
        """Return the files that were not imported before, known by their bytes; say of the rest.

        Raises:
            DatasetError: Two files have one name, by which their rows are known.
        """
        there = {
            item["sha256"]: entry["when"]
            for entry in self.record.get("imports", [])
            for item in entry["files"]
        }
        for file in files:
            if file.sha256 in there:
                say(f"{file.name} was imported on {there[file.sha256]}, and adds nothing")
        new: dict[str, ExportFile] = {}
        for file in files:
            if file.sha256 in new:
                say(f"{file.path} is the same as {new[file.sha256].path}, and adds nothing")
            elif file.sha256 not in there:
                new[file.sha256] = file
        by_name: dict[str, str] = {}
        for file in new.values():
            if (other := by_name.setdefault(file.name, file.path)) != file.path:
                raise DatasetError(
                    f"Rows are known by their file's name, but {other} and {file.path} have the "
                    "same: rename one of them."
                )
        return list(new.values())

    def with_wishes(self, wishes: Wishes | None) -> Wishes:
        """Return the wishes of the earlier imports, which another one must share."""
        if not self.record:
            return wishes or Wishes()
        before = from_dict(Wishes, self.record["wishes"])
        for item in fields(Wishes):
            old, new = getattr(before, item.name), getattr(wishes or Wishes(), item.name)
            if new and new != old and item.name != "dates":
                raise ConfigError(
                    f"The folder was imported with {item.name} {old or 'not given'}, but now it is "
                    f"{new}: leave it out, or import all files anew into another folder."
                )
        dates = wishes.dates if wishes else None
        return Wishes(**(asdict(before) | {"dates": dates or before.dates}))

    def files(
        self,
        profile: Profile,
        wishes: Wishes,
        success: str,
        creatives: CreativeColumns,
        entry: dict[str, Any],
        facts: pd.DataFrame,
        aside: SetAside,
    ) -> dict[str, bytes]:
        """Return what the folder keeps of all imports, by file name."""
        record = {
            "format": _FORMAT,
            "profile": profile.name,
            "title": profile.title,
            "success": success,
            "creatives": asdict(creatives),
            "wishes": asdict(wishes),
            "imports": [*self.record.get("imports", []), entry],
        }
        number = len(self.record.get("imports", [])) + 1
        rows = [*self.set_aside, *({"import": number, **row} for row in aside.rows)]
        listed = pd.DataFrame(rows, columns=["import", "file", "line", "reason", "row"])
        # What is wrong with a content is found again by each import.
        listed = listed.drop_duplicates(["file", "line", "reason"])
        counts = io.BytesIO()
        facts.to_parquet(counts, index=False)
        return {
            RECORD_FILE: json.dumps(record, indent=2, ensure_ascii=False).encode(),
            SET_ASIDE_FILE: listed.to_csv(index=False).encode(),
            COUNTS_FILE: counts.getvalue(),
        }


def merged(before: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Return the facts of both: new rows take the place of those of the same content and days.

    What one of them has no column for, such as a text that was not exported again, is as the other
    knows it.
    """
    before, facts = _filled(before, facts), _filled(facts, before)
    replaced = _keys(before).isin(_keys(facts))
    return pd.concat([before[~replaced], facts], ignore_index=True)


def _filled(facts: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Facts with the columns that only others have, of the contents that those know."""
    last = other.drop_duplicates(CONTENT_ID, keep="last").set_index(CONTENT_ID)
    lacking = [str(name) for name in other if name not in facts]
    return facts.assign(**{name: facts[CONTENT_ID].map(last[name]) for name in lacking})


def differences(before: pd.DataFrame, facts: pd.DataFrame) -> dict[str, Any]:
    """Say what an import adds and changes: new contents, tests and days, other counts."""
    old, new = (
        table.set_axis(_keys(table)).groupby(level=[0, 1, 2], sort=False)[_COUNTS].sum()
        for table in (before, facts)
    )
    shared = new.index.intersection(old.index, sort=False)
    moved = shared[(new.loc[shared] != old.loc[shared]).any(axis=1).to_numpy()]
    examples = [
        " ".join(filter(None, (key[0], key[2])))
        + ": "
        + ", ".join(
            f"{name} {int(old.loc[key, name]):,} to {int(new.loc[key, name]):,}"
            for name in _COUNTS
            if old.loc[key, name] != new.loc[key, name]
        )
        for key in moved[:_SHOWN]
    ]
    fell = int((new.loc[moved] < old.loc[moved]).any(axis=1).sum())
    if fell:
        examples.append(
            f"counts of {fell:,} rows fell: if this export is the older one, or of other days that "
            "it does not name, delete the folder and import all files anew"
        )
    added = {
        name: int((~facts[column].drop_duplicates().dropna().isin(before[column])).sum())
        for name, column in (("new_contents", CONTENT_ID), ("new_tests", AB_TEST))
    }
    return {
        **added,
        "new_rows": len(new) - len(shared),
        "changed_rows": len(moved),
        "changes": examples,
    }


def _keys(facts: pd.DataFrame) -> pd.MultiIndex:
    """Content and days of each row; a null, which equals nothing, as an empty text."""
    return pd.MultiIndex.from_frame(facts[_KEY].astype(object).where(facts[_KEY].notna(), ""))

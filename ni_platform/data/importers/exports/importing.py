"""An export to a dataset folder, anew or on top of what was imported there before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import check_free, replace_dataset, write_dataset
from ni_platform.data.importers.exports.contents import (
    check_people,
    check_periods,
    contents_of,
    notes_on_tests,
    once_each,
)
from ni_platform.data.importers.exports.files import ExportFile, open_file
from ni_platform.data.importers.exports.profile import Assigned, Profile, profiles
from ni_platform.data.importers.exports.recognition import Match, recognised
from ni_platform.data.importers.exports.rows import (
    AB_TEST,
    CLICKS,
    CONTENT_ID,
    DAY,
    IMPRESSIONS,
    SINCE,
    SetAside,
    Wishes,
    read_rows,
    success_field,
)
from ni_platform.data.importers.table import check_totals
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.errors import ConfigError, DatasetError

RECORD_FILE, COUNTS_FILE, SET_ASIDE_FILE = "import.json", "counts.parquet", "set_aside.csv"
_KEY = [CONTENT_ID, SINCE, DAY]
_COUNTS = [IMPRESSIONS, CLICKS]


@dataclass(frozen=True, kw_only=True)
class ExportImport:
    """The dataset, and what became of the rows."""

    dataset: Dataset
    profile: Profile
    why: str
    """Why this profile was taken."""
    entry: dict[str, Any]
    """What this import has added to the dataset's `import.json`."""
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """How the user says that arms were assigned; None leaves it to the profile."""

    kind: Assigned | None = None
    reason: str | None = None


@dataclass
class _Before:
    """What a folder holds of earlier imports."""

    facts: pd.DataFrame | None = None
    record: dict[str, Any] = field(default_factory=dict)
    set_aside: list[dict[str, Any]] = field(default_factory=list)


def import_export(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    profile: str | None = None,
    wishes: Wishes | None = None,
    assignment: Assignment | None = None,
    name: str | None = None,
    form: CsvFormat | None = None,
    say: Say = lambda note: None,
) -> ExportImport:
    """Write files of one export as a dataset folder, or add them to the one that is there.

    A folder that an import of the same profile has written gets what is new: rows of the same
    content and days take the place of those that it has, all others stay.

    Args:
        files: Files of one kind of export, packed or not.
        out: Dataset folder, local or `s3://`.
        profile: Name of the profile; found out if None.
        wishes: What the export leaves open; on top of another import, as there if not given.
        assignment: How arms were assigned, in place of what the profile says.
        name: Of the dataset; the folder's if None.
        form: How text tables are written.
        say: Told what was found out.

    Raises:
        DatasetError: No profile fits, a cell is not what it should be, something would be counted
            twice, or the folder holds something else. Nothing is written then.
        ConfigError: The export leaves a choice that must be said.
    """
    form, before = form or CsvFormat(), _before(out)
    opened = [open_file(path, form) for path in files]
    known = profiles()
    name_of_profile = profile or before.record.get("profile")
    matched = [(file, recognised(file, known, name_of_profile)) for file in opened]
    _check_alike(matched, before)
    chosen, why = matched[0][1].profile, matched[0][1].why
    wishes = _wishes(wishes or Wishes(), before)
    aside = SetAside()
    facts = once_each(read_rows(matched, wishes, form, say, aside))
    entry = _entry(opened, matched[0][1], facts, aside)
    if before.facts is not None:
        entry |= _differences(before.facts, facts)
        facts = _merged(before.facts, facts)
        check_periods(facts)
    check_people(facts, chosen, [chosen.impressions, success_field(chosen, facts, wishes)])
    contents = contents_of(facts, aside)
    check_totals(contents, CONTENT_ID, _COUNTS)
    entry["set_aside"] = aside.by_reason
    manifest = _manifest(chosen, contents, name or _name(out), assignment or Assignment(), before)
    record = _record(before, chosen, wishes, manifest, entry)
    notes = notes_on_tests(contents, chosen.text)
    tables = {COUNTS_FILE: facts, SET_ASIDE_FILE: pd.DataFrame([*before.set_aside, *aside.rows])}
    dataset = _write(out, manifest, contents, record, tables, anew=before.facts is None)
    return ExportImport(dataset=dataset, profile=chosen, why=why, entry=entry, notes=notes)

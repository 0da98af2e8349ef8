"""An export to a dataset folder, anew or on top of what was imported there before."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from ni_platform.data import storage
from ni_platform.data.assignment import Assignment, Shares
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.importers.creatives import UNMATCHED_FILE
from ni_platform.data.importers.exports.contents import (
    check_people,
    check_periods,
    contents_of,
    notes_on_tests,
    once_each,
)
from ni_platform.data.importers.exports.creatives import (
    CreativeSource,
    WithCreatives,
    with_creatives,
)
from ni_platform.data.importers.exports.files import ExportFile, open_file
from ni_platform.data.importers.exports.history import (
    SET_ASIDE_FILE,
    History,
    differences,
    merged,
)
from ni_platform.data.importers.exports.profile import Profile, profiles
from ni_platform.data.importers.exports.recognition import Match, recognised
from ni_platform.data.importers.exports.rows import (
    AB_TEST,
    CLICKS,
    CONTENT_ID,
    DAY,
    IMPRESSIONS,
    Wishes,
    read_rows,
)
from ni_platform.data.importers.exports.set_aside import SetAside
from ni_platform.data.importers.pictures import OnPicture
from ni_platform.data.importers.table import check_totals
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.errors import ConfigError, DatasetError


@dataclass(frozen=True, kw_only=True)
class ExportImport:
    """The dataset, and what became of the rows."""

    dataset: Dataset
    profile: Profile
    why: str
    """Why this profile was taken."""
    success: str
    """Field that counts successes."""
    entry: Mapping[str, Any]
    """What this import has added to the dataset's `import.json`; empty if nothing."""
    notes: Sequence[str]
    """What a user should know of the A/B tests."""

    def lines(self) -> list[str]:
        """Return what a user should be told, a line each."""
        entry, manifest = self.entry, self.dataset.manifest
        told = [f"read as {self.profile.name} ({self.profile.title}): {self.why}"]
        told.append(f"a success is counted by {self.success}")
        if "new_rows" in entry:
            told.append(
                f"added: {entry['new_rows']:,} rows, {entry['new_contents']:,} contents, "
                f"{entry['new_tests']:,} A/B tests; changed: {entry['changed_rows']:,} rows"
            )
            told += [f"changed: {change}" for change in entry["changes"]]
        if manifest.assignment is not None:
            reason = manifest.assignment_reason or ""
            told.append(f"arms were assigned: {manifest.assignment}. {reason}".rstrip())
        for reason, rows in entry.get("set_aside", {}).items():
            told.append(f"set aside: {rows:,} rows, {reason}, see {SET_ASIDE_FILE}")
        return [*told, *self.notes, *([self.profile.note] if self.profile.note else [])]


def import_export(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    profile: str | None = None,
    wishes: Wishes | None = None,
    assignment: Assignment | None = None,
    assignment_reason: str | None = None,
    creatives: CreativeSource | None = None,
    name: str | None = None,
    form: CsvFormat | None = None,
    on_picture: OnPicture = lambda done, total: None,
    say: Say = lambda note: None,
) -> ExportImport:
    """Write files of one export as a dataset folder, or add them to the one that is there.

    A folder that an import of the same profile has written gets what is new: rows of the same
    content and days take the place of those that it has, all others stay.

    Args:
        files: Files of one kind of export, packed or not.
        out: Dataset folder, local or `s3://`.
        profile: Name of the profile; found out if None.
        wishes: What the export leaves open; on top of an earlier import, as there if None.
        assignment: How arms were assigned, in place of what the profile says.
        assignment_reason: Why, in a sentence.
        creatives: Where texts and pictures are that the export lacks.
        name: Of the dataset; the folder's if None.
        form: How text tables are written.
        on_picture: Told how many pictures are fetched.
        say: Told what was found out about the files.

    Raises:
        DatasetError: No profile fits, a cell is not what it should be, something would be counted
            twice, or the folder holds something else. Nothing is written then.
        ConfigError: The export leaves a choice that must be said.
    """
    form, history = form or CsvFormat(), History.of(out)
    opened = history.new_files([open_file(path, form) for path in files], say)
    known = profiles()
    if not opened:
        return _nothing_new(out, history, known)
    asked = profile or history.profile
    matched = [(file, recognised(file, known, asked)) for file in opened]
    chosen = _the_one(matched, history)
    wishes = history.with_wishes(wishes)
    aside = SetAside()
    read, success = read_rows(matched, wishes, form, say, aside)
    facts = once_each(read)
    entry = _entry(opened, facts)
    if history.facts is not None:
        entry |= differences(history.facts, facts)
        facts = merged(history.facts, facts)
        check_periods(facts)
    check_people(facts, chosen, [chosen.impressions, success])
    # Beside the dataset, so that what was fetched is still there when this is repeated.
    cache = Path(f"{str(out).rstrip('/')}.pictures") if not storage.is_remote(out) else None
    with _folder(cache) as fetched:
        found = with_creatives(
            contents_of(facts, aside, _unseen_names(chosen)), chosen, creatives or CreativeSource(),
            wishes.creative_field or chosen.creative, history, out, fetched,
            on_picture=on_picture, say=say,
        )  # fmt: skip
        manifest = _manifest(
            chosen,
            found,
            before=history.manifest,
            name=name or PurePosixPath(str(out).rstrip("/")).name,
            assignment=assignment,
            reason=assignment_reason,
            split_by_audience=bool(wishes.by),
        )
        contents = _with_inputs(found.contents, manifest, facts, aside)
        check_totals(contents, CONTENT_ID, [IMPRESSIONS, CLICKS])
        entry |= {"contents": len(contents), "set_aside": aside.by_reason}
        kept = history.files(chosen, wishes, success, found.columns, entry, facts, aside)
        if found.unmatched is not None and len(found.unmatched):
            kept[UNMATCHED_FILE] = found.unmatched.to_csv(index=False).encode()
        dataset = _write(
            out, manifest, contents, found.pictures, kept, replace=history.facts is not None
        )
    return ExportImport(
        dataset=dataset,
        profile=chosen,
        why=matched[0][1].why,
        success=success,
        entry=entry,
        notes=notes_on_tests(contents, _shown(manifest)),
    )


@contextmanager
def _folder(place: Path | None) -> Iterator[Path]:
    """A folder for pictures that are fetched: kept where something fails, else removed."""
    if place is None:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
        return
    yield place
    shutil.rmtree(place, ignore_errors=True)


def _with_inputs(
    contents: pd.DataFrame, manifest: Manifest, facts: pd.DataFrame, aside: SetAside
) -> pd.DataFrame:
    """Contents that have a text or a picture, where others do."""
    names = _shown(manifest)
    if not names:
        return contents
    bare = contents[names].isna().all(axis=1)
    ids = contents.loc[bare, CONTENT_ID]
    aside.add(facts[facts[CONTENT_ID].isin(ids)], "it has no text or picture")
    if bare.all():
        raise DatasetError("No content has a text or a picture: check the file of creatives.")
    return contents[~bare].reset_index(drop=True)


def _shown(manifest: Manifest) -> list[str]:
    """Columns of what people saw."""
    image = manifest.columns.image
    return [*manifest.columns.text, *([image] if image else [])]


def _unseen_names(profile: Profile) -> set[str]:
    """Fields that name a creative, where people did not see them as its text."""
    return {profile.creative or ""} - {*profile.text}


def _nothing_new(out: str | Path, history: History, known: Mapping[str, Profile]) -> ExportImport:
    """The dataset as it is: all files were imported before."""
    return ExportImport(
        dataset=Dataset.open(out),
        profile=known[str(history.profile)],
        why="it was imported so",
        success=history.record["success"],
        entry={},
        notes=[],
    )


def _the_one(matched: Sequence[tuple[ExportFile, Match]], history: History) -> Profile:
    """The profile of all files, and of those that were imported before."""
    names = {match.profile.name: file.name for file, match in matched}
    if len(names) > 1:
        found = "; ".join(f"{file} is {name}" for name, file in names.items())
        raise DatasetError(
            f"Files of one import must be of one export, but {found}: import them one by one, each "
            "into a folder of its own."
        )
    chosen = matched[0][1].profile
    if history.profile not in (None, chosen.name):
        raise DatasetError(
            f"The folder holds an import of {history.profile}, but the files are of {chosen.name}: "
            "choose another folder."
        )
    if chosen.refused is not None:
        raise DatasetError(f"{chosen.title}: {chosen.refused}")
    return chosen


def _entry(files: Sequence[ExportFile], facts: pd.DataFrame) -> dict[str, Any]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": [{"name": file.name, "sha256": file.sha256} for file in files],
        "rows": len(facts),
    }


def _manifest(
    profile: Profile,
    found: WithCreatives,
    *,
    before: Manifest | None,
    name: str,
    assignment: Assignment | None,
    reason: str | None,
    split_by_audience: bool,
) -> Manifest:
    """The dataset's manifest; what people have corrected in an earlier one stays."""
    has, added = {*found.contents.columns[found.contents.notna().any()]}, found.columns
    tested = AB_TEST in has
    kind = assignment or (before.assignment if before else None) or profile.assignment
    if tested and kind is None:
        raise ConfigError(
            f"{profile.title} holds A/B tests, but does not say how their arms were assigned: say "
            "--assignment randomised if chance decided who saw which arm, platform if an "
            "optimiser did, else observational."
        )
    said = reason or (before.assignment_reason if before and not assignment else None)
    share = profile.share if tested and profile.share in has else None
    unknown = profile.shares == "unknown" or split_by_audience
    shares: Shares | None = "unknown" if unknown else (before.shares if before else None)
    categorical = (*profile.categorical, *profile.audience)
    return Manifest(
        name=before.name if before else name,
        description=f"Imported from {profile.title}, {profile.row} per row.",
        images=found.images,
        assignment=kind if tested else None,
        assignment_reason=said or (profile.reason if kind == profile.assignment else None),
        shares=shares if tested and share is None else None,
        columns=Columns(
            content_id=CONTENT_ID,
            ab_test=AB_TEST if tested else None,
            day=DAY if DAY in has else None,
            domain=profile.domain if profile.domain in has else None,
            image=added.image,
            share=share,
            text=(*(name for name in profile.text if name in has), *added.text),
            categorical=(*(name for name in categorical if name in has), *added.categorical),
            numeric=added.numeric,
        ),
        target=Target(impressions=IMPRESSIONS, clicks=CLICKS),
    )


def _write(
    out: str | Path,
    manifest: Manifest,
    contents: pd.DataFrame,
    pictures: Mapping[str, Path],
    tables: Mapping[str, bytes],
    *,
    replace: bool,
) -> Dataset:
    with tempfile.TemporaryDirectory() as scratch:
        files = {}
        for name, data in tables.items():
            files[name] = Path(scratch) / name
            files[name].write_bytes(data)
        return write_dataset(out, manifest, contents, pictures, files, replace=replace)

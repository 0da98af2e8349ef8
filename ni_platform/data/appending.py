"""New results added to a dataset folder: an export of its kind, or a table of its form."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ni_platform.data import storage
from ni_platform.data.click_log.report import REPORT_FILE
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import restore, write_dataset
from ni_platform.data.importers.exports.history import RECORD_FILE
from ni_platform.data.importers.exports.importing import import_export
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.data.importers.ids import JOINED_ID
from ni_platform.data.importers.table import import_table
from ni_platform.data.manifest import FILE_NAME, Manifest
from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.data.reading.days import DayOrder
from ni_platform.data.reading.table import SourceTable, typed
from ni_platform.errors import DatasetError


@dataclass(frozen=True, kw_only=True, eq=False)
class Appended:
    """A dataset after results were added to it."""

    dataset: Dataset
    before: str | None
    """Fingerprint of the version before; None where nothing was added."""
    new: np.ndarray
    """Bool [N]: contents that were not there before."""
    changed: np.ndarray
    """Bool [N]: contents that have other counts now."""
    fell: np.ndarray
    """Bool [N]: those of which a count is lower now."""


def append_results(
    files: Sequence[str | Path],
    folder: str | Path,
    *,
    images: str | Path | None = None,
    dates: DayOrder | None = None,
    form: CsvFormat | None = None,
    say: Say = lambda note: None,
) -> Appended:
    """Add results to a dataset folder, which is replaced whole or stays as it is.

    A folder that exports were imported into takes further exports of that kind. Any other takes
    tables with the columns that its manifest names: contents with a new id are added, those with a
    known one get the new counts. What the results do not say of these stays as it was, and so does
    their first day, and whatever else lies in the folder.

    Args:
        files: New results, at least one.
        folder: Local dataset folder.
        images: Folder of the new contents' pictures; each table's own if None.
        dates: What 3/4/2026 means.
        form: How text tables are written.
        say: Told what was found out about the files.

    Raises:
        DatasetError: The folder takes no results, a table does not fit it, or a content that is
            known has other inputs. Nothing is written then.
    """
    if storage.is_remote(folder):
        raise DatasetError(
            f"Results are added to a local folder, but {folder} is remote: `ni data pull` it, add "
            "them, and push it to a new prefix."
        )
    restore(folder)
    before = Dataset.open(folder)
    before.fingerprint()  # is kept from now on: later its pictures may be others
    if storage.exists(storage.join(folder, RECORD_FILE)):
        if images is not None:
            raise DatasetError(
                "--images is for results in a table; an export gets pictures where it is imported: "
                "`ni data import FILE... DIR --images FOLDER`, then `ni outcomes DIR`."
            )
        result = import_export(files, folder, wishes=Wishes(dates=dates), form=form, say=say)
        for line in result.lines():
            say(line)
        return _compared(before, result.dataset)
    if storage.exists(storage.join(folder, REPORT_FILE)):
        raise DatasetError(
            f"{folder} holds counts of a click log, which cannot be continued: run `ni data "
            "aggregate` on the longer log into a new folder, and name that without results."
        )
    if before.manifest.derived:
        raise DatasetError(
            f"{folder} has columns that `ni data attributes` has computed, which the results lack: "
            "add results to the dataset before these, and compute them anew."
        )
    with tempfile.TemporaryDirectory() as scratch:
        added = {
            str(file): _imported(
                file, Path(scratch) / str(number), before.manifest, images, dates, form, say
            )
            for number, file in enumerate(files)
        }
        return _compared(before, _joined(before, added))


def _imported(
    file: str | Path,
    out: Path,
    manifest: Manifest,
    images: str | Path | None,
    dates: DayOrder | None,
    form: CsvFormat | None,
    say: Say,
) -> Dataset:
    """A table as a dataset of its own, read as the manifest says."""
    columns, target = manifest.columns, manifest.target
    if columns.content_id == JOINED_ID:
        say(f"content ids are read from the column {JOINED_ID!r}, where an import had joined them")
    place = manifest.images if _lies_elsewhere(manifest) else images
    return import_table(
        file, out, content_id=columns.content_id, image=columns.image,
        images=place if columns.image else None, text=columns.text,
        categorical=columns.categorical, numeric=columns.numeric, vector=columns.vector,
        domain=columns.domain, ab_test=columns.ab_test, day=columns.day, dates=dates,
        arm=columns.arm, assignment=manifest.assignment, assignment_column=columns.assignment,
        share=columns.share, shares=manifest.shares, split=columns.split,
        impressions=target.impressions, clicks=target.clicks, ratings=target.ratings,
        form=form, say=say,
    )  # fmt: skip


def _joined(before: Dataset, added: Mapping[str, Dataset]) -> Dataset:
    """Write the dataset with what was added, by file, in place of the one before."""
    manifest, tables = before.manifest, list(added.values())
    _check_same({before.root: before, **added})
    contents = _merged(before, tables)
    pictures = {} if _lies_elsewhere(manifest) else _pictures([before, *tables])
    root = Path(before.root)
    written = {root / FILE_NAME, root / manifest.contents}
    written |= {root / str(manifest.images) / name for name in pictures}
    others = [path for path in root.rglob("*") if path.is_file() and path not in written]
    files = {path.relative_to(root).as_posix(): path for path in others}
    return write_dataset(root, manifest, contents, pictures, files, replace=True)


def _merged(before: Dataset, added: Sequence[Dataset]) -> pd.DataFrame:
    """All contents in the order of their coming, each with the last that is said of it."""
    manifest = before.manifest
    key, day = manifest.columns.content_id, manifest.columns.day
    # By Arrow, as pandas makes floats of whole numbers beside nothing.
    first = pa.Table.from_pandas(before.contents, preserve_index=False)
    tables = [first, *(_as_before(one, first, manifest) for one in added)]
    table = pa.concat_tables(tables, promote_options="permissive")
    content = pd.factorize(table[key].to_pandas())[0]
    columns = {}
    for name in table.column_names:
        told = np.flatnonzero(table[name].is_valid().to_numpy())
        last = np.full(content.max() + 1, -1)
        np.maximum.at(last, content[told], told)
        columns[name] = table[name].take(pa.array(last, mask=last < 0))
    if day is not None:
        days = table[day].to_pandas().groupby(content).min()
        columns[day] = pa.chunked_array([pa.array(days, pa.string(), from_pandas=True)])
    return typed(SourceTable(name=before.root, columns=pa.table(columns)), manifest.roles)


def _as_before(one: Dataset, first: pa.Table, manifest: Manifest) -> pa.Table:
    """What was added, its undeclared columns of the types that they have in the dataset."""
    table = pa.Table.from_pandas(one.contents, preserve_index=False)
    for place, name in enumerate(table.column_names):
        if name in manifest.roles or name not in first.column_names:
            continue
        kind = first.schema.field(name).type
        try:
            table = table.set_column(place, name, table[name].cast(kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DatasetError(
                f"The column {name!r} of the results cannot be added to that of the dataset, which "
                f"holds {kind} ({error}): correct its cells, or leave the column out."
            ) from error
    return table


def _check_same(datasets: Mapping[str, Dataset]) -> None:
    """Raise DatasetError where a content is another one than in an earlier table."""
    known: pd.DataFrame | None = None
    for file, dataset in datasets.items():
        columns = dataset.manifest.columns
        table = dataset.inputs().assign(**{str(columns.ab_test): dataset.ab_test.to_numpy()})
        if dataset.image_digests is not None:
            table = table.assign(**{str(columns.image): dataset.image_digests.to_numpy()})
        table = table.map(_cell).set_index(dataset.content_id.astype(str).to_numpy())
        if known is not None:
            shared = table.index.intersection(known.index)
            other = table.loc[shared] != known.loc[shared]
            differ = other.any(axis=1)
            if differ.any():
                first = str(shared[differ.to_numpy()][0])
                names = other.columns[other.loc[first].to_numpy()]
                raise DatasetError(
                    f"A content stays what it is, but {first!r} has another {names[0]} in {file} "
                    f"than before ({int(differ.sum()):,} such contents): give a changed content "
                    "an id of its own, or correct the table."
                )
        known = table if known is None else pd.concat([known[~known.index.isin(shared)], table])


def _lies_elsewhere(manifest: Manifest) -> bool:
    """Whether pictures are not in the dataset folder, but where the manifest says."""
    images = manifest.images or ""
    return storage.is_remote(images) or Path(images).is_absolute()


def _cell(value: Any) -> str:
    """A cell as text, in which nulls are equal."""
    if isinstance(value, np.ndarray | list):
        return repr(np.asarray(value).tolist())
    if pd.isna(value):
        return ""
    # A column of whole numbers in one table may hold parts in another.
    return repr(float(value)) if isinstance(value, int | float) else repr(value)


def _pictures(datasets: Sequence[Dataset]) -> dict[str, Path]:
    """The local file behind each name of the image column."""
    found: dict[str, Path] = {}
    for dataset in datasets:
        column = dataset.manifest.columns.image
        if column is None:
            continue
        for name in dataset.contents[column].dropna().unique():
            path = Path(dataset.images_root) / str(name)
            other = found.setdefault(str(name), path)
            if other != path and storage.sha256(other) != storage.sha256(path):
                raise DatasetError(
                    f"The picture {name!r} of the results is another one than the picture of that "
                    "name in the dataset: rename it."
                )
    return found


def _compared(before: Dataset, after: Dataset) -> Appended:
    """Which contents are new, and which have other counts."""
    ids = (pd.Index(dataset.content_id.astype(str)) for dataset in (before, after))
    place = next(ids).get_indexer(next(ids))
    counts = np.stack([after.impressions, after.clicks])
    earlier = np.stack([before.impressions, before.clicks])[:, place]
    changed = (place >= 0) & (counts != earlier).any(axis=0)
    fell = (place >= 0) & (counts < earlier).any(axis=0)
    added = bool((place < 0).any() or changed.any())
    return Appended(
        dataset=after,
        before=before.fingerprint() if added else None,
        new=place < 0,
        changed=changed,
        fell=fell,
    )

"""Import of any CSV, Parquet or Arrow table, with local pictures or those at an `s3://` prefix."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow as pa

from ni_platform.data import storage
from ni_platform.data.assignment import Assignment, Shares
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.importers.ids import JOINED_ID, joined_ids
from ni_platform.data.importers.pictures import (
    check_sizes,
    filled,
    objects,
    path_finder,
    portable,
)
from ni_platform.data.manifest import Columns, Manifest, Target, nearest
from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.data.reading.days import DayError, DayOrder, days_of
from ni_platform.data.reading.table import Role, SourceTable, read_table, typed
from ni_platform.data.total_rows import total_rows
from ni_platform.errors import DatasetError

_SHOWN = 3


def import_table(
    table: str | Path | pa.Table,
    out: str | Path,
    *,
    content_id: str | Sequence[str],
    name: str | None = None,
    image: str | None = None,
    images: str | Path | None = None,
    pictures: Mapping[str, Path] | None = None,
    text: Sequence[str] = (),
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    vector: Sequence[str] = (),
    domain: str | None = None,
    ab_test: str | None = None,
    day: str | None = None,
    dates: DayOrder | None = None,
    arm: str | None = None,
    assignment: Assignment | None = None,
    assignment_reason: str | None = None,
    assignment_column: str | None = None,
    share: str | None = None,
    shares: Shares | None = None,
    split: str | None = None,
    impressions: str | None = None,
    clicks: str | None = None,
    ratings: Sequence[str] | None = None,
    files: Mapping[str, Path] | None = None,
    counted: bool = False,
    form: CsvFormat | None = None,
    say: Say = lambda note: None,
) -> Dataset:
    """Write a dataset folder from a CSV or Parquet file or an Arrow table; its columns are named.

    `name` defaults to the name of `out`. `images` is the folder that the image column's paths are
    relative to (if not given the table's folder, of an Arrow table the current one); pictures are
    hard-linked or copied from there, or stay where they are if it is an `s3://` prefix. A path that
    starts with the folder's own name may keep it. `pictures` gives the local file of each image
    cell instead, where that is known. All columns of the table are kept; models read only the
    declared ones. Several columns for `content_id` make one id together, in a new column.
    `assignment` (or `assignment_column`, per A/B test) says how the arms of A/B tests were
    assigned, and is needed where there are any; `share` names the column of planned shares, which
    are equal if not given, and `shares` is "unknown" where there is no telling. `day` is the column
    of the first day of each content, and `dates` says what 3/4/2026 means. `files` are further
    local files to copy into the folder, by name.
    `counted` says that the counts were made of single events, so that no row can hold the totals of
    the others. `form` says how a CSV is written, and `say` is told what was found out where it does
    not.

    Raises `DatasetError` for a table that cannot be read exactly, unknown columns, ids that repeat
    or are empty, clicks above impressions, negative counts, rows of totals, missing pictures, a
    folder in use, or a full disk. Nothing is written then.
    """
    parts = [content_id] if isinstance(content_id, str) else list(content_id)
    columns = Columns(
        content_id=parts[0] if len(parts) == 1 else JOINED_ID,
        ab_test=ab_test, day=day, arm=arm, domain=domain, split=split, image=image,
        assignment=assignment_column, share=share, text=tuple(text), numeric=tuple(numeric),
        categorical=tuple(categorical), vector=tuple(vector),
    )  # fmt: skip
    outcome = Target(
        impressions=impressions, clicks=clicks, ratings=None if ratings is None else tuple(ratings)
    )
    remote = images is not None and storage.is_remote(images)
    manifest = Manifest(
        name=name or PurePosixPath(str(out).rstrip("/")).name,
        images=None if image is None else str(images) if remote else "images",
        columns=columns,
        target=outcome,
        assignment=assignment,
        assignment_reason=assignment_reason,
        shares=shares,
    )
    roles: dict[str, Role] = dict.fromkeys(parts, "label")
    roles |= manifest.roles
    if len(parts) > 1:
        del roles[JOINED_ID]
    place = "the table" if isinstance(table, pa.Table) else table
    if isinstance(table, pa.Table):
        contents = typed(SourceTable(name=str(place), columns=table), roles)
    else:
        contents = read_table(table, roles, form=form, say=say)
    if len(parts) > 1:
        check_columns(contents, {f"content_id[{i}]": part for i, part in enumerate(parts)}, place)
        if JOINED_ID in contents:
            raise DatasetError(
                f"{place} has a column {JOINED_ID!r}, which {', '.join(parts)} would make: rename "
                "it, or use it alone."
            )
        contents[JOINED_ID] = joined_ids(contents, parts)
    _check(contents, manifest, place, counted)
    if day is not None:
        contents[day] = _iso_days(contents[day], dates, place)
    if image is not None and pictures is None:
        contents[image], pictures = _resolved_pictures(contents, manifest, images, place)
    return write_dataset(out, manifest, contents, pictures, files)


def _check(contents: pd.DataFrame, manifest: Manifest, table: str | Path, counted: bool) -> None:
    """Raise `DatasetError` unless columns, ids and counts are as a dataset needs them."""
    content_id, outcome = manifest.columns.content_id, manifest.target.declared
    check_columns(contents, manifest.columns.declared | outcome, table)
    if contents.empty:
        raise DatasetError(f"{table} has a header and no rows: a dataset needs contents.")
    _check_ids(contents, content_id)
    _check_counts(contents, manifest)
    if not counted:
        check_totals(contents, content_id, tuple(outcome.values()))


def _iso_days(cells: pd.Series, order: DayOrder | None, place: str | Path) -> pd.Series:
    """Days as 2026-05-31, in whichever of the known forms the table has them."""
    try:
        days = days_of([None if pd.isna(cell) else str(cell) for cell in cells], order)
    except DayError as error:
        raise DatasetError(
            f"{place} row {error.position + 1}: column {cells.name!r} holds "
            f"{cells.iloc[error.position]!r}, which {error}."
        ) from error
    return objects(None if day is None else day.isoformat() for day in days)


def check_columns(table: pd.DataFrame, wanted: Mapping[str, str], source: str | Path) -> None:
    """Raise `DatasetError` unless every wanted column, by the option naming it, is there."""
    known = [str(column) for column in table.columns]
    unknown = {option: column for option, column in wanted.items() if column not in known}
    if not unknown:
        return
    named = "; ".join(
        f"{column!r} ({option.removeprefix('columns.').removeprefix('target.')})"
        f"{nearest(column, known)}"
        for option, column in unknown.items()
    )
    raise DatasetError(f"{source} has no column {named}. Its columns are {known}.")


def check_clicks(table: pd.DataFrame, *, content_id: str, impressions: str, clicks: str) -> None:
    """Raise `DatasetError` unless 0 <= clicks <= impressions in every row."""
    for column in (impressions, clicks):
        _check_numbers(table, column, content_id)
    above = table[table[clicks] > table[impressions]]
    if len(above):
        raise DatasetError(
            f"clicks <= impressions must hold, but {len(above):,} rows have {clicks!r} above "
            f"{impressions!r}: {_sample(above, content_id, clicks, impressions)}. Correct the "
            "counts, or check that the two columns are not swapped."
        )


def _check_counts(contents: pd.DataFrame, manifest: Manifest) -> None:
    target, content_id = manifest.target, manifest.columns.content_id
    if target.ratings is not None:
        for column in target.ratings:
            _check_numbers(contents, column, content_id)
    else:
        check_clicks(
            contents,
            content_id=content_id,
            impressions=str(target.impressions),
            clicks=str(target.clicks),
        )


def check_totals(table: pd.DataFrame, content_id: str, counts: Sequence[str]) -> None:
    """Raise `DatasetError` where a row holds the totals of all others."""
    totals = total_rows(table[list(counts)].to_numpy(dtype=np.float64))
    if len(totals):
        raise DatasetError(
            f"A row is a content, but {_sample(table.iloc[totals], content_id, *counts)} has as "
            "many of each as all other rows together: remove this row of totals."
        )


def _check_numbers(table: pd.DataFrame, column: str, content_id: str) -> None:
    numbers = pd.to_numeric(table[column], errors="coerce")
    wrong = table[numbers.isna() | (numbers < 0) | ~np.isfinite(numbers)]
    if len(wrong) or not pd.api.types.is_numeric_dtype(table[column]):
        rows = wrong if len(wrong) else table
        raise DatasetError(
            f"{column!r} must hold counts of 0 or more, but {len(rows):,} rows do not: "
            f"{_sample(rows, content_id, column)}. Correct or remove these rows."
        )


def _check_ids(contents: pd.DataFrame, content_id: str) -> None:
    ids = contents[content_id]
    if ids.isna().any():
        first = int(np.flatnonzero(ids.isna())[0]) + 1
        raise DatasetError(
            f"Every content needs an id, but {int(ids.isna().sum()):,} rows have none in "
            f"{content_id!r}, the first is row {first}: fill them or remove the rows."
        )
    repeated = ids[ids.duplicated()]
    if len(repeated):
        # Vectors cannot be hashed, and what is equal is equal as text, too.
        twice = int(contents.astype(str).duplicated().sum())
        raise DatasetError(
            f"Ids must be unique, but {repeated.nunique():,} values of {content_id!r} repeat, such "
            f"as {repeated.unique()[:_SHOWN].tolist()}: "
            + (
                f"{twice:,} rows are in the table twice; remove the copies."
                if twice == len(repeated)
                else "name the columns that tell contents apart, such as campaign,ad; rows of days "
                "or groups are added up by `ni data aggregate`."
            )
        )


def _resolved_pictures(
    contents: pd.DataFrame, manifest: Manifest, images: str | Path | None, table: str | Path
) -> tuple[pd.Series, dict[str, Path]]:
    """Image cells as the dataset will have them, and the local file behind each."""
    names = objects(
        None if cell is None else portable(str(cell))
        for cell in filled(contents[str(manifest.columns.image)])
    )
    if storage.is_remote(manifest.images or ""):
        return names, {}
    folder = Path(images) if images is not None else Path(table).parent
    if not folder.is_dir():
        raise DatasetError(f"The folder of pictures {folder} does not exist: check --images.")
    file_of = path_finder(folder)
    renamed = {name: file_of(name) for name in names.dropna().unique()}
    _check_found(
        [name for name, file in renamed.items() if file is None], folder, contents, names, manifest
    )
    found = {file: folder / file for file in renamed.values() if file is not None}
    check_sizes(found, folder)
    return objects(None if name is None else renamed[name] for name in names), found


def _check_found(
    missing: Sequence[str],
    folder: Path,
    contents: pd.DataFrame,
    names: pd.Series,
    manifest: Manifest,
) -> None:
    if missing:
        rows = contents[names.isin(missing)]
        sample = _sample(rows, manifest.columns.content_id, str(manifest.columns.image))
        raise DatasetError(
            f"{len(missing):,} pictures are not in {folder}: {sample}. Add the files, or empty the "
            "cells of contents without a picture."
        )


def _sample(rows: pd.DataFrame, content_id: str, *columns: str) -> str:
    shown = rows.head(_SHOWN)
    parts = [
        f"{row[content_id]!s} (" + ", ".join(f"{name}={row[name]!s}" for name in columns) + ")"
        for _, row in shown.iterrows()
    ]
    return "; ".join(parts) + ("; and more" if len(rows) > _SHOWN else "")

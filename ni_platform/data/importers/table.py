"""Import of any CSV or Parquet table, with local pictures or pictures at an `s3://` prefix."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow as pa

from ni_platform.data import storage
from ni_platform.data.dataset import Dataset, write_dataset
from ni_platform.data.images import MAX_BYTES
from ni_platform.data.manifest import Columns, Manifest, Target, nearest
from ni_platform.errors import DatasetError

_SHOWN = 3
_NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]


def import_table(
    table: str | Path,
    out: str | Path,
    *,
    content_id: str,
    name: str | None = None,
    image: str | None = None,
    images: str | Path | None = None,
    text: Sequence[str] = (),
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    vector: Sequence[str] = (),
    domain: str | None = None,
    ab_test: str | None = None,
    arm: str | None = None,
    split: str | None = None,
    impressions: str | None = None,
    clicks: str | None = None,
    ratings: Sequence[str] | None = None,
    files: Mapping[str, Path] | None = None,
) -> Dataset:
    """Write a dataset folder from a CSV or Parquet table whose columns are named here.

    `name` defaults to the name of `out`. `images` is the folder that the image column's paths are
    relative to (the table's folder if not given); pictures are hard-linked or copied from there,
    or stay where they are if it is an `s3://` prefix. A path that starts with the folder's own
    name may keep it. All columns of the table are kept; models read only the declared ones. `files`
    are further local files to copy into the folder, by name.

    Raises `DatasetError` for unknown columns, ids that repeat or are empty, clicks above
    impressions, negative counts, missing pictures, a folder in use, or a full disk. Nothing is
    written then.
    """
    columns = Columns(
        content_id=content_id,
        ab_test=ab_test,
        arm=arm,
        domain=domain,
        image=image,
        text=tuple(text),
        categorical=tuple(categorical),
        numeric=tuple(numeric),
        vector=tuple(vector),
        split=split,
    )
    outcome = Target(
        impressions=impressions, clicks=clicks, ratings=None if ratings is None else tuple(ratings)
    )
    remote = images is not None and storage.is_remote(images)
    manifest = Manifest(
        name=name or PurePosixPath(str(out).rstrip("/")).name,
        images=None if image is None else str(images) if remote else "images",
        columns=columns,
        target=outcome,
    )
    numbers = {*columns.numeric, *outcome.declared.values()}
    contents = read_table(table, as_text=set(columns.declared.values()) - numbers)
    check_columns(contents, columns.declared | outcome.declared, table)
    _check_ids(contents[content_id])
    _check_counts(contents, manifest)
    pictures: dict[str, Path] = {}
    if image is not None:
        contents[image], found = _resolved_pictures(contents, manifest, images, table)
        pictures = found
    return write_dataset(out, manifest, contents, pictures, files)


def read_table(path: str | Path, *, as_text: Collection[str] = ()) -> pd.DataFrame:
    """Read a local CSV (UTF-8, optionally compressed) or Parquet table.

    CSV columns named in `as_text` stay the text that they are ("007" keeps its zeros, "NA" may be
    a country); only an empty cell is null in them.
    """
    if not os.path.isfile(path):
        raise DatasetError(f"The table {path} does not exist: check the path.")
    try:
        if str(path).lower().endswith((".parquet", ".pq")):
            return pd.read_parquet(path)
        header = pd.read_csv(path, nrows=0).columns
        return pd.read_csv(
            path,
            dtype={name: "str" for name in header if name in as_text},
            keep_default_na=False,
            na_values={name: [""] if name in as_text else _NULLS for name in header},
            low_memory=False,
        )
    except (pa.ArrowException, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(
            f"{path} is not a readable CSV or Parquet table ({reason}): name a .parquet file or "
            "a CSV in UTF-8 with a header line."
        ) from error


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


def _check_numbers(table: pd.DataFrame, column: str, content_id: str) -> None:
    numbers = pd.to_numeric(table[column], errors="coerce")
    wrong = table[numbers.isna() | (numbers < 0) | ~np.isfinite(numbers)]
    if len(wrong) or not pd.api.types.is_numeric_dtype(table[column]):
        rows = wrong if len(wrong) else table
        raise DatasetError(
            f"{column!r} must hold counts of 0 or more, but {len(rows):,} rows do not: "
            f"{_sample(rows, content_id, column)}. Correct or remove these rows."
        )


def _check_ids(ids: pd.Series) -> None:
    if ids.isna().any():
        raise DatasetError(
            f"Every content needs an id, but {int(ids.isna().sum()):,} rows have none in "
            f"{ids.name!r}: fill them or remove the rows."
        )
    repeated = ids[ids.duplicated()]
    if len(repeated):
        raise DatasetError(
            f"Ids must be unique, but {repeated.nunique():,} values of {ids.name!r} repeat, such "
            f"as {repeated.unique()[:_SHOWN].tolist()}: name the column that tells contents apart."
        )


def _resolved_pictures(
    contents: pd.DataFrame, manifest: Manifest, images: str | Path | None, table: str | Path
) -> tuple[pd.Series, dict[str, Path]]:
    """Image cells as the dataset will have them, and the local file behind each."""
    cells = contents[str(manifest.columns.image)].astype(object)
    cells = cells.where(cells.notna() & (cells.astype(str).str.strip() != ""), None)
    names = _objects(None if cell is None else _portable(str(cell)) for cell in cells)
    if storage.is_remote(manifest.images or ""):
        return names, {}
    folder = Path(images) if images is not None else Path(table).parent
    if not folder.is_dir():
        raise DatasetError(f"The folder of pictures {folder} does not exist: check --images.")
    found: dict[str, Path] = {}
    renamed: dict[str, str] = {}
    missing: list[str] = []
    for name in names.dropna().unique():
        short = name.removeprefix(f"{folder.name}/")
        # `images/x.jpg` with --images images means images/x.jpg, as most tables are written.
        chosen = next((n for n in (name, short) if (folder / n).is_file()), None)
        if chosen is None:
            missing.append(name)
        elif ".." not in PurePosixPath(chosen).parts and not os.path.isabs(chosen):
            found[chosen], renamed[name] = folder / chosen, chosen
        else:
            raise DatasetError(
                f"Paths in the image column must stay inside {folder}, but got {chosen!r}: make "
                "them relative to that folder."
            )
    _check_found(missing, found, folder, contents, names, manifest)
    return _objects(None if name is None else renamed[name] for name in names), found


def _objects(cells: Iterable[str | None]) -> pd.Series:
    return pd.Series(list(cells), dtype=object)


def _check_found(
    missing: Sequence[str],
    found: Mapping[str, Path],
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
    large = [name for name, path in found.items() if path.stat().st_size > MAX_BYTES]
    if large:
        raise DatasetError(
            f"A picture may have {MAX_BYTES:,} bytes, but {large[:_SHOWN]} in {folder} have more: "
            "scale them down."
        )


def _portable(cell: str) -> str:
    return cell.replace("\\", "/").removeprefix("./")


def _sample(rows: pd.DataFrame, content_id: str, *columns: str) -> str:
    shown = rows.head(_SHOWN)
    parts = [
        f"{row[content_id]!s} (" + ", ".join(f"{name}={row[name]!s}" for name in columns) + ")"
        for _, row in shown.iterrows()
    ]
    return "; ".join(parts) + ("; ..." if len(rows) > _SHOWN else "")

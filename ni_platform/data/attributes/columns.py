"""Columns of attributes in a dataset folder: which may be written, and how they get there."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from ni_platform.data import storage
from ni_platform.data.attributes.extractor import Value
from ni_platform.data.dataset import Dataset
from ni_platform.data.disk import explained_disk_errors
from ni_platform.data.manifest import FILE_NAME, Manifest
from ni_platform.errors import DatasetError

REPORT_FILE = "attributes.json"
_LOCK_FILE = ".attributes.lock"

Role = Literal["text", "categorical", "vector"]
_TYPES: Mapping[Role, pa.DataType] = {
    "text": pa.string(),
    "categorical": pa.string(),
    "vector": pa.list_(pa.float32()),
}


@dataclass(frozen=True, kw_only=True)
class DerivedColumn:
    """A column to write."""

    name: str
    role: Role
    cells: Sequence[Value]
    """One per row of the dataset."""
    report: Mapping[str, Any]
    """What `attributes.json` says of it."""

    @property
    def is_empty(self) -> bool:
        """Whether every cell is null."""
        return all(cell is None for cell in self.cells)


def read_report(dataset: Dataset) -> dict[str, Any]:
    """What `attributes.json` says of each column; empty where there is no such file."""
    path = storage.join(dataset.root, REPORT_FILE)
    if not storage.exists(path):
        return {}
    try:
        report = json.loads(storage.read_bytes(path))
        return dict(report["columns"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} is not a report of `ni data attributes` ({error!r}): delete the file."
        ) from error


def check_writable(dataset: Dataset, names: Sequence[str]) -> None:
    """Raise `DatasetError` unless columns of these names can be written or replaced."""
    if storage.is_remote(dataset.root):
        raise DatasetError(
            f"Attributes are written into a local dataset folder, but got {dataset.root}: copy it "
            "with `ni data pull`, and back with `ni data push` under another prefix."
        )
    ours = {*dataset.manifest.derived, *read_report(dataset)}
    for name in names:
        if name in dataset.contents.columns and name not in ours:
            raise DatasetError(
                f"The column {name!r} of {dataset.root} was not written by `ni data attributes`, "
                "so it is not replaced: rename it in the table and in dataset.yaml."
            )


def write_columns(dataset: Dataset, columns: Sequence[DerivedColumn]) -> Dataset:
    """Write columns into the dataset's folder, replacing those of an earlier run; open it anew.

    A column without any value is written but not declared, as a model could learn nothing from
    it. At each moment the folder holds a valid dataset: the report comes first, then the table,
    whose new columns nobody reads yet, and last the manifest that declares them.

    Raises:
        DatasetError: The dataset changed since it was opened, a column of the same name is not
            ours, or the disk is full.
    """
    check_writable(dataset, ())
    root = Path(dataset.root)
    with explained_disk_errors(root), FileLock(root / _LOCK_FILE):
        current = Dataset.open(root)
        check_writable(current, [column.name for column in columns])
        _check_unchanged(dataset, current)
        report = read_report(current) | {column.name: dict(column.report) for column in columns}
        path = root / current.manifest.contents
        table = pq.read_table(path)
        for column in columns:
            table = _with_column(table, column)
        data = io.BytesIO()
        pq.write_table(table, data)
        # Made before anything is written, so that a manifest that does not fit writes nothing.
        manifest = _declaring(current.manifest, columns)
        storage.write_bytes(root / REPORT_FILE, json.dumps({"columns": report}, indent=1).encode())
        storage.write_bytes(path, data.getvalue())
        manifest.save(root / FILE_NAME)
    return Dataset.open(root)


def _check_unchanged(opened: Dataset, current: Dataset) -> None:
    columns = [opened.manifest.columns.content_id, *opened.manifest.given(_read(opened))]
    same = len(opened) == len(current) and all(
        name in current.contents and opened.contents[name].equals(current.contents[name])
        for name in columns
    )
    if not same:
        raise DatasetError(
            f"The contents table of {opened.root} changed while its attributes were computed: run "
            "the command again; what was computed is kept."
        )


def _read(dataset: Dataset) -> tuple[str, ...]:
    """Columns that attributes are computed from."""
    columns = dataset.manifest.columns
    return (*columns.text, *((columns.image,) if columns.image else ()))


def _with_column(table: pa.Table, column: DerivedColumn) -> pa.Table:
    cells = [cell.tolist() if isinstance(cell, np.ndarray) else cell for cell in column.cells]
    field = pa.field(column.name, _TYPES[column.role])
    values = pa.array(cells, type=field.type)
    position = table.schema.get_field_index(column.name)
    if position < 0:
        return table.append_column(field, values)
    return table.set_column(position, field, values)


def _declaring(manifest: Manifest, columns: Sequence[DerivedColumn]) -> Manifest:
    declared: dict[Role, tuple[str, ...]] = {
        role: tuple(getattr(manifest.columns, role)) for role in _TYPES
    }
    derived = manifest.derived
    for column in columns:
        for role, names in declared.items():
            keeps = role == column.role and not column.is_empty
            if column.name in names and not keeps:
                declared[role] = tuple(name for name in names if name != column.name)
        derived = tuple(name for name in derived if name != column.name)
        if column.is_empty:
            continue
        derived = (*derived, column.name)
        if column.name not in declared[column.role]:
            declared[column.role] = (*declared[column.role], column.name)
    roles = replace(
        manifest.columns,
        text=declared["text"],
        categorical=declared["categorical"],
        vector=declared["vector"],
    )
    return replace(manifest, columns=roles, derived=derived)

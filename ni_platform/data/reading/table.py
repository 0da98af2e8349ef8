"""A whole table: which kind of file it is, and each column as what it was declared."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from ni_platform.data import storage
from ni_platform.data.reading.csv_file import CsvFormat, Say, read_csv
from ni_platform.data.reading.labels import CellError, labels_of, scalars, text
from ni_platform.data.reading.numbers import NumberError, numbers_of
from ni_platform.data.reading.packed import is_workbook, unpacked, without_packing
from ni_platform.data.reading.parquet_file import PARQUET_MAGIC, exact_series, read_parquet
from ni_platform.errors import DatasetError

Role = Literal["label", "text", "number", "count", "vector"]
"""What a column is: a label names something and is compared, a text is read as it stands."""

_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """A table as its file holds it."""

    name: str
    """Of the file, for messages."""
    columns: pa.Table
    lines: np.ndarray | None = None
    """int64 [N]: line of the file that each row begins in; None where it has no lines."""
    form: CsvFormat = field(default_factory=CsvFormat)
    comma_country: bool = False
    """Whether decimal commas are usual where the file comes from."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """What columns are called in the file, where they are called otherwise here."""

    def place(self, row: int) -> str:
        """Where a row stands, in words."""
        if self.lines is None:
            return f"{self.name} row {row + 1}"
        return f"{self.name} line {self.lines[row]}"


def read_table(
    path: str | Path,
    roles: Mapping[str, Role],
    *,
    form: CsvFormat | None = None,
    say: Say = lambda note: None,
) -> pd.DataFrame:
    """Read a CSV or Parquet table, compressed or not, with each column as it is declared.

    Args:
        path: The file, local or `s3://`.
        roles: What the declared columns are. Those that the table lacks are left to the caller.
        form: What is known of how a CSV is written.
        say: Told what was found out about the file.

    Returns:
        RangeIndex; labels and texts as `str`, null where there is none; numbers as int64, or as
        float64 with nan where not all are whole; other columns as in the file (CSV: as text).

    Raises:
        DatasetError: The file is none of these, damaged or ambiguous, or a cell is not what its
            column was declared to be. Names line or row, value and remedy.

    """
    return typed(read_source(path, roles, form=form, say=say), roles)


def read_source(
    path: str | Path,
    wanted: Collection[str],
    *,
    form: CsvFormat | None = None,
    say: Say = lambda note: None,
) -> SourceTable:
    """Read a table as its file holds it; `wanted` are columns that its header has."""
    form, name = form or CsvFormat(), str(path)
    if os.path.isdir(path):
        raise DatasetError(
            f"{path} is a folder, and a table is one file: put the parts of one that was written "
            "in parts together, and name that file."
        )
    with storage.local_copy(path) as local, unpacked(local, name) as (stream, inner):
        data = stream.read()
    is_parquet = without_packing(inner).endswith(_PARQUET)
    if data.startswith(PARQUET_MAGIC) or is_parquet:
        return SourceTable(name=name, columns=read_parquet(data, name, wanted))
    if is_workbook(data):
        raise DatasetError(
            f"{path} is a workbook of a spreadsheet, which also holds formulas and formats: save "
            "the sheet as CSV UTF-8, and name that file."
        )
    table, lines, header = read_csv(data, name, wanted, form, say)
    return SourceTable(
        name=name,
        columns=table,
        lines=lines,
        form=form,
        comma_country=header.delimiter == ";",
    )


def typed(source: SourceTable, roles: Mapping[str, Role]) -> pd.DataFrame:
    """Return the table with each column as `roles` declares it, the others as they are."""
    table = source.columns
    found = {
        name: _column(source, name, roles.get(name)).reset_index(drop=True)
        for name in table.column_names
    }
    return pd.DataFrame(found, index=pd.RangeIndex(len(table)))


def _column(source: SourceTable, name: str, role: Role | None) -> pd.Series:
    column = source.columns[name]
    if role is None:
        return exact_series(column)
    if role == "vector":
        return pd.Series(column.to_pandas())
    try:
        if role == "label":
            return _strings(labels_of(column))
        if role == "text":
            return _texts(column)
        return numbers_of(
            column,
            whole=role == "count",
            decimal=source.form.decimal,
            comma_country=source.comma_country,
        )
    except NumberError as error:
        value = column[error.position].as_py() if len(column) else None
        title = source.titles.get(name, name)
        raise _cell_error(source.place(error.position), title, value, str(error)) from error
    except CellError as error:
        title = source.titles.get(name, name)
        raise DatasetError(f"{source.name}: column {title!r} holds {error}.") from error


def _texts(column: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _strings(column)  # a text is itself
    values = [text(value) for chunk in column.chunks for value in scalars(chunk)]
    return _strings(pa.chunked_array([values], pa.string()))


def _strings(column: pa.ChunkedArray) -> pd.Series:
    whole = column.cast(pa.large_string()).combine_chunks()
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid as error:
        raise CellError("bytes that are no UTF-8 text") from error
    return pd.Series(pd.array(whole, dtype="str"))


def _cell_error(place: str, column: str, value: Any, reason: str) -> DatasetError:
    return DatasetError(f"{place}: column {column!r} holds {value!r:.80}, which {reason}.")

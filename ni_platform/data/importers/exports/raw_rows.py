"""Files of an export as one table of its profile's fields, each cell as what the field holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ni_platform.data.importers.exports.files import ExportFile
from ni_platform.data.importers.exports.json_records import JsonRecords, owners, rows_of
from ni_platform.data.importers.exports.profile import FILE, Profile
from ni_platform.data.importers.exports.recognition import Match
from ni_platform.data.importers.exports.sections import section_rows
from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.data.reading.labels import CellError, label
from ni_platform.data.reading.table import Role, SourceTable, read_source, typed
from ni_platform.errors import DatasetError

SOURCE, LINE = "source_file", "source_line"
CELLS, WORDS = "source_cells", "source_words"
"""A hash of all cells of a row, and of those of columns that hold more than numbers: also of
columns that no field reads, as of a breakdown that the profile does not know."""
_NUMBER = r"\s*[-+]?[\d.,'’\s]*\d\s*%?\s*|\s*[-–—]*\s*"
_ROLES: dict[str, Role] = {
    "label": "label", "text": "text", "count": "count", "people": "count", "number": "number",
    "day": "text",
}  # fmt: skip


def read_raw(
    files: Sequence[tuple[ExportFile, Match]], unread: Collection[str], form: CsvFormat, say: Say
) -> pd.DataFrame:
    """Read files of one profile.

    Args:
        files: The files, with the columns of their fields.
        unread: Fields that nobody asked for, whose cells may be anything.
        form: How text tables are written.
        say: Told what was found out.

    Returns:
        A row per row, with the fields that the files have, `file`, and where the row stands.

    Raises:
        DatasetError: A cell is not what its field holds; names file, line, value and remedy.
    """
    profile = files[0][1].profile
    if profile.json is not None:
        return _json_table(files, profile, profile.json)
    tables = [_table(file, match, unread, form, say) for file, match in files]
    return pd.concat(tables, ignore_index=True)


def _table(
    file: ExportFile, match: Match, unread: Collection[str], form: CsvFormat, say: Say
) -> pd.DataFrame:
    """Fields of a table or of a report in sections, typed."""
    profile = match.profile
    fields = {name: column for name, column in match.columns.items() if name not in unread}
    if profile.sections is not None:
        counted = {
            column
            for name, column in fields.items()
            if _ROLES[profile.fields[name].holds] == "count"
        }
        rows = section_rows(file.text, profile.sections, file.name, counted)
        columns = {
            name: pa.array([row.get(column) for _, row in rows], pa.string())
            for name, column in fields.items()
        }
        lines = np.array([line for line, _ in rows], dtype=np.int64)
        source = SourceTable(name=file.name, columns=pa.table(columns), lines=lines, titles=fields)
        every = source.columns
    else:
        whole = read_source(file.path, list(fields.values()), form=form, say=say)
        every = whole.columns
        columns = {name: every[column] for name, column in fields.items()}
        source = SourceTable(
            name=file.name,
            columns=pa.table(columns),
            lines=whole.lines,
            form=whole.form,
            comma_country=whole.comma_country,
            titles=fields,
        )
    return _typed(source, profile).assign(**{FILE: file.stem}, **_hashes(every))


def _hashes(table: pa.Table) -> dict[str, np.ndarray]:
    """What rows are compared by."""
    cells = table.to_pandas().astype("str").fillna("")
    words = [name for name in cells if not cells[name].str.fullmatch(_NUMBER).all()]
    return {
        CELLS: pd.util.hash_pandas_object(cells, index=False).to_numpy(),
        WORDS: pd.util.hash_pandas_object(cells[words], index=False).to_numpy(),
    }


def _json_table(
    files: Sequence[tuple[ExportFile, Match]], profile: Profile, spec: JsonRecords
) -> pd.DataFrame:
    """Fields of all JSON documents together, typed."""
    documents = [document for file, _ in files for document in file.documents]
    paths = {name: wanted.names for name, wanted in profile.fields.items()}
    found = rows_of(documents, spec, paths)
    names = ", ".join(file.name for file, _ in files)
    if not found:
        raise DatasetError(f"{names} hold no rows at {spec.records}: export the results, too.")
    columns = {name: pa.array([_scalar(row[name]) for row in found], pa.string()) for name in paths}
    table = pa.table(columns)
    raw = _typed(SourceTable(name=names, columns=table), profile)
    _check_columns(raw, profile)
    # Rows of two documents are two exports of perhaps the same, as rows of two files are.
    places = [
        file.name if len(file.documents) == 1 else f"{file.name} document {number}"
        for file, _ in files
        for number in range(1, len(file.documents) + 1)
    ]
    source = [places[number] for number in owners(documents, spec)]
    return raw.assign(**{FILE: files[0][0].stem, SOURCE: source}, **_hashes(table))


def _scalar(value: Any) -> str | None:
    try:
        return label(value)
    except CellError:
        return None


def _typed(source: SourceTable, profile: Profile) -> pd.DataFrame:
    columns = source.columns
    for place, name in enumerate(columns.column_names):
        cells = columns[name]
        if pa.types.is_string(cells.type):
            blank = [
                None if cell is None or cell.strip() in profile.nothing else cell
                for cell in cells.to_pylist()
            ]
            columns = columns.set_column(place, name, pa.array(blank, pa.string()))
    source = replace(source, columns=columns)
    roles = {name: _ROLES[profile.fields[name].holds] for name in columns.column_names}
    table = typed(source, roles)
    for name in table:
        wanted = profile.fields[str(name)]
        if wanted.blank_is_zero:
            table[name] = table[name].fillna(0)
    lines = source.lines if source.lines is not None else np.arange(1, len(table) + 1)
    return table.assign(**{SOURCE: source.name, LINE: lines})


def _check_columns(raw: pd.DataFrame, profile: Profile) -> None:
    """Raise DatasetError where no row of a JSON export has what the profile needs."""
    lacking = [name for name in profile.required if not raw[name].notna().any()]
    if lacking:
        paths = [path for name in lacking for path in profile.fields[name].names[:1]]
        raise DatasetError(
            f"{raw[SOURCE].iloc[0]}: the profile {profile.name} needs {', '.join(lacking)} "
            f"({', '.join(paths)}), which no row has: give all files of the export."
        )

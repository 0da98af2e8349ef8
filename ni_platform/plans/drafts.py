"""Drafts from a table: what a model is to compare before anyone has seen it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath

import pandas as pd

from ni_platform.data.reading.csv_file import CsvFormat, Say, read_csv
from ni_platform.data.reading.table import Role, SourceTable, read_source, typed
from ni_platform.errors import DatasetError
from ni_platform.models.regressor import Regressor

ID = "id"
_READ: dict[str, Role] = {"numeric": "number", "text": "text", "image": "text", "vector": "vector"}


def read_drafts(
    path: str | Path,
    model: Regressor,
    *,
    id_column: str = ID,
    form: CsvFormat | None = None,
    say: Say = lambda note: None,
) -> pd.DataFrame:
    """Read a table of drafts, indexed by id; without a column of ids they are numbered from 1.

    Pictures are paths below the table's folder, or absolute, or `s3://` URIs.

    Raises:
        DatasetError: The table cannot be read exactly, has none of the columns that the model
            reads, or a draft has no id.
    """
    source = read_source(path, [*model.roles, id_column], form=form, say=say)
    if id_column != ID and id_column not in source.columns.column_names:
        raise DatasetError(
            f"--id names the column of the drafts' ids, but {path} has no column {id_column!r}; it "
            f"has {', '.join(source.columns.column_names)}: correct it, or leave it out to have "
            "drafts numbered."
        )
    table = _drafts(source, model, id_column, say)
    for name in table:
        if model.roles[str(name)] == "image":
            table[name] = [_beside(path, cell) for cell in table[name]]
    return table


def sent_drafts(
    sent: str | bytes,
    model: Regressor,
    pictures: Mapping[str, bytes] | None = None,
    *,
    say: Say = lambda note: None,
) -> pd.DataFrame:
    """Read drafts that somebody pasted or uploaded, indexed by id.

    A text is a CSV with a header, or one text per line for a model of one text; bytes are a CSV.
    Pictures are those that were sent beside it, by the name of their file: the cell of a draft
    names it, or without such a column the id does, with or without an ending. No other path is
    read: whoever sends one must not have this machine open it.

    Args:
        sent: The drafts.
        model: Says which columns are read.
        pictures: Bytes of each picture, by the name of its file.
        say: Told what was found out about the table.

    Raises:
        DatasetError: As `read_drafts`, or a picture is named that was not sent, or sent and not
            named.
    """
    table = _of_lines(sent, model) if isinstance(sent, str) else None
    if table is None:
        data = sent.encode() if isinstance(sent, str) else sent
        columns, places, _ = read_csv(data, "the drafts", [*model.roles, ID], CsvFormat(), say)
        source = SourceTable(name="the drafts", columns=columns, lines=places)
        table = _drafts(source, model, ID, say)
    for name, role in model.roles.items():
        if role == "image":
            table = table.drop(columns=name, errors="ignore").assign(
                **{name: _sent_pictures(table, name, pictures or {})}
            )
    return table


def _of_lines(text: str, model: Regressor) -> pd.DataFrame | None:
    """Drafts of one text per line; None where the first line is the header of a table."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    texts = [name for name, role in model.roles.items() if role == "text"]
    heads = {cell.strip().strip("\"'") for cell in re.split(r"[,;\t|]", "".join(lines[:1]))}
    if len(texts) != 1 or heads & set(model.roles):
        return None
    numbers = pd.Index([str(number + 1) for number in range(len(lines))], name=ID)
    return pd.DataFrame({texts[0]: lines}, index=numbers)


def _sent_pictures(table: pd.DataFrame, column: str, pictures: Mapping[str, bytes]) -> pd.Series:
    """The picture of each draft, None where it has none."""
    by_id = {PurePath(name).stem: name for name in pictures} | {name: name for name in pictures}
    if column in table:
        names = [None if pd.isna(cell) else PurePath(str(cell)).name for cell in table[column]]
    else:
        names = [by_id.get(str(draft)) for draft in table.index]
    if absent := [name for name in names if name is not None and name not in pictures]:
        raise DatasetError(
            f"A draft names the picture {absent[0]!r}, which was not sent with it: choose "
            f"its file, or leave the column {column!r} out."
        )
    if unused := sorted(set(pictures) - set(names)):
        raise DatasetError(
            f"The picture {unused[0]!r} was sent, but no draft names it: give the file a draft's "
            f"id as its name, or name it in a column {column!r}."
        )
    cells = [None if name is None else pictures[name] for name in names]
    return pd.Series(cells, index=table.index, dtype=object)


def texts_of(drafts: pd.DataFrame, model: Regressor) -> dict[str, str]:
    """All texts of each draft together, by its id."""
    names = [name for name in drafts if model.roles.get(str(name)) == "text"]
    rows = drafts[names].iterrows()
    return {str(name): " \n ".join(map(str, row[row.notna()])) for name, row in rows}


def _drafts(source: SourceTable, model: Regressor, id_column: str, say: Say) -> pd.DataFrame:
    """The columns that the model reads, indexed by id."""
    wanted: dict[str, Role] = {name: _READ.get(role, "label") for name, role in model.roles.items()}
    table = typed(source, wanted | {id_column: "label"})
    there = [name for name in model.roles if name in table]
    if not there:
        raise DatasetError(
            f"{source.name} has none of the columns that the model reads "
            f"({', '.join(model.roles)}); it has {', '.join(map(str, table.columns))}: rename them."
        )
    for name in set(model.roles) - set(there):
        say(f"{source.name} has no column {name!r}, so that drafts count as lacking it")
    if id_column not in table:
        table[id_column] = [str(number + 1) for number in range(len(table))]
    if table[id_column].isna().any():
        raise DatasetError(
            f"Each draft has an id, but a row of {source.name} has none in {id_column!r}."
        )
    return table.set_index(id_column)[there]


def _beside(table: str | Path, cell: str | None) -> str | None:
    """A picture's path as the model reads it."""
    if cell is None or pd.isna(cell) or "://" in cell:
        return cell
    return str(Path(table).absolute().parent / cell)

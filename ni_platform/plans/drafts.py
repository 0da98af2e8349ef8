"""Drafts from a table: what a model is to compare before anyone has seen it."""

from __future__ import annotations

from pathlib import Path

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
    table = _drafts(source, model, id_column, say)
    for name in table:
        if model.roles[str(name)] == "image":
            table[name] = [_beside(path, cell) for cell in table[name]]
    return table


def pasted_drafts(text: str, model: Regressor, *, say: Say = lambda note: None) -> pd.DataFrame:
    """Read drafts that somebody pasted: a CSV, or one text per line for a model of one text.

    Pictures are left out: whoever pastes a path must not have this machine read it.

    Raises:
        DatasetError: As `read_drafts`.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    texts = [name for name, role in model.roles.items() if role == "text"]
    columns = {name for name in model.roles if any(name in line for line in lines[:1])}
    if len(texts) == 1 and not columns:
        numbers = pd.Index([str(number + 1) for number in range(len(lines))], name=ID)
        return pd.DataFrame({texts[0]: lines}, index=numbers)
    table, places, _ = read_csv(text.encode(), "the drafts", [*columns, ID], CsvFormat(), say)
    source = SourceTable(name="the drafts", columns=table, lines=places)
    found = _drafts(source, model, ID, say)
    return found[[name for name in found if model.roles[str(name)] != "image"]]


def texts_of(drafts: pd.DataFrame, model: Regressor) -> list[str]:
    """All texts of drafts, those of a draft together."""
    names = [name for name in drafts if model.roles[str(name)] == "text"]
    return [" \n ".join(map(str, row[row.notna()])) for _, row in drafts[names].iterrows()]


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

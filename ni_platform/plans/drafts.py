"""Drafts from a table: what a model is to compare before anyone has seen it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.data.reading.table import Role, read_table
from ni_platform.errors import DatasetError
from ni_platform.models.regressor import Regressor

_READ: dict[str, Role] = {"numeric": "number", "text": "text", "image": "text", "vector": "vector"}


def read_drafts(
    path: str | Path,
    model: Regressor,
    *,
    id_column: str = "id",
    form: CsvFormat | None = None,
    say: Say = lambda note: None,
) -> pd.DataFrame:
    """Read a table of drafts, indexed by id; without a column of ids they are numbered from 1.

    Pictures are paths below the table's folder, or absolute, or `s3://` URIs.

    Raises:
        DatasetError: The table cannot be read exactly, has none of the columns that the model
            reads, or a draft has no id.
    """
    wanted: dict[str, Role] = {name: _READ.get(role, "label") for name, role in model.roles.items()}
    table = read_table(path, wanted | {id_column: "label"}, form=form, say=say)
    there = [name for name in model.roles if name in table]
    if not there:
        raise DatasetError(
            f"{path} has none of the columns that the model reads ({', '.join(model.roles)}); it "
            f"has {', '.join(map(str, table.columns))}: rename them."
        )
    for name in set(model.roles) - set(there):
        say(f"{path} has no column {name!r}, so that drafts count as lacking it")
    if id_column not in table:
        table[id_column] = [str(number + 1) for number in range(len(table))]
    if table[id_column].isna().any():
        raise DatasetError(f"Each draft has an id, but a row of {path} has none in {id_column!r}.")
    for name in there:
        if model.roles[name] == "image":
            table[name] = [_beside(path, cell) for cell in table[name]]
    return table.set_index(id_column)[there]


def _beside(table: str | Path, cell: str | None) -> str | None:
    """A picture's path as the model reads it."""
    if cell is None or pd.isna(cell) or "://" in cell:
        return cell
    return str(Path(table).absolute().parent / cell)

"""What a model was asked, as a key: the same question has the same key, wherever it was asked."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ni_platform.data import storage, vectors
from ni_platform.data.reading.labels import is_null, label, text

Cells = dict[str, list[str | float | None]]
"""Cells by column as they count, such as a picture's digest; None is an empty one."""


def prediction_keys(frame: pd.DataFrame, roles: Mapping[str, str]) -> NDArray[np.object_]:
    """A SHA-256 per row over the columns that a model reads, object [N].

    A draft, a served request and the row of a dataset have equal keys where they hold the same.
    Labels and numbers count by their value, texts without regard to spaces, pictures and vectors
    by their content. A column that the frame lacks counts as empty cells.

    Args:
        frame: N inputs as `Regressor.predict` takes them.
        roles: Columns that the model reads, and what they are (`Regressor.roles`).
    """
    return keys_of_cells(cells_of(frame, roles))


def cells_of(frame: pd.DataFrame, roles: Mapping[str, str]) -> Cells:
    """Read what counts of N rows, by column; arguments as those of `prediction_keys`."""
    return {
        name: _cells(frame[name], roles[name]) if name in frame else [None] * len(frame)
        for name in sorted(roles)
    }


def keys_of_cells(cells: Cells) -> NDArray[np.object_]:
    """Hash what counts: object [N]."""
    names = tuple(cells)
    return np.array(
        [
            hashlib.sha256(repr(tuple(zip(names, row))).encode()).hexdigest()
            for row in zip(*cells.values())
        ],
        dtype=object,
    )


def _cells(column: pd.Series, role: str) -> list[str | float | None]:
    if role == "vector":
        return vectors.digests(column).tolist()
    if role == "image":
        known: dict[str | bytes, str | None] = {}
        return [_picture(cell, known) for cell in column]
    read = {"numeric": _number, "text": _text}.get(role, label)
    return [read(cell) for cell in column]


def _number(cell: Any) -> float | None:
    return None if is_null(cell) else float(cell) + 0.0  # of -0.0, which is the same number


def _text(cell: Any) -> str | None:
    found = text(cell)
    return None if found is None else " ".join(unicodedata.normalize("NFC", found).split()) or None


def _picture(cell: Any, known: dict[str | bytes, str | None]) -> str | None:
    """SHA-256 of a picture's bytes, each read once; None of a missing one."""
    if is_null(cell):
        return None
    if cell not in known:
        try:
            data = cell if isinstance(cell, bytes) else storage.read_bytes(cell)
            known[cell] = hashlib.sha256(data).hexdigest()
        except storage.MissingFileError:
            known[cell] = None
    return known[cell]

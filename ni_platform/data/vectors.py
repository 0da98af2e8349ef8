"""Columns of vectors: a list of numbers per row, of one length, such as text embeddings."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from ni_platform.errors import DatasetError


def stacked(cells: pd.Series, *, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of a column as float64 [N, D], zeros where null; and which are there, bool [N].

    Args:
        cells: lists or arrays of numbers, or null.
        width: D that the vectors must have; that of the first one if not given (0 without any).

    Raises:
        DatasetError: a cell is not a list of finite numbers, or one of another length.
    """
    found: dict[int, np.ndarray] = {}
    for row, cell in enumerate(cells):
        if is_missing(cell):
            continue
        vector = _vector(cell)
        if vector is None or not len(vector) or not np.isfinite(vector).all():
            raise DatasetError(
                f"A vector must be a list of finite numbers, but row {row} of {cells.name!r} holds "
                f"{_shortened(cell)}: correct it (only Parquet tables hold lists), or empty the "
                "cell."
            )
        width = len(vector) if width is None else width
        if len(vector) != width:
            raise DatasetError(
                f"Vectors of {cells.name!r} must have {width} numbers, but row {row} has "
                f"{len(vector)}: compute the column with one encoder."
            )
        found[row] = vector
    values_ND = np.zeros((len(cells), width or 0))
    present_N = np.zeros(len(cells), dtype=bool)
    for row, vector in found.items():
        values_ND[row], present_N[row] = vector, True
    return values_ND, present_N


def digests(cells: pd.Series) -> pd.Series:
    """SHA-256 of each vector's numbers, None where null.

    float32 and float64 columns of the same numbers have the same digests.
    """
    found = [
        None if is_missing(cell) else hashlib.sha256(np.asarray(cell, "<f8").tobytes()).hexdigest()
        for cell in cells
    ]
    return pd.Series(found, dtype=object, index=cells.index, name=cells.name)


def is_missing(cell: Any) -> bool:
    """Whether a cell of a vector column is null."""
    return np.ndim(cell) == 0 and bool(pd.isna(cell))


def _vector(cell: Any) -> np.ndarray | None:
    """float64 [D], or None for anything but a flat list of numbers."""
    if isinstance(cell, str | bytes) or np.ndim(cell) != 1:
        return None
    try:
        return np.asarray(cell, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _shortened(cell: Any) -> str:
    text = " ".join(repr(cell).split())
    return text if len(text) <= 60 else f"{text[:57]}..."

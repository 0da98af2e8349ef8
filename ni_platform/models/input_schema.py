"""Which columns a model reads, what training rows say about them, and how a cell is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.data.reading.labels import CellError, is_null, label
from ni_platform.data.vectors import stacked
from ni_platform.errors import ConfigError, DatasetError

_MAX_LEVELS = 1000
"""Levels of a categorical column that are told apart; rarer ones count as unknown."""


@dataclass(frozen=True, kw_only=True)
class InputSchema:
    """Which columns a model reads, and what training rows say about their values."""

    image: str | None = None
    text: tuple[str, ...] = ()
    domain: str | None = None
    categorical: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Column and the levels that training rows have, sorted; any other level is all zeros."""
    numeric: tuple[tuple[str, float, float], ...] = ()
    """Column, mean and standard deviation over training rows."""
    vector: tuple[tuple[str, int, float, float], ...] = ()
    """Column, length, and mean and standard deviation of all its numbers over training rows."""

    @classmethod
    def fit(
        cls, dataset: Dataset, rows: Sequence[int] | np.ndarray, modalities: Collection[str]
    ) -> InputSchema:
        """Take the declared columns of `modalities`; levels and scales come from `rows` only.

        Raises:
            ConfigError: the dataset declares no column of a modality that the model reads.
        """
        columns = dataset.manifest.columns
        declared = {
            "image": columns.image,
            "text": columns.text,
            "domain": columns.domain,
            "attributes": columns.categorical + columns.numeric + columns.vector,
        }
        for modality in modalities:
            if not declared[modality]:
                has = ", ".join(name for name, value in declared.items() if value) or "none"
                raise ConfigError(
                    f"The model reads {modality}, but dataset {dataset.manifest.name!r} declares "
                    f"no column of it (declared: {has}). Declare one in dataset.yaml, or set "
                    f"model.{modality} to None."
                )
        frame = dataset.inputs(rows)
        reads_attributes = "attributes" in modalities
        categorical = columns.categorical if reads_attributes else ()
        numeric = columns.numeric if reads_attributes else ()
        vector = columns.vector if reads_attributes else ()
        return cls(
            image=columns.image if "image" in modalities else None,
            text=columns.text if "text" in modalities else (),
            domain=columns.domain if "domain" in modalities else None,
            categorical=tuple((name, levels_of(frame[name])) for name in categorical),
            numeric=tuple(_scale(frame, name) for name in numeric),
            vector=tuple(_vector_scale(dataset, frame, name) for name in vector),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        single = [name for name in (self.image, self.domain) if name is not None]
        categorical = [name for name, _ in self.categorical]
        numeric = [name for name, _, _ in self.numeric]
        vector = [name for name, *_ in self.vector]
        return (*single, *self.text, *categorical, *numeric, *vector)

    def unknown_levels(self, frame: pd.DataFrame) -> list[str]:
        """Say of each categorical column whose levels the model does not know what they are.

        Such a level counts as a missing one, so a prediction hardly rests on the column.
        """
        notes = []
        for column, levels in self.categorical:
            given = [level for cell in frame[column] if (level := category(cell)) is not None]
            unknown = [level for level in given if level not in levels]
            if unknown:
                rows = f"{len(unknown):,} of {len(given):,} rows have"
                if len(unknown) == len(given):
                    rows = "no row has a level that the model knows: all have"
                notes.append(
                    f"{column}: {rows} levels that the model does not know, such as "
                    f"{list(dict.fromkeys(unknown))[:3]}; it knows {list(levels)[:5]}"
                )
        return notes

    @property
    def attributes_width(self) -> int:
        """A: one entry per level, per numeric column and per number of a vector."""
        levels = sum(len(levels) for _, levels in self.categorical)
        return levels + len(self.numeric) + sum(width for _, width, _, _ in self.vector)


def joined_texts(frame: pd.DataFrame, columns: Sequence[str], separator: str) -> Iterator[str]:
    """The texts of each row as one, empty where all are null or blank."""
    for cells in zip(*(frame[column] for column in columns)):
        parts = [str(cell).strip() for cell in cells if not is_null(cell)]
        yield separator.join(part for part in parts if part)


def category(cell: Any) -> str | None:
    """A categorical cell as the one text of its level, None if null.

    Raises:
        DatasetError: The cell is a list, or a number that was rounded.
    """
    try:
        return label(cell)
    except CellError as error:
        raise DatasetError(
            f"A category must be one value, but got {cell!r:.80}, {error}."
        ) from error


def levels_of(cells: pd.Series) -> tuple[str, ...]:
    """Levels of a categorical column, sorted; of very many, the most frequent."""
    counts = pd.Series([category(cell) for cell in cells], dtype=object).value_counts()
    # Ties are broken by name, so that the order of rows does not matter.
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return tuple(sorted(str(level) for level, _ in ordered[:_MAX_LEVELS]))


def numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a numeric column, float64 [B], NaN where null.

    Raises:
        DatasetError: A cell is no number.
    """
    try:
        return pd.to_numeric(frame[column]).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"The numeric column {column!r} holds a cell that is not a number ({error}). "
            "Correct it, or declare the column categorical."
        ) from error


def _scale(frame: pd.DataFrame, column: str) -> tuple[str, float, float]:
    """Column, mean and standard deviation; a column without any spread is left as wide as it is."""
    values = numbers(frame, column)
    return column, *_mean_and_std(values[np.isfinite(values)])


def _vector_scale(
    dataset: Dataset, frame: pd.DataFrame, column: str
) -> tuple[str, int, float, float]:
    """Column and length in the dataset, mean and standard deviation over `frame`.

    One scale for all numbers of a vector: its directions keep their relative size.
    """
    values_ND, _ = stacked(dataset.contents[column])
    width = values_ND.shape[1]
    values_BD, known_B = stacked(frame[column], width=width)
    return column, width, *_mean_and_std(values_BD[known_B])


def _mean_and_std(values: np.ndarray) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    mean, std = float(values.mean()), float(values.std())
    # What is left of a constant column's spread is rounding.
    return mean, std if std > 1e-9 * max(1.0, abs(mean)) else 1.0

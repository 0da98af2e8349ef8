"""Attributes: one-hot levels, standardised numbers and vectors into NI Table 3's MLP2."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from pydantic import TypeAdapter

from ni_platform.data.batch import ModalityInputs
from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns
from ni_platform.data.vectors import stacked
from ni_platform.errors import DatasetError
from ni_platform.models.encoders.mlp import MLP, MLPConfig
from ni_platform.models.modalities.modality import (
    AsItIsConfig,
    ColumnRole,
    EncoderConfig,
    InputSize,
    Reader,
    VectorReader,
    category,
    modality_inputs,
)

_MAX_LEVELS = 1000
"""Levels of a categorical column that are told apart; rarer ones count as unknown."""


@dataclass(frozen=True, kw_only=True)
class AttributesReader(VectorReader):
    """Attributes to float32 [B, A]: an entry per level, numeric column and number of a vector."""

    categorical: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Column and the levels that training rows have, sorted; any other level is all zeros."""
    numeric: tuple[tuple[str, float, float], ...] = ()
    """Column, mean and standard deviation over training rows."""
    vector: tuple[tuple[str, int, float, float], ...] = ()
    """Column, length, and mean and standard deviation of all its numbers over training rows."""

    @classmethod
    def declared(cls, columns: Columns) -> tuple[str, ...]:
        """As `Reader.declared`."""
        return columns.categorical + columns.numeric + columns.vector

    @classmethod
    def fit(cls, config: Any, columns: Columns, dataset: Dataset, frame: pd.DataFrame) -> Self:
        """As `Reader.fit`."""
        return cls(
            categorical=tuple((name, levels_of(frame[name])) for name in columns.categorical),
            numeric=tuple(_scale(frame, name) for name in columns.numeric),
            vector=tuple(vector_scale(dataset, frame, name) for name in columns.vector),
        )

    @classmethod
    def load(cls, config: Any, values: Any, folder: Path) -> Self:
        """As `Reader.load`."""
        return TypeAdapter(cls).validate_python(values)

    def save(self, folder: Path) -> dict[str, Any]:
        """As `Reader.save`."""
        return asdict(self)

    @property
    def roles(self) -> dict[str, ColumnRole]:
        """As `Reader.roles`."""
        found: dict[str, ColumnRole] = dict.fromkeys(dict(self.categorical), "categorical")
        found |= {name: "numeric" for name, _, _ in self.numeric}
        return found | {name: "vector" for name, *_ in self.vector}

    @property
    def size(self) -> InputSize:
        """As `Reader.size`."""
        return InputSize(width=sum(self._widths.values()))

    @property
    def _widths(self) -> dict[str, int]:
        """Entries of each column."""
        widths = {name: len(levels) for name, levels in self.categorical}
        widths |= {name: 1 for name, _, _ in self.numeric}
        return widths | {name: width for name, width, _, _ in self.vector}

    def read(
        self,
        frame: pd.DataFrame,
        *,
        crop: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> ModalityInputs:
        """As `Reader.read`. A missing number is the mean, which is 0."""
        encoded_BA = np.zeros((len(frame), self.size.width), dtype=np.float32)
        present_B = np.zeros(len(frame), dtype=bool)
        start = 0
        for column, levels in self.categorical:
            positions = {level: position for position, level in enumerate(levels)}
            for row, cell in enumerate(frame[column]):
                level = category(cell)
                present_B[row] |= level is not None
                if level in positions:
                    encoded_BA[row, start + positions[level]] = 1
            start += len(levels)
        for column, mean, std in self.numeric:
            values_B = numbers(frame, column)
            known_B = np.isfinite(values_B)
            present_B |= known_B
            encoded_BA[known_B, start] = (values_B[known_B] - mean) / std
            start += 1
        for column, width, mean, std in self.vector:
            values_BW, known_B = stacked(frame[column], width=width)
            present_B |= known_B
            encoded_BA[known_B, start : start + width] = (values_BW[known_B] - mean) / std
            start += width
        return modality_inputs(torch.from_numpy(present_B), torch.from_numpy(encoded_BA))

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """As `Reader.levels`."""
        return dict(self.categorical)

    def unknown_levels(self, frame: pd.DataFrame) -> list[str]:
        """As `Reader.unknown_levels`.

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

    def parts(self, frame: pd.DataFrame) -> tuple[list[list[str]], list[np.ndarray]]:
        """As `VectorReader.parts`: the columns that a content has a value in."""
        share_of, start = {}, 0
        for name, width in self._widths.items():
            share = np.zeros(self.size.width)
            share[start : start + width] = 1
            share_of[name] = share
            start += width
        known = {name: frame[name].notna().to_numpy() for name in share_of}
        names = [[name for name in share_of if known[name][row]] for row in range(len(frame))]
        return names, [np.array([share_of[name] for name in found]) for found in names]

    def elements(self, frame: pd.DataFrame, names: list[list[str]]) -> list[list[Any]]:
        """As `VectorReader.elements`: columns with their level."""
        return [
            [(column, _level(frame[column].iloc[row])) for column in columns]
            for row, columns in enumerate(names)
        ]


@dataclass(frozen=True, kw_only=True)
class AttributesEncoderConfig(EncoderConfig):
    """How categorical, numeric and vector attributes are encoded."""

    reader: ClassVar[type[Reader]] = AttributesReader
    mlp: MLPConfig = field(default_factory=MLPConfig)

    def build(self, size: InputSize, skeleton: Path | None = None) -> MLP:
        """As `EncoderConfig.build`."""
        return MLP(size.width, self.mlp)


@dataclass(frozen=True, kw_only=True)
class OneHotAttributes(AsItIsConfig):
    """Attributes enter as they are read: one-hot categorical, standardised numeric."""

    reader: ClassVar[type[Reader]] = AttributesReader


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


def vector_scale(
    dataset: Dataset, frame: pd.DataFrame, column: str
) -> tuple[str, int, float, float]:
    """Column and length in the dataset, mean and standard deviation over `frame`.

    One scale for all numbers of a vector: its directions keep their relative size.
    """
    values_ND, _ = stacked(dataset.contents[column])
    width = values_ND.shape[1]
    values_BD, known_B = stacked(frame[column], width=width)
    return column, width, *mean_and_std(values_BD[known_B])


def _scale(frame: pd.DataFrame, column: str) -> tuple[str, float, float]:
    """Column, mean and standard deviation; a column without any spread is left as wide as it is."""
    values = numbers(frame, column)
    return column, *mean_and_std(values[np.isfinite(values)])


def mean_and_std(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of numbers; 1 in place of a spread that is none."""
    if not values.size:
        return 0.0, 1.0
    mean, std = float(values.mean()), float(values.std())
    # What is left of a constant column's spread is rounding.
    return mean, std if std > 1e-9 * max(1.0, abs(mean)) else 1.0


def _level(cell: object) -> str:
    if isinstance(cell, float):  # a number, which is no name of anything
        return f"{cell:.12g}"
    return str(cell.tolist() if isinstance(cell, np.ndarray) else category(cell))

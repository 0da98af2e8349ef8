"""A content as the dashboard's page holds it, on its way to the row that a model reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.errors import ContentError
from ni_platform.models.inputs import InputEncoder
from ni_platform.models.modalities.modality import category

MAX_TEXT = 20_000
"""Characters of one text; beyond it no creative is written, and an encoder reads far less."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A content that is being looked at or edited. All cells are text; blank is missing."""

    row: int | None = None
    """Row of the past content that it started from; what the page does not edit stays its own."""
    domain: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    """By column."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Categorical and numeric ones, by column."""
    picture: str | None = None
    """Reference: `content:ROW` of a past content, `upload:ID`, or None."""

    @classmethod
    def of(cls, dataset: Dataset, inputs: InputEncoder, row: int) -> Self:
        """The past content in a row of the dataset, in the columns that the model reads."""
        cells = dataset.contents.iloc[row]
        columns = dataset.manifest.columns
        known = set(dataset.contents.columns)
        numeric = [name for name in inputs.columns("numeric") if name in known]
        categorical = [name for name in inputs.columns("categorical") if name in known]
        uri = None if dataset.image_uri is None else dataset.image_uri.iloc[row]
        return cls(
            row=row,
            domain="" if columns.domain is None else category(cells[columns.domain]) or "",
            texts={name: _text(cells[name]) for name in columns.text},
            attributes={name: category(cells[name]) or "" for name in categorical}
            | {name: _figure(cells[name]) for name in numeric},
            picture=None if uri is None else f"content:{row}",
        )

    def with_text(self, column: str, text: str) -> Self:
        """The same with another text."""
        return replace(self, texts={**self.texts, column: text})

    def frame(self, dataset: Dataset, inputs: InputEncoder, picture: Any) -> pd.DataFrame:
        """The one row that a model reads, with `picture` (bytes, path, URI or None) as its image.

        Raises:
            ContentError: a column that there is not, a number that is none, a text too long.
        """
        cells = self._kept(dataset, inputs)
        cells |= dict.fromkeys(inputs.columns("image"), picture)
        cells |= dict.fromkeys(inputs.columns("domain"), self.domain.strip() or None)
        for column, text in self.texts.items():
            if column not in dataset.manifest.columns.text:
                raise ContentError(_unknown("text", column, dataset.manifest.columns.text))
            if len(text) > MAX_TEXT:
                raise ContentError(
                    f"A text has at most {MAX_TEXT:,} characters, but {column} has {len(text):,}: "
                    "shorten it."
                )
            cells[column] = text.strip() or None
        categorical, numeric = inputs.columns("categorical"), inputs.columns("numeric")
        for column, text in self.attributes.items():
            if column in numeric:
                cells[column] = _number(column, text)
            elif column in categorical:
                cells[column] = text.strip() or None
            else:
                raise ContentError(_unknown("attribute", column, (*categorical, *numeric)))
        return pd.DataFrame({name: pd.Series([cells.get(name)], dtype=object) for name in cells})

    def _kept(self, dataset: Dataset, inputs: InputEncoder) -> dict[str, Any]:
        """The cells of the past content, which the page's own then replace."""
        cells: dict[str, Any] = dict.fromkeys(inputs.roles)
        if self.row is not None:
            if not 0 <= self.row < len(dataset):
                raise ContentError(f"Rows run from 0 to {len(dataset) - 1}, but got {self.row}.")
            past = dataset.inputs([self.row])
            cells |= {name: past[name].iloc[0] for name in inputs.roles if name in past}
        return cells


def _text(cell: Any) -> str:
    missing = cell is None or (not isinstance(cell, str) and bool(pd.isna(cell)))
    return "" if missing else str(cell)


def _figure(cell: Any) -> str:
    """A number in six digits, which no prediction hangs on."""
    if cell is None or bool(pd.isna(cell)):
        return ""
    value = float(cell)
    return str(int(value)) if value.is_integer() else f"{value:.6g}"


def _number(column: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ContentError(f"{column} is a number, but got {text[:40]!r}: write one such as 7.99.")
    return value


def _unknown(what: str, column: str, known: tuple[str, ...]) -> str:
    return f"There is no {what} {column[:40]!r}: it is one of {', '.join(known) or 'none'}."

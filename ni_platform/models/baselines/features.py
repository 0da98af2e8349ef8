"""Handcrafted features of contents, for regressors that read a table of numbers.

Attributes and domain one-hot or standardised, simple measures of the texts and their words, in
the spirit of the industrial system that NI compares with (NI Section 6, its reference 60).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from pydantic import TypeAdapter
from torch import Tensor

from ni_platform.data.dataset import Dataset
from ni_platform.models.inputs import check_columns
from ni_platform.models.modalities.attributes import AttributesReader, levels_of, mean_and_std
from ni_platform.models.modalities.modality import ColumnRole
from ni_platform.models.modalities.text import joined_texts
from ni_platform.narrowing import of_kind

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import CountVectorizer

_MAX_WORDS = 20_000
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class TableFeatures:
    """What is read and how it is scaled; `fit` makes it from training rows."""

    text: tuple[str, ...] = ()
    """Text columns."""
    attributes: AttributesReader
    """Attributes, and the domain as one more category."""
    domain: str | None = None
    """Its column."""
    words: tuple[str, ...] = ()
    """Words that are features of their own: those of at least two training texts."""
    text_mean: tuple[float, ...] = ()
    text_std: tuple[float, ...] = ()

    @classmethod
    def fit(cls, dataset: Dataset, rows: np.ndarray, modalities: Collection[str]) -> Self:
        """Levels, scales and words of dataset rows; a modality without columns is left out."""
        columns = dataset.manifest.columns
        frame = dataset.inputs(rows)
        attributes = AttributesReader()
        if "attributes" in modalities:
            attributes = AttributesReader.fit(None, columns, dataset, frame)
        domain = columns.domain if "domain" in modalities else None
        if domain is not None:
            category = (domain, levels_of(frame[domain]))
            attributes = replace(attributes, categorical=(*attributes.categorical, category))
        if not columns.text or "text" not in modalities:
            return cls(attributes=attributes, domain=domain)
        texts = list(joined_texts(frame, columns.text, " "))
        scales = [mean_and_std(measure) for measure in _text_measures(texts).T]
        return cls(
            text=columns.text,
            attributes=attributes,
            domain=domain,
            words=_vocabulary(texts),
            text_mean=tuple(mean for mean, _ in scales),
            text_std=tuple(std for _, std in scales),
        )

    def transform(self, frame: pd.DataFrame) -> sp.csr_matrix:
        """Sparse features [N, F] of raw rows.

        Raises:
            DatasetError: a column is missing, or a numeric cell is not a number.
        """
        check_columns(self.roles, frame)
        blocks: list[sp.csr_matrix | np.ndarray] = []
        if self.attributes.roles:
            (encoded,) = self.attributes.read(frame).tensors
            blocks.append(of_kind(encoded, Tensor).numpy())
        if self.text:
            texts = list(joined_texts(frame, self.text, " "))
            blocks.append((_text_measures(texts) - self.text_mean) / self.text_std)
            if self.words:
                blocks.append(_counter(vocabulary=self.words).transform(texts))
        if not blocks:  # neither text nor attributes: the mean rate is all there is to learn
            blocks.append(np.zeros((len(frame), 1)))
        return sp.hstack([sp.csr_matrix(block) for block in blocks], format="csr")

    @property
    def roles(self) -> dict[str, ColumnRole]:
        """The columns that are read, and what they are."""
        found: dict[str, ColumnRole] = dict.fromkeys(self.text, "text")
        found |= self.attributes.roles
        return found if self.domain is None else found | {self.domain: "domain"}

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Rebuild from `to_dict`; raises pydantic's ValidationError for anything else."""
        if "schema" in values:  # saved in format 2, where the domain is one of the categories
            older = values["schema"]
            attributes = {
                role: older.get(role, ()) for role in ("categorical", "numeric", "vector")
            }
            words = {name: value for name, value in values.items() if name != "schema"}
            values = {"text": older["text"], "attributes": attributes, **words}
        return TypeAdapter(cls).validate_python(values)


def _counter(**options: Any) -> CountVectorizer:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(binary=True, token_pattern=_WORD.pattern, **options)


def _vocabulary(texts: list[str]) -> tuple[str, ...]:
    """Words of at least two texts; none where there is no such word."""
    if not any(_WORD.search(text) for text in texts):
        return ()
    try:
        counter = _counter(min_df=2, max_features=_MAX_WORDS).fit(texts)
    except ValueError:  # no word occurs in two texts
        return ()
    return tuple(str(word) for word in counter.get_feature_names_out())


def _text_measures(texts: list[str]) -> np.ndarray:
    """Length, words, word length, digits, capitals, and marks of each text, float64 [N, 9]."""
    rows = []
    for text in texts:
        words = _WORD.findall(text)
        rows.append(
            (
                len(text),
                len(words),
                sum(map(len, words)) / max(1, len(words)),
                sum(map(str.isdigit, text)),
                sum(word.isupper() and len(word) > 1 for word in words),
                sum(word.istitle() for word in words) / max(1, len(words)),
                text.count("?"),
                text.count("!"),
                sum(text.count(mark) for mark in "\"'“”‘’"),
            )
        )
    return np.array(rows, dtype=np.float64).reshape(len(texts), 9)

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
from ni_platform.data.images import ImageInput
from ni_platform.models.input_schema import InputSchema, joined_texts, levels_of
from ni_platform.models.inputs import InputEncoder
from ni_platform.narrowing import of_kind

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import CountVectorizer

_MAX_WORDS = 20_000
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class TableFeatures:
    """What is read and how it is scaled; `fit` makes it from training rows."""

    schema: InputSchema
    """Attributes and domain, all read as attributes; and the text columns."""
    words: tuple[str, ...] = ()
    """Words that are features of their own: those of at least two training texts."""
    text_mean: tuple[float, ...] = ()
    text_std: tuple[float, ...] = ()

    @classmethod
    def fit(cls, dataset: Dataset, rows: np.ndarray, modalities: Collection[str]) -> Self:
        """Levels, scales and words of dataset rows; a modality without columns is left out."""
        schema = _schema(dataset, rows, modalities)
        if not schema.text:
            return cls(schema=schema)
        texts = list(joined_texts(dataset.inputs(rows), schema.text, " "))
        measures = _text_measures(texts)
        spread = measures.std(axis=0)
        return cls(
            schema=schema,
            words=_vocabulary(texts),
            text_mean=tuple(measures.mean(axis=0).tolist()),
            text_std=tuple(np.where(spread > 0, spread, 1.0).tolist()),
        )

    def transform(self, frame: pd.DataFrame) -> sp.csr_matrix:
        """Sparse features [N, F] of raw rows.

        Raises:
            DatasetError: a column is missing, or a numeric cell is not a number.
        """
        attributes = replace(self.schema, text=())
        encoder = InputEncoder(attributes, ImageInput(), None, 0)
        blocks: list[sp.csr_matrix | np.ndarray] = []
        if attributes.columns:
            (encoded,) = encoder.encode(frame).modalities["attributes"].tensors
            blocks.append(of_kind(encoded, Tensor).numpy())
        if self.schema.text:
            texts = list(joined_texts(frame, self.schema.text, " "))
            blocks.append((_text_measures(texts) - self.text_mean) / self.text_std)
            if self.words:
                blocks.append(_counter(vocabulary=self.words).transform(texts))
        if not blocks:  # neither text nor attributes: the mean rate is all there is to learn
            blocks.append(np.zeros((len(frame), 1)))
        return sp.hstack([sp.csr_matrix(block) for block in blocks], format="csr")

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Rebuild from `to_dict`; raises pydantic's ValidationError for anything else."""
        return TypeAdapter(cls).validate_python(values)


def _schema(dataset: Dataset, rows: np.ndarray, modalities: Collection[str]) -> InputSchema:
    columns = dataset.manifest.columns
    declared = {
        "text": columns.text,
        "attributes": columns.categorical + columns.numeric + columns.vector,
    }
    read = [name for name, has in declared.items() if has and name in modalities]
    schema = InputSchema.fit(dataset, rows, read)
    if columns.domain is None or "domain" not in modalities:
        return schema
    domain = (columns.domain, levels_of(dataset.inputs(rows)[columns.domain]))
    return replace(schema, categorical=(*schema.categorical, domain))


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
                sum(character.isdigit() for character in text),
                sum(word.isupper() and len(word) > 1 for word in words),
                sum(word.istitle() for word in words) / max(1, len(words)),
                text.count("?"),
                text.count("!"),
                sum(text.count(mark) for mark in "\"'“”‘’"),
            )
        )
    return np.array(rows, dtype=np.float64).reshape(len(texts), 9)

"""The reference of NI Table 1: a generalized linear model on handcrafted features.

A binomial model with a logit link and a ridge penalty on attributes, domain, simple features of
the texts and their words, in the spirit of the industrial system that NI compares with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit

from ni_platform.data.dataset import Dataset
from ni_platform.data.overdispersion import precision
from ni_platform.errors import DatasetError
from ni_platform.models.inputs import (
    ImageInput,
    InputEncoder,
    InputSchema,
    joined_texts,
    levels_of,
)

INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
"""Candidates for the inverse of the ridge penalty, where a content weighs 1 on average."""

_MAX_WORDS = 20_000
_HELD_OUT = 0.2
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class BinomialGLM:
    """A fitted model; `fit` makes it."""

    schema: InputSchema
    """Attributes and domain, all read as attributes; and the text columns."""
    words: CountVectorizer | None
    text_mean: np.ndarray
    text_std: np.ndarray
    inverse_penalty: float
    """The candidate that predicted held-out training contents best."""
    regression: LogisticRegression

    @classmethod
    def fit(
        cls, dataset: Dataset, rows: Sequence[int] | np.ndarray, *, seed: int = 0
    ) -> BinomialGLM:
        """Fit on `rows` of the dataset; a fifth of their A/B tests chooses the penalty.

        Contents are weighted by the precision of their rate.

        Raises:
            DatasetError: fewer than two of the rows have impressions.
        """
        shown: np.ndarray = np.asarray(rows, dtype=np.int64)
        shown = shown[dataset.impressions[shown] > 0]
        if len(shown) < 2:
            raise DatasetError("A GLM is fitted on at least two contents with impressions.")
        schema = _schema(dataset, shown)
        frame = dataset.inputs(shown)
        texts = list(joined_texts(frame, schema.text, " ")) if schema.text else []
        measures = _text_measures(texts)
        spread = measures.std(axis=0) if len(texts) else np.ones(0)
        unfitted = cls(
            schema=schema,
            words=_vocabulary(texts),
            text_mean=measures.mean(axis=0) if len(texts) else np.zeros(0),
            text_std=np.where(spread > 0, spread, 1.0),
            inverse_penalty=1.0,
            regression=LogisticRegression(),
        )
        features = unfitted.features(frame)
        rate = dataset.success_rate[shown]
        weight = precision(rate, dataset.impressions[shown])
        penalty = _choose_penalty(features, rate, weight, _groups(dataset, shown), seed)
        return replace(
            unfitted,
            inverse_penalty=penalty,
            regression=_regression(features, rate, weight, penalty),
        )

    def features(self, frame: pd.DataFrame) -> sp.csr_matrix:
        """Sparse features [N, F] of raw rows."""
        attributes = replace(self.schema, text=())
        encoder = InputEncoder(attributes, ImageInput(), None, 0)
        blocks: list[sp.csr_matrix | np.ndarray] = []
        if attributes.columns:
            blocks.append(encoder.encode(frame).attributes_BA.numpy())  # type: ignore[union-attr]
        if self.schema.text:
            texts = list(joined_texts(frame, self.schema.text, " "))
            blocks.append((_text_measures(texts) - self.text_mean) / self.text_std)
            if self.words is not None:
                blocks.append(self.words.transform(texts))
        if not blocks:  # neither text nor attributes: the mean rate is all there is to learn
            blocks.append(np.zeros((len(frame), 1)))
        return sp.hstack([sp.csr_matrix(block) for block in blocks], format="csr")

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Predicted success rates, float64 [N] in (0, 1)."""
        if not len(frame):
            return np.zeros(0)
        return np.asarray(self.regression.predict_proba(self.features(frame))[:, 1])


def _schema(dataset: Dataset, rows: np.ndarray) -> InputSchema:
    columns = dataset.manifest.columns
    modalities = {
        "text": columns.text,
        "attributes": columns.categorical + columns.numeric,
    }
    schema = InputSchema.fit(dataset, rows, [name for name, has in modalities.items() if has])
    if columns.domain is None:
        return schema
    domain = (columns.domain, levels_of(dataset.inputs(rows)[columns.domain]))
    return replace(schema, categorical=(*schema.categorical, domain))


def _vocabulary(texts: list[str]) -> CountVectorizer | None:
    """Words of at least two texts, present or not; None where there is no such word."""
    words = CountVectorizer(
        binary=True, min_df=2, max_features=_MAX_WORDS, token_pattern=_WORD.pattern
    )
    if not any(_WORD.search(text) for text in texts):
        return None
    try:
        return words.fit(texts)
    except ValueError:  # no word occurs in two texts
        return None


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


def _groups(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """A/B test of each row, or the row itself."""
    tests = dataset.ab_test.iloc[rows]
    return np.array(
        [f"row {row}" if pd.isna(test) else f"test {test}" for row, test in zip(rows, tests)]
    )


def _choose_penalty(
    features: sp.csr_matrix, rate: np.ndarray, weight: np.ndarray, groups: np.ndarray, seed: int
) -> float:
    if len(set(groups)) < 5:
        return 1.0
    split = GroupShuffleSplit(n_splits=1, test_size=_HELD_OUT, random_state=seed)
    fitted, held_out = next(split.split(features, groups=groups))

    def deviance(penalty: float) -> float:
        model = _regression(features[fitted], rate[fitted], weight[fitted], penalty)
        expected = model.predict_proba(features[held_out])[:, 1].clip(1e-9, 1 - 1e-9)
        observed = rate[held_out]
        terms = observed * np.log(expected) + (1 - observed) * np.log(1 - expected)
        return -float(weight[held_out] @ terms)

    return min(INVERSE_PENALTIES, key=deviance)


def _regression(
    features: sp.csr_matrix, rate: np.ndarray, weight: np.ndarray, inverse_penalty: float
) -> LogisticRegression:
    """Binomial regression of rates: each content once as a success and once as a failure."""
    success = np.repeat([1, 0], len(rate))
    share = np.concatenate([weight * rate, weight * (1 - rate)])
    if not share[: len(rate)].any() or not share[len(rate) :].any():
        raise DatasetError(
            "A GLM is fitted on contents whose success rates are not all 0 or all 1, "
            "but these are. Check the outcome columns."
        )
    model = LogisticRegression(C=inverse_penalty, max_iter=1000)
    return model.fit(sp.vstack([features, features]), success, sample_weight=share)

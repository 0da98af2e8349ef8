"""What past contents say of drafts: the nearest ones, and drafts that are unlike all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from ni_platform.data.dataset import Dataset
from ni_platform.models.regressor import Regressor

_SAMPLE = 500
_MOST = 50_000
"""Contents that drafts are compared with; of more, as many are drawn."""
_UNLIKE = 0.01
"""Share of past contents that are less like another one than what counts as unlike all."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """Contents of a dataset that a model learned from."""

    dataset: Dataset

    @classmethod
    def open(cls, data: str) -> Past:
        """Open a dataset folder, local or `s3://`."""
        return cls(dataset=Dataset.open(data))

    def compared(self, frame: pd.DataFrame, model: Regressor) -> pd.DataFrame:
        """Return `nearest`, `nearest_rate`, `similarity`, `caution` and `judged` of each draft.

        The nearest past content is that whose texts share most letters with the draft's (cosine of
        TF-IDF of three to five letters); nulls where the model reads no text. A draft is not judged
        whose text is unlike all of the past, or that has a level which the past lacks; `caution`
        says so, and which modalities are missing.

        Args:
            frame: N drafts with the columns that the model reads.
            model: Says which columns are texts, and which are levels.
        """
        rows = len(frame)
        nearest: list[str | None] = [None] * rows
        rate, likeness = np.full((2, rows), np.nan)
        unknown: list[list[str]] = [[] for _ in range(rows)]
        texts = [name for name, role in model.roles.items() if role == "text"]
        texts = [name for name in texts if name in self.dataset.contents]
        if texts:
            place, likeness, least = self._nearest(_joined(frame, texts), texts)
            nearest = self.dataset.content_id.iloc[place].tolist()
            rate = self.dataset.success_rate[place]
            for row in np.flatnonzero(likeness < least):
                unknown[row].append("its text is unlike all that the model learned from")
        for name, levels in self._levels(model.roles).items():
            known = frame[name].isna() | frame[name].astype(str).isin(levels)
            for row in np.flatnonzero(~known.to_numpy()):
                unknown[row].append(f"{name} {frame[name].iloc[row]!r} was never seen")
        said = [list(dict.fromkeys(words)) for words in unknown]
        for name in model.roles:
            for row in np.flatnonzero(frame[name].isna().to_numpy()):
                said[row].append(f"it has no {name}")
        cautions = [", ".join(words) or None for words in said]
        found = {"nearest_rate": rate, "similarity": likeness, "judged": [not w for w in unknown]}
        table = pd.DataFrame(found, index=pd.RangeIndex(rows))
        # As objects: a column of texts would turn None into NaN.
        table.insert(0, "nearest", pd.Series(nearest, dtype=object))
        return table.assign(caution=pd.Series(cautions, dtype=object))

    def place(self, rates: np.ndarray) -> np.ndarray:
        """Share of past contents that got a lower rate than each of some [N]; nan for nan."""
        past = np.sort(self.dataset.success_rate[self.dataset.impressions > 0])
        share = np.searchsorted(past, rates) / max(1, len(past))
        return np.where(np.isnan(rates), np.nan, share)

    def _nearest(self, drafts: pd.Series, texts: list[str]) -> tuple[np.ndarray, np.ndarray, float]:
        """Row of the nearest past content [N], the likeness [N], and what is unlike all."""
        rng = np.random.default_rng(0)
        rows = np.sort(rng.permutation(len(self.dataset))[:_MOST])
        past = _joined(self.dataset.contents.iloc[rows], texts)
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=1)
        known = letters.fit_transform(past)
        likeness = letters.transform(drafts) @ known.T
        sample = rng.permutation(len(past))[:_SAMPLE]
        among = (known[sample] @ known.T).toarray()
        # A text that stands there twice says nothing of how unlike texts are.
        among[past.to_numpy()[sample][:, None] == past.to_numpy()[None, :]] = -1
        least = float(np.quantile(among.max(axis=1), _UNLIKE))
        place = np.asarray(likeness.argmax(axis=1)).ravel()
        return rows[place], np.asarray(likeness.max(axis=1).todense()).ravel(), least

    def _levels(self, roles: Mapping[str, str]) -> dict[str, set[str]]:
        """Levels of each label that the past has."""
        names = [name for name, role in roles.items() if role in ("categorical", "domain")]
        there = [name for name in names if name in self.dataset.contents]
        return {name: set(self.dataset.contents[name].dropna().astype(str)) for name in there}


def _joined(frame: pd.DataFrame, texts: list[str]) -> pd.Series:
    cells = frame[texts].astype(object).where(frame[texts].notna(), "")
    return cells.agg(" ".join, axis=1)

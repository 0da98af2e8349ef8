"""Contents with a prediction and what was observed: the state that every metric is computed from.

Workers that score different rows merge their rows with `ScoredContents.concatenate` and compute
once: a rank correlation is never the mean of per-worker correlations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ni_platform.data.assignment import MISMATCHED
from ni_platform.errors import NiError

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


class EvaluationError(NiError):
    """Predictions and outcomes that cannot be compared."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was observed of N contents, and which of them belong together; all columns are [N].

    Labels may be strings, objects or integers; None, NaN and negative integers mean "none".
    """

    clicks: ArrayLike
    impressions: ArrayLike
    ab_test: Any = None
    """The A/B test of each content. Intervals resample whole tests, else groups, else contents."""
    group: Any = None
    """What contents outside of A/B tests share, such as the picture."""
    inputs: Any = None
    """What a model may read: metrics ending in `_distinct` leave out pairs that share it."""
    success_rate: ArrayLike | None = None
    """clicks / impressions unless given."""
    overdispersion: ArrayLike | None = None
    """Variance of observed rates in units of the binomial one; 1 unless given."""

    @classmethod
    def of(cls, table: pd.DataFrame) -> Observed:
        """Take the columns of a table of predictions, which names inputs `content_key`.

        Contents that are not `judged` count as never shown.
        """
        names = ("clicks", "impressions", "ab_test", "group", "success_rate")
        columns: dict[str, Any] = {name: table[name].to_numpy() for name in names}
        # Runs of earlier versions took all noise for binomial.
        noise = table["overdispersion"].to_numpy() if "overdispersion" in table else None
        columns["impressions"] = np.where(is_judged(table), columns["impressions"], 0)
        return cls(**columns, inputs=table["content_key"].to_numpy(), overdispersion=noise)

    def rows(self, chosen: Any) -> Observed:
        """Return some of the rows, by an index of numpy."""
        columns: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            columns[field.name] = None if column is None else np.asarray(column)[chosen]
        return Observed(**columns)


def is_judged(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows of a table of predictions figures count, bool [N].

    They were shown, and are from no A/B test without the planned shares of impressions. A run of an
    earlier version, which does not say so, counts them all.
    """
    shown = table["impressions"].to_numpy() > 0
    return shown & (table["evidence"] != MISMATCHED).to_numpy() if "evidence" in table else shown


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that `is_judged` chooses."""
    return table[is_judged(table)]


@dataclass(frozen=True, kw_only=True)
class ScoredContents:
    """N contents with predicted and observed success rates; build it with `of`."""

    prediction: Floats
    """Predicted success rate [N]."""
    success_rate: Floats
    """Observed success rate [N]."""
    clicks: Floats
    impressions: Floats
    """Positive [N]: contents that nobody saw have no observed rate and are left out by `of`."""
    ab_test: NDArray[Any]
    """Label of the A/B test [N], None for a content that is not from one."""
    group: NDArray[Any]
    """Label of the cluster of contents that are not from an A/B test [N], such as the picture;
    None for a content that stands alone."""
    inputs: NDArray[Any]
    """Label of what a model may read of the content [N]: contents with equal labels are the same
    to every model. None for a content like no other."""
    overdispersion: Floats
    """Variance of the observed rate in units of the binomial one [N]."""

    @classmethod
    def of(cls, prediction: ArrayLike, observed: Observed) -> ScoredContents:
        """Check the columns (each [N]) and leave out contents without impressions.

        Raises EvaluationError.
        """
        columns = {
            "prediction": np.asarray(prediction, dtype=np.float64),
            "clicks": np.asarray(observed.clicks, dtype=np.float64),
            "impressions": np.asarray(observed.impressions, dtype=np.float64),
        }
        size = len(columns["prediction"])
        labels = {
            name: _labels(getattr(observed, name), size) for name in ("ab_test", "group", "inputs")
        }
        columns["overdispersion"] = np.ones(size)
        if observed.overdispersion is not None:
            columns["overdispersion"] = np.asarray(observed.overdispersion, dtype=np.float64)
        if observed.success_rate is not None:
            columns["success_rate"] = np.asarray(observed.success_rate, dtype=np.float64)
        for name, column in (columns | labels).items():
            if column.shape != (size,):
                raise EvaluationError(
                    f"Every column must hold one value per prediction ({size}), but {name} has "
                    f"shape {column.shape}; pass columns of the same rows."
                )
        seen = columns["impressions"] > 0
        kept = {name: column[seen] for name, column in (columns | labels).items()}
        if "success_rate" not in kept:
            kept["success_rate"] = kept["clicks"] / kept["impressions"]
        scored = cls(**kept)
        scored._check()
        return scored

    @classmethod
    def concatenate(cls, parts: Sequence[ScoredContents]) -> ScoredContents:
        """The rows of all parts: merge states, then compute."""
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            }
        )

    def __len__(self) -> int:
        return len(self.prediction)

    @cached_property
    def test_codes(self) -> Codes:
        """A number from 0 per A/B test [N], -1 for a content that is not from one."""
        return _factorize(self.ab_test)

    @cached_property
    def input_codes(self) -> Codes:
        """A number from 0 per distinct label of inputs [N]; different where there is no label."""
        codes = _factorize(self.inputs)
        alone = codes < 0
        codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
        return codes

    @cached_property
    def has_twins(self) -> bool:
        """Whether an A/B test has two contents with the same inputs."""
        in_test = self.test_codes >= 0
        pairs = np.stack([self.test_codes[in_test], self.input_codes[in_test]], axis=1)
        return len(np.unique(pairs, axis=0)) < len(pairs)

    @cached_property
    def cluster_codes(self) -> Codes:
        """A number from 0 per cluster [N]: the A/B test, else the group, else the content."""
        codes = self.test_codes.copy()
        outside = np.flatnonzero(codes < 0)
        grouped = _factorize(self.group[outside])
        alone = grouped < 0
        grouped[alone] = grouped.max(initial=-1) + 1 + np.arange(alone.sum())
        codes[outside] = codes.max(initial=-1) + 1 + grouped
        return codes

    def _check(self) -> None:
        if not len(self):
            raise EvaluationError(
                "Metrics need at least one content with impressions, but there is none; evaluate "
                "a part of the split that is not empty. (Contents of A/B tests without the planned "
                "shares of impressions do not count: `ni data check` lists them.)"
            )
        for name in ("prediction", "success_rate", "clicks", "impressions", "overdispersion"):
            bad = np.flatnonzero(~np.isfinite(getattr(self, name)))
            if len(bad):
                raise EvaluationError(
                    f"Every {name} must be a finite number, but {len(bad)} of {len(self)} are not "
                    f"(first: row {bad[0]}); look for NaN in training or in the outcome columns."
                )
        bad = np.flatnonzero((self.clicks < 0) | (self.clicks > self.impressions))
        if len(bad):
            row = bad[0]
            raise EvaluationError(
                f"0 <= clicks <= impressions must hold, but {len(bad)} rows break it (first: row "
                f"{row} with {self.clicks[row]:g} clicks and {self.impressions[row]:g} "
                "impressions); correct the outcome columns."
            )


def _labels(labels: Any, size: int) -> NDArray[Any]:
    """Labels as objects, None where there is none."""
    if labels is None:
        return np.full(size, None, dtype=object)
    series = pd.Series(labels)
    missing = series.isna().to_numpy(copy=True)
    if pd.api.types.is_integer_dtype(series.dtype):
        missing |= (series < 0).fillna(value=True).to_numpy(dtype=bool)
    values = series.to_numpy(dtype=object).copy()
    values[missing] = None
    return values


def _factorize(labels: NDArray[Any]) -> Codes:
    """A number from 0 per distinct label, -1 for None."""
    codes, _ = pd.factorize(labels, use_na_sentinel=True)
    return codes.astype(np.int64)

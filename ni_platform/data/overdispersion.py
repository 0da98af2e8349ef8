"""How far a content's observed success rate can be trusted.

Rates scatter by more than clicks given impressions: arms of one A/B test between which nothing is
known to differ, twins, show by how much.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ni_platform.data import vectors
from ni_platform.data.dataset import Dataset
from ni_platform.narrowing import given

MIN_FREEDOM = 20
"""Twins, beyond the first of each kind, with fewer of which it is not estimated."""


def precision(rate: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    """Weight of each content, 1 / (1 / n + rho), scaled to 1 on average; float64 [N].

    With n impressions a rate has binomial noise, and rates of different contents differ by more
    than that: overdispersion rho by moments (Williams 1982, "Extra-binomial variation in logistic
    linear models"). Without overdispersion the weights are the impressions.
    """
    mean = float(np.clip(rate.mean(), 1e-9, 1 - 1e-9))
    excess = ((rate - mean) ** 2).mean() / (mean * (1 - mean)) - (1 / impressions).mean()
    weight = 1 / (1 / impressions + max(0.0, float(excess)))
    return np.asarray(weight / weight.mean())


def empirical_logit(clicks: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    """Logits log((c + 1/2) / (n - c + 1/2)) of c clicks of n impressions, float64 [N]."""
    return np.asarray(np.log((clicks + 0.5) / (impressions - clicks + 0.5)))


def logit_noise(clicks: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    """Binomial variances 1 / (n p (1 - p)) of `empirical_logit`, p = (c + 1/2) / (n + 1), [N].

    Infinite without impressions.
    """
    rate = (clicks + 0.5) / (impressions + 1)
    with np.errstate(divide="ignore"):
        return np.asarray(1 / (impressions * rate * (1 - rate)))


def overdispersion(twin: np.ndarray, clicks: np.ndarray, impressions: np.ndarray) -> float:
    """Variance of logits among twins, in units of the binomial one; at least 1.

    Pearson's estimate (McCullagh and Nelder 1989, section 4.5.2): the mean square of what twins
    differ by. 1 with fewer than `MIN_FREEDOM` of them beyond the first of each kind.

    Args:
        twin: numbers from 0 [N], equal for arms of one test between which nothing is known to
            differ.
        clicks: of N arms.
        impressions: of N arms, positive.
    """
    logit = empirical_logit(clicks, impressions)
    weight = 1 / logit_noise(clicks, impressions)
    total = np.bincount(twin, weight)
    mean = np.bincount(twin, weight * logit) / total
    squares = np.sum(weight * (logit - mean[twin]) ** 2)
    freedom = _freedom(twin)
    return max(1.0, float(squares / freedom)) if freedom >= MIN_FREEDOM else 1.0


def dataset_overdispersion(dataset: Dataset, rows: np.ndarray) -> float:
    """As `overdispersion`, of those `rows` that are arms of A/B tests.

    Twins agree in every column of the table, read by models or not, but ids, outcomes and the day,
    which follows from them; in pictures by their bytes. A row that is named twice counts once.
    """
    columns, manifest = dataset.manifest.columns, dataset.manifest
    apart = {columns.content_id, columns.ab_test, columns.arm, columns.share, columns.day}
    apart |= set(manifest.derived)
    apart |= set(manifest.target.declared.values())
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    rows = rows[(dataset.impressions[rows] > 0) & dataset.ab_test.notna().to_numpy()[rows]]
    told = dataset.contents.iloc[rows]
    told = told[[name for name in told if name not in apart]]
    for name in set(columns.vector).intersection(told):  # a derived one says nothing new
        told = told.assign(**{name: vectors.digests(told[name])})
    pictures = [] if columns.image is None else [str(columns.image)]
    twin = _twins(dataset.ab_test.iloc[rows], told.drop(columns=pictures))
    # Bytes of pictures are only read where they can tell.
    if pictures and _freedom(twin) >= MIN_FREEDOM:
        digests = given(dataset.image_digests).iloc[rows]
        twin = _twins(dataset.ab_test.iloc[rows], told.assign(**{pictures[0]: digests}))
    return overdispersion(twin, dataset.clicks[rows], dataset.impressions[rows])


def _twins(ab_test: pd.Series, told: pd.DataFrame) -> np.ndarray:
    # What is neither text nor number, such as a list, has no hash.
    told = told.astype({name: str for name in told if told[name].dtype == object})
    keys = [ab_test, *(told[name] for name in told)]
    return np.asarray(told.groupby(keys, sort=False, dropna=False).ngroup())


def _freedom(twin: np.ndarray) -> int:
    """Twins beyond the first of each kind."""
    return len(twin) - int(twin.max(initial=-1)) - 1

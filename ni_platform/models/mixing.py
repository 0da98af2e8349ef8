"""Several predictions made one: the mean of their logits, by weights that outcomes decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit

from ni_platform.errors import DatasetError

EDGE = 1e-13
"""Rates closer to 0 or 1 count as so far away, which is a logit of 30."""
_LEAST_WEIGHT = 1e-3
"""What weighs less is left out: it moves no logit by a hundredth, and costs as much as the rest."""
_STEPS = 100
"""Of Newton's method for the levels; it takes fewer than ten."""


def mixed(rates_KN: Sequence[np.ndarray], weights_K: Sequence[float] | np.ndarray) -> np.ndarray:
    """Success rates, float64 [N], whose logits are the weighted means of those of K predictions."""
    return np.asarray(expit(np.asarray(weights_K) @ logits_of(np.stack(rates_KN))))


def logits_of(rates: np.ndarray) -> np.ndarray:
    """Logits of success rates, finite for 0 and 1."""
    return np.asarray(logit(np.clip(rates, EDGE, 1 - EDGE)))


def fit_weights(
    rates_KN: Sequence[np.ndarray],
    clicks_N: np.ndarray,
    impressions_N: np.ndarray,
    tests_N: np.ndarray,
) -> np.ndarray:
    """Weights [K], at least 0 and 1 in sum, with which K predictions fit outcomes best.

    They minimise the binomial log loss of the clicks, where a content's logit is the weighted mean
    plus a level of its A/B test that is fitted beside the weights and then forgotten. Who was
    asked and when decides the level of a test. No content tells it, and without levels of their
    own its scatter would drown what the predictions say of arms. So what counts is how arms of one
    test differ, by order and by distance, each as far as its impressions tell. The loss is convex.
    A factor is not fitted: the mean keeps the scale that the models' own losses gave them.

    Args:
        rates_KN: K predictions of the success rates of N contents.
        clicks_N: of each content.
        impressions_N: of each content; those without any do not count.
        tests_N: A/B test of each content, null for none. Where no test has two arms that were
            shown, all contents count as arms of one.

    Raises:
        DatasetError: the outcomes tell no arms apart.
    """
    shown = np.asarray(impressions_N) > 0
    tests = pd.Series(tests_N)[shown].reset_index(drop=True)
    if not tests.dropna().duplicated().any():
        tests = pd.Series(0, index=tests.index)
    table = pd.DataFrame({"test": tests, "clicks": clicks_N[shown], "shown": impressions_N[shown]})
    sums = table.groupby("test")[["clicks", "shown"]].transform("sum")
    # One arm alone fits any weights, and so do arms of which all were always or never clicked.
    tells = (
        tests.duplicated(keep=False) & (sums["clicks"] > 0) & (sums["clicks"] < sums["shown"])
    ).to_numpy()
    if not tells.any():
        raise DatasetError(
            "Weights of an ensemble are fitted to outcomes of validation contents that differ, but "
            f"none of the {len(table):,} that were shown tell arms apart: use a dataset with more "
            "clicks, or a larger validation part."
        )
    table = table[tells]
    loss = _Loss(
        logits_NK=logits_of(np.stack(rates_KN, axis=1)[shown][tells]),
        clicks_N=table["clicks"].to_numpy(np.float64),
        impressions_N=table["shown"].to_numpy(np.float64),
        test_N=np.unique(table["test"], return_inverse=True)[1],
    )
    return _least(loss)


@dataclass(frozen=True, kw_only=True)
class _Loss:
    """Binomial log loss of arms whose tests have the levels that fit best."""

    logits_NK: np.ndarray
    clicks_N: np.ndarray
    impressions_N: np.ndarray
    test_N: np.ndarray

    def __call__(self, weights_K: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss per click and its gradient [K]: at the best levels these have none."""
        x_N = self.logits_NK @ weights_K
        x_N = x_N + self._levels(x_N)[self.test_N]
        loss_N = self.impressions_N * np.logaddexp(0, x_N) - self.clicks_N * x_N
        excess_N = self.impressions_N * expit(x_N) - self.clicks_N
        total = self.clicks_N.sum()
        return loss_N.sum() / total, excess_N @ self.logits_NK / total

    def _levels(self, x_N: np.ndarray) -> np.ndarray:
        """Levels [T] at which a test's expected clicks are its clicks, by Newton in a bracket."""
        clicks_T, impressions_T = self._sums(self.clicks_N), self._sums(self.impressions_N)
        middle_N = logit(clicks_T / impressions_T)[self.test_N] - x_N
        low_T = np.full(len(clicks_T), np.inf)
        high_T = -low_T
        np.minimum.at(low_T, self.test_N, middle_N)
        np.maximum.at(high_T, self.test_N, middle_N)
        level_T = (low_T + high_T) / 2
        for _ in range(_STEPS):
            rate_N = expit(level_T[self.test_N] + x_N)
            excess_T = self._sums(self.impressions_N * rate_N) - clicks_T
            if (np.abs(excess_T) <= 1e-12 * impressions_T).all():
                break
            low_T = np.where(excess_T < 0, level_T, low_T)
            high_T = np.where(excess_T > 0, level_T, high_T)
            slope_T = self._sums(self.impressions_N * rate_N * (1 - rate_N))
            newton_T = level_T - excess_T / np.maximum(slope_T, 1e-300)
            inside_T = (newton_T >= low_T) & (newton_T <= high_T)
            level_T = np.where(inside_T, newton_T, (low_T + high_T) / 2)
        return level_T

    def _sums(self, values_N: np.ndarray) -> np.ndarray:
        return np.bincount(self.test_N, weights=values_N)


def _least(loss: _Loss) -> np.ndarray:
    """The weights of least loss, from equal ones on; equal predictions keep equal weights."""
    count = loss.logits_NK.shape[1]
    start = np.full(count, 1 / count)
    # In units of what members differ by, so that the solver's tolerance means the same everywhere.
    scale = max(float(np.ptp(loss(start)[1])), EDGE)

    def scaled(weights_K: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient_K = loss(weights_K)
        return value / scale, gradient_K / scale

    found = minimize(
        scaled,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 1000},
    ).x
    kept = np.where(found < _LEAST_WEIGHT, 0, found)
    return kept / kept.sum()

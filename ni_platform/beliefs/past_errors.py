"""How far a model was off on past tests that it did not train on, as its run recorded them.

A model that does not say itself how sure it is gets its uncertainty from here: intervals of rates,
of differences between arms of one test, and the chance that one beats another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit

from ni_platform.beliefs.arms import SizedTests, gathered
from ni_platform.beliefs.prior import Prior
from ni_platform.data.loading import ab_test_codes
from ni_platform.errors import DatasetError
from ni_platform.metrics.pair_probability import PredictedPairs
from ni_platform.metrics.pairs import distinct_pairs
from ni_platform.metrics.scored import Floats, judged
from ni_platform.tracking.run_queries import has_artifact, read_table_artifact
from ni_platform.tracking.store import Store

_VALIDATION = "predictions/validation.parquet"
_POINTS, _WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
"""Of a mean over a standard normal variable (Gauss and Hermite)."""
_MOST_SHIFT, _MOST_DEVIATION = 20.0, 3.0
"""In logits; wider than any that is met."""


@dataclass(frozen=True, kw_only=True)
class PastErrors:
    """What past tests show of a model's predictions."""

    prior: Prior
    """Of differences within a test."""
    shift: float
    """True logits less predicted ones, the mean."""
    deviation: float
    """Of the true logits of arms about the predicted ones and the shift, levels included."""

    @classmethod
    def of(cls, table: pd.DataFrame) -> PastErrors | None:
        """Learn them from predictions of contents that the model did not train on.

        None where fewer than `FEWEST_TESTS` of them are randomised A/B tests of clicks.

        Args:
            table: As `predictions/validation.parquet` of a run.
        """
        try:
            tests, noise = past_tests(table)
        except DatasetError:  # of ratings, which are no counts of clicks
            return None
        prior = Prior.fit(tests, noise, with_model=True)
        if prior is None:
            return None
        table = judged(table)
        counts = table["clicks"].to_numpy(np.float64), table["impressions"].to_numpy(np.float64)
        shift, deviation = _of_rates(_logits(table), *counts, noise)
        # Few clicks may show no deviation at all; that within tests is a part of it.
        return cls(prior=prior, shift=shift, deviation=max(deviation, prior.deviation))

    def pairs(self, table: pd.DataFrame) -> PredictedPairs:
        """What the model says of each pair of arms of a test whose inputs differ.

        Args:
            table: A table of predictions; pairs are counted among its rows.
        """
        logits = self.prior.slope * _logits(table)
        codes, key = ab_test_codes(table["ab_test"]), table["content_key"].to_numpy()
        first, second = distinct_pairs(codes, key)
        return PredictedPairs(
            first=first,
            second=second,
            difference=logits[first] - logits[second],
            variance=np.full(len(first), 2 * self.prior.deviation**2),
            overdispersion=self.prior.overdispersion,
        )


def past_tests(table: pd.DataFrame) -> tuple[list[SizedTests], float]:
    """Randomised A/B tests of a table of predictions, and the overdispersion of their rates.

    The model's own uncertainty is not in the table, so that it counts as none.

    Raises:
        DatasetError: Counts are no whole numbers.
    """
    table = judged(table)
    table = table[table["ab_test"].notna()]
    if table.empty:
        return [], 1.0
    noise = float(table["overdispersion"].iloc[0]) if "overdispersion" in table else 1.0
    counts = (table["clicks"].to_numpy(np.float64), table["impressions"].to_numpy(np.float64))
    return gathered(ab_test_codes(table["ab_test"]), *counts, _logits(table), {}), noise


def recorded_validation(store: Store, run_id: str | None) -> pd.DataFrame | None:
    """Predictions of validation contents that a run recorded; None where it has none."""
    if run_id is None or not has_artifact(store, run_id, _VALIDATION):
        return None
    return read_table_artifact(store, run_id, _VALIDATION)


def recorded_past_errors(store: Store, run_id: str | None) -> PastErrors | None:
    """What the validation part of a run shows of its model; None where it shows too little."""
    table = recorded_validation(store, run_id)
    return None if table is None else PastErrors.of(table)


def _of_rates(
    logits: Floats, clicks: Floats, impressions: Floats, noise: float
) -> tuple[float, float]:
    """Mean and standard deviation of true logits about predicted ones, by moments of rates.

    True logits are taken as normal about the shifted prediction. Rates have the mean and variance
    that this gives them, however few clicks there are; logits of observed counts have not: with one
    click expected of an arm, they lie too high by 0.2 on average, and by 0.4 weighted by what each
    count itself says of its noise.

    Args:
        logits: Predicted [N].
        clicks: Of N contents.
        impressions: Of N contents, positive.
        noise: Variance of observed rates in units of the binomial one.
    """
    rate = clicks / impressions

    def surplus(shift: float) -> float:
        return float(np.sum(clicks - impressions * expit(logits + shift)))

    usual = expit(logits + _crossing(surplus, -_MOST_SHIFT, _MOST_SHIFT))
    # An arm that few saw says little; what it is seen to have must not decide how much.
    weight = 1 / (1 + noise / (impressions * _binomial(usual)))

    def moments(shift: float, deviation: float) -> tuple[Floats, Floats]:
        """Mean of rates and variance of observed ones, two [N]."""
        mean, square = np.zeros_like(rate), np.zeros_like(rate)
        for point, part in zip(_POINTS, _WEIGHTS / _WEIGHTS.sum()):
            true = expit(logits + shift + deviation * point)
            mean += part * true
            square += part * true**2
        return mean, square - mean**2 + noise * (mean - square) / impressions

    def shift_of(deviation: float) -> float:
        def off(shift: float) -> float:
            mean, _ = moments(shift, deviation)
            return float(np.sum(weight * (rate - mean) / _binomial(mean)))

        return _crossing(off, -_MOST_SHIFT, _MOST_SHIFT)

    def excess(deviation: float) -> float:
        mean, variance = moments(shift_of(deviation), deviation)
        spread = ((rate - mean) ** 2 - variance) / _binomial(mean) ** 2
        return float(np.sum(weight**2 * spread))

    deviation = _crossing(excess, 0.0, _MOST_DEVIATION)
    return shift_of(deviation), deviation


def _binomial(rate: Floats) -> Floats:
    """Variance of a single view, which rounding must not make 0."""
    return np.asarray(np.maximum(rate * (1 - rate), 1e-12))


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function is 0, or the end that is nearer to it."""
    if falling(low) <= 0:
        return low
    return high if falling(high) >= 0 else float(brentq(falling, low, high, xtol=1e-4))


def _logits(table: pd.DataFrame) -> np.ndarray:
    return np.asarray(logit(table["prediction"].to_numpy(np.float64)))

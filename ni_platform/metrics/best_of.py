"""How much the best of many looks better than it is: bootstrap bias correction.

Who takes the best of many predictors on the same contents also takes the luckiest. BBC
(Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the out-of-sample predictions for
efficient and accurate cross-validation") repeats the choice: contents are resampled as whole A/B
tests, the best predictor in the bag is taken and judged on the contents that are not in the bag.
The mean over replicates estimates how good the chosen one is. It leans to the cautious side, as a
bag holds fewer different contents than there are.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from ni_platform.metrics.catalogue import family_of, lower_is_better
from ni_platform.metrics.intervals import COVERAGE, Estimate, Resampling
from ni_platform.metrics.scored import EvaluationError, Observed, ScoredContents

MIN_CLUSTERS = 20
"""Independent A/B tests, groups or contents; of fewer, bags differ too little in what they hold."""


@dataclass(frozen=True, kw_only=True)
class BestOfMany:
    """The best of many predictors on the contents it was chosen by, and corrected for that."""

    metric: str
    chosen: int
    """Row of the predictor that is best on all contents."""
    apparent: float
    """Its metric on them."""
    corrected: Estimate
    """What it is expected to be on other such contents, and the middle 95 % of replicates."""
    predictors: int
    """Among how many the choice was repeated."""

    @property
    def optimism(self) -> float:
        """How much better the chosen one looks than it is expected to be."""
        sign = 1 if lower_is_better(self.metric) else -1
        return sign * (self.corrected.value - self.apparent)


def best_of_many(
    metric: str,
    predictions: NDArray[np.floating],
    observed: Observed,
    *,
    replicates: int = 200,
    seed: int = 0,
) -> BestOfMany:
    """Estimate the optimism of taking the best of K predictors by a metric on N contents.

    `predictions` [K, N] of the N contents that were observed.

    Raises:
        EvaluationError: fewer than two predictors, or fewer than 20 independent A/B tests (groups,
            contents), or a metric that is not defined here.

    """
    if len(predictions) < 2:
        raise EvaluationError(
            f"the best of many needs at least two predictors, but there are {len(predictions)}"
        )
    contents = ScoredContents.of(predictions[0], observed)
    predictions = predictions[:, np.asarray(observed.impressions) > 0]
    codes = contents.cluster_codes
    clusters = int(codes.max()) + 1
    if clusters < MIN_CLUSTERS:
        raise EvaluationError(
            f"at least {MIN_CLUSTERS} independent A/B tests, groups or contents are needed to "
            f"resample them, but there are {clusters}"
        )
    resampling = Resampling.of(codes, replicates=replicates, seed=seed)
    family = family_of(metric)
    sign = -1.0 if lower_is_better(metric) else 1.0
    values_KR = np.stack(
        [family(_with(contents, row), resampling)[metric].values for row in predictions]
    )
    best_R = np.where(np.isfinite(values_KR), sign * values_KR, -np.inf).argmax(axis=0)
    judged = np.array(
        [
            _outside(metric, _with(contents, predictions[best]), weights[resampling.blocks] == 0)
            for weights, best in zip(resampling.weights[1:], best_R[1:])
        ]
    )
    judged, apparent = judged[np.isfinite(judged)], float(values_KR[best_R[0], 0])
    if not len(judged) or not np.isfinite(apparent):
        raise EvaluationError(f"{metric} is not defined on these {len(contents)} contents")
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(judged, [tail, 1 - tail])
    return BestOfMany(
        metric=metric,
        chosen=int(best_R[0]),
        apparent=apparent,
        corrected=Estimate(float(judged.mean()), float(low), float(high)),
        predictors=len(predictions),
    )


def _with(contents: ScoredContents, prediction: NDArray[np.floating]) -> ScoredContents:
    return replace(contents, prediction=np.asarray(prediction, dtype=np.float64))


def _outside(metric: str, contents: ScoredContents, outside_N: NDArray[np.bool_]) -> float:
    """The metric of the contents that a bag does not hold; NaN where there are none."""
    if not outside_N.any():
        return float("nan")
    rows = ScoredContents(
        **{field.name: getattr(contents, field.name)[outside_N] for field in fields(contents)}
    )
    alone = Resampling.of(rows.cluster_codes, replicates=0, seed=0)
    return family_of(metric)(rows, alone)[metric].value

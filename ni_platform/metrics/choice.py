"""The choice among a few predictors: the simplest that is as good as the best, luck allowed for.

Breiman, Friedman, Olshen and Stone (1984, "Classification and Regression Trees", Section 3.4.3)
take the simplest model whose error is within one standard error of the smallest ("one-standard-
error rule"; Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", Section 7.10).
All predictors are judged on the same contents here, so it is the standard error of the paired
difference that counts, with whole A/B tests resampled: how hard the tests are cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ni_platform.metrics.catalogue import lower_is_better
from ni_platform.metrics.evaluation import mean_draws
from ni_platform.metrics.scored import EvaluationError, Observed


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of K predictors was chosen, and how far each is behind the best."""

    metric: str
    chosen: int
    """The first that is behind the best by no more than one standard error of that difference."""
    best: int
    """The one of the best figure."""
    behind: tuple[float, ...]
    """How much worse than the best each is, 0 or more; NaN where its metric is not defined."""
    standard_errors: tuple[float, ...]
    """Of those differences; 0 for the best itself."""


def choose(
    metric: str,
    predictions: Sequence[ArrayLike],
    observed: Observed,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Choice:
    """Choose among K predictions of the same N contents, the simplest predictor first.

    Where a standard error is not defined (fewer than two A/B tests, groups or contents), no
    predictor is taken for better than a simpler one.

    Raises:
        EvaluationError: there is no predictor, or the metric is defined for none of them.

    """
    draws = [mean_draws(metric, [one], observed, replicates, seed) for one in predictions]
    sign = -1.0 if lower_is_better(metric) else 1.0
    values = np.array([sign * found.value for found in draws])
    if not np.isfinite(values).any():
        contents = len(np.asarray(observed.clicks))
        raise EvaluationError(
            f"{metric} is defined for none of {len(draws)} predictors of {contents} contents; "
            "choose by another metric, or on more contents"
        )
    best = int(np.nanargmax(values))
    differences = [draws[best].less(found) for found in draws]
    behind = [sign * found.value for found in differences]
    errors = [found.standard_error for found in differences]
    # Neither "behind by more" nor its contrary holds of NaN: a standard error that is not known
    # speaks for no predictor, a metric that is not known against its own.
    chosen = next(
        k for k in range(len(draws)) if np.isfinite(behind[k]) and not behind[k] > errors[k]
    )
    return Choice(
        metric=metric,
        chosen=chosen,
        best=best,
        behind=tuple(behind),
        standard_errors=tuple(errors),
    )

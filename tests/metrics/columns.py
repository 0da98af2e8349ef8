"""The metrics called with columns, as the tests plant them."""

from __future__ import annotations

from typing import Any

from ni_platform.metrics import best_of, evaluation
from ni_platform.metrics.intervals import Estimate
from ni_platform.metrics.scored import Observed, ScoredContents


def observed(clicks: Any, impressions: Any, **labels: Any) -> Observed:
    """What was observed."""
    return Observed(clicks=clicks, impressions=impressions, **labels)


def scored_contents(
    prediction: Any, clicks: Any, impressions: Any, **labels: Any
) -> ScoredContents:
    """As `ScoredContents.of`."""
    return ScoredContents.of(prediction, observed(clicks, impressions, **labels))


def evaluate(
    prediction: Any,
    clicks: Any,
    impressions: Any,
    replicates: int = 1000,
    seed: int = 0,
    **labels: Any,
) -> dict[str, Estimate]:
    """As `evaluation.evaluate`."""
    found = observed(clicks, impressions, **labels)
    return evaluation.evaluate(prediction, found, replicates=replicates, seed=seed)


def paired_difference(
    metric: str, a: Any, b: Any, clicks: Any, impressions: Any, percent: bool = False, **labels: Any
) -> Estimate:
    """As `evaluation.paired_difference`."""
    found = observed(clicks, impressions, **labels)
    return evaluation.paired_difference(metric, a, b, found, percent=percent)


def best_of_many(
    metric: str,
    predictions: Any,
    clicks: Any,
    impressions: Any,
    replicates: int = 200,
    seed: int = 0,
    **labels: Any,
) -> best_of.BestOfMany:
    """As `best_of.best_of_many`."""
    found = observed(clicks, impressions, **labels)
    return best_of.best_of_many(metric, predictions, found, replicates=replicates, seed=seed)

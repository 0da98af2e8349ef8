"""Every metric of a slice at once, and the comparison of two predictions of the same contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ni_platform.metrics.catalogue import METRICS, families, family_of
from ni_platform.metrics.intervals import Draws, Estimate, Resampling, ratio
from ni_platform.metrics.rank_correlation import correlation_metrics
from ni_platform.metrics.scored import Observed, ScoredContents


def evaluate(
    prediction: ArrayLike, observed: Observed, *, replicates: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """All metrics of N predicted success rates, each with a 95 % interval.

    Contents without impressions are left out. `replicates=0` gives values without intervals.
    Beside the metrics of `METRICS` come `n_contents`, `n_tests` (with at least two contents here),
    `n_pairs_within` and `n_pairs_significant`, whose `low` and `high` are NaN. Raises
    EvaluationError.
    """
    scored = ScoredContents.of(prediction, observed)
    return evaluate_scored(scored, replicates=replicates, seed=seed)


def evaluate_scored(
    scored: ScoredContents, *, replicates: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """`evaluate` of rows that were checked, or merged from workers, before."""
    resampling = Resampling.of(scored.cluster_codes, replicates=replicates, seed=seed)
    estimates: dict[str, Estimate] = {}
    for family in families():
        for name, draws in family(scored, resampling).items():
            estimates[name] = _estimate(name, draws)
    tests = np.bincount(scored.test_codes[scored.test_codes >= 0])
    estimates["n_contents"] = Estimate(float(len(scored)))
    estimates["n_tests"] = Estimate(float(np.count_nonzero(tests > 1)))
    return estimates


def evaluate_deviations(
    deviation: ArrayLike,
    observed_deviation: ArrayLike,
    observed: Observed,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Correlations of predicted with observed standard deviations [N] of distributions.

    `spearman_std` and `pearson_std`, the columns SPRC(std.) and LCC(std.) of M2FN Tables 4 to 6.
    """
    scored = ScoredContents.of(deviation, replace(observed, success_rate=observed_deviation))
    resampling = Resampling.of(scored.cluster_codes, replicates=replicates, seed=seed)
    found = correlation_metrics(scored, resampling)
    return {f"{name}_std": draws.estimate() for name, draws in found.items()}


def evaluate_by_domain(
    prediction: ArrayLike,
    observed: Observed,
    domain: Any,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """`evaluate` of each domain: a row per domain in alphabetical order.

    The columns are `domain` and, per metric, METRIC, METRIC_low and METRIC_high (a count has no
    interval). Contents without a domain or without impressions are left out.
    """
    predicted = np.asarray(prediction)
    domains = pd.Series(np.asarray(domain, dtype=object))
    known = domains.notna().to_numpy() & (np.asarray(observed.impressions) > 0)
    named = domains.astype(str).to_numpy(dtype=object)
    rows: dict[str, dict[str, float]] = {}
    for name in sorted(set(named[known])):
        part = known & (named == name)
        found = evaluate(predicted[part], observed.rows(part), replicates=replicates, seed=seed)
        rows[name] = _flat(found)
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename_axis("domain").reset_index()


def paired_difference(
    metric: str,
    prediction_a: ArrayLike,
    prediction_b: ArrayLike,
    observed: Observed,
    *,
    replicates: int = 1000,
    seed: int = 0,
    percent: bool = False,
) -> Estimate:
    """Metric of prediction A less that of prediction B on the same contents.

    Both see the same replicates, so what they share cancels and the interval is that of the
    difference. `percent=True` gives the change of A against B in percent of B (NI Table 1).
    Raises EvaluationError for a metric that `evaluate` does not know.
    """
    a, b = (
        mean_draws(metric, [prediction], observed, replicates, seed)
        for prediction in (prediction_a, prediction_b)
    )
    return (percent_change(a, b) if percent else a.less(b)).estimate()


def averaged(
    metric: str,
    predictions: Sequence[ArrayLike],
    observed: Observed,
    *,
    reference: Sequence[ArrayLike] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Mean of a metric over several trainings' predictions [N] of the same contents.

    The interval is that of the mean over resampled contents, the same for every training; how
    far trainings differ from one another is not in it. With a `reference` (predictions of another
    model) it is the change against the reference's mean in percent, on the same replicates.
    Raises EvaluationError for a metric that `evaluate` does not know.
    """
    found = mean_draws(metric, predictions, observed, replicates, seed)
    if reference is not None:
        found = percent_change(found, mean_draws(metric, reference, observed, replicates, seed))
    return found.estimate()


def change_versus(
    reference: Mapping[str, Estimate], candidate: Mapping[str, Estimate]
) -> dict[str, float]:
    """Change of the candidate in percent of the reference, as NI Table 1 reports it.

    Negative is better for `rmse` and `mae`, positive for the pairwise accuracies; NaN where
    either is undefined.
    """
    return {
        name: float(
            100
            * ratio(
                np.array(candidate[name].value - reference[name].value),
                np.array(reference[name].value),
            )
        )
        for name, metric in METRICS.items()
        if metric.compared and name in reference and name in candidate
    }


def estimate_in(table: pd.DataFrame, name: str) -> Estimate | None:
    """Return the figure SLICE/METRIC of a table of figures, if it has it.

    Columns: slice, metric, value, low, high.
    """
    part, _, metric = name.rpartition("/")
    found = table[(table["slice"] == part) & (table["metric"] == metric)]
    return None if found.empty else Estimate(*found[["value", "low", "high"]].iloc[0].astype(float))


def mean_draws(
    metric: str,
    predictions: Sequence[ArrayLike],
    observed: Observed,
    replicates: int,
    seed: int,
) -> Draws:
    """The mean of a metric over predictions, on the same replicates for all of them.

    Raises EvaluationError for a metric that `evaluate` does not know.
    """
    family = family_of(metric)
    draws = []
    for prediction in predictions:
        scored = ScoredContents.of(prediction, observed)
        resampling = Resampling.of(scored.cluster_codes, replicates=replicates, seed=seed)
        draws.append(family(scored, resampling)[metric])
    values = np.mean([draw.values for draw in draws], axis=0)
    return Draws(values, min(draw.clusters for draw in draws))


def percent_change(a: Draws, b: Draws) -> Draws:
    """Change of `a` in percent of the size of `b`, draw by draw; positive where `a` is higher."""
    less = a.less(b)
    return Draws(100 * ratio(less.values, np.abs(b.values)), less.clusters)


def _estimate(name: str, draws: Draws) -> Estimate:
    if name == "calibration_error":
        return draws.reversed_estimate(minimum=0.0)
    return draws.estimate()


def _flat(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, estimate in estimates.items():
        row[name] = estimate.value
        if not name.startswith("n_"):
            row[f"{name}_low"], row[f"{name}_high"] = estimate.low, estimate.high
    return row

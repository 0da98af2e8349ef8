"""Every metric: what it is called, which way is better, and what estimates it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from ni_platform.metrics.calibration import calibration_metrics
from ni_platform.metrics.error import error_metrics
from ni_platform.metrics.intervals import Draws, Resampling
from ni_platform.metrics.noise_ceiling import noise_ceiling_metrics
from ni_platform.metrics.pairwise import all_pairs_metrics, within_test_metrics
from ni_platform.metrics.rank_correlation import correlation_metrics
from ni_platform.metrics.scored import EvaluationError, ScoredContents

MetricFamily = Callable[[ScoredContents, Resampling], dict[str, Draws]]
"""Estimates metrics that share their sums."""

LOSS = "loss"
"""What a training minimises; it depends on the config, so it is no metric of a test part."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric of predicted success rates."""

    label: str
    """What a person is shown."""
    family: MetricFamily | None = None
    """None: it judges no predicted rates, but probabilities of pairs (`pair_probability`), or the
    data."""
    unit: str = ""
    """Of the success rate, a share of pairs, or none."""
    lower_is_better: bool = False
    headline: bool = True
    """Whether a person is shown it first, in the order of `METRICS`."""
    compared: bool = False
    """Whether its change against the GLM is reported in percent (NI Table 1)."""
    shown: tuple[str, ...] = ()
    """The slices of which MLflow shows it; a run's table holds it for every slice."""
    counted: str = "n_contents"
    """The count of what it rests on."""
    of_deviations: str | None = None
    """The metric of rates that does the same, of one that compares standard deviations."""


_BOTH = ("validation", "test")
_TEST = ("test",)


def _pairs(label: str, counted: str) -> dict[str, Metric]:
    return {
        f"pairwise_{counted}": Metric(
            label=label,
            family=within_test_metrics,
            unit="share of pairs",
            compared=True,
            shown=_BOTH,
            counted=f"n_pairs_{counted}",
        ),
        f"ceiling_{counted}": Metric(
            label="  its noise ceiling",
            family=noise_ceiling_metrics,
            unit="share of pairs",
            shown=_TEST,
            counted=f"n_pairs_{counted}",
        ),
    }


METRICS: dict[str, Metric] = {
    "rmse": Metric(
        label="RMSE",
        family=error_metrics,
        unit="success rate",
        lower_is_better=True,
        compared=True,
        shown=_BOTH,
    ),
    "mae": Metric(
        label="MAE", family=error_metrics, unit="success rate", lower_is_better=True, compared=True
    ),
    "r2": Metric(label="R²", family=error_metrics),
    "spearman": Metric(label="Spearman", family=correlation_metrics, shown=_BOTH),
    "pearson": Metric(label="Pearson", family=correlation_metrics),
    "spearman_std": Metric(
        label="Spearman, deviations", family=correlation_metrics, of_deviations="spearman"
    ),
    "pearson_std": Metric(
        label="Pearson, deviations", family=correlation_metrics, of_deviations="pearson"
    ),
    "pairwise_accuracy": Metric(
        label="pairwise, all pairs",
        family=all_pairs_metrics,
        unit="share of pairs",
        compared=True,
        shown=_BOTH,
    ),
    **_pairs("pairwise, within tests", "within"),
    **_pairs("pairwise, significant", "significant"),
    **_pairs("within tests, inputs differ", "within_distinct"),
    **_pairs("significant, inputs differ", "significant_distinct"),
    "overdispersion": Metric(label="noise, in binomial ones", lower_is_better=True),
    "calibration_slope": Metric(label="calibration slope", family=calibration_metrics, shown=_BOTH),
    "calibration_intercept": Metric(
        label="calibration intercept", family=calibration_metrics, headline=False
    ),
    "calibration_error": Metric(
        label="calibration error",
        family=calibration_metrics,
        unit="success rate",
        lower_is_better=True,
        headline=False,
    ),
    "pair_log_loss": Metric(
        label="P(A beats B), log loss",
        lower_is_better=True,
        shown=_BOTH,
        counted="n_pairs_within",
    ),
    "pair_slope": Metric(label="P(A beats B), slope", counted="n_pairs_within"),
    "pair_coverage": Metric(
        label="differences within their 95 % interval",
        unit="share of pairs",
        counted="n_pairs_within",
    ),
}
"""By the name under which runs record it, after the slice: `test/rmse`."""

HEADLINE = {name: metric.label for name, metric in METRICS.items() if metric.headline}
"""The metrics that a person is shown first, in this order, and what they are called there."""


def families() -> tuple[MetricFamily, ...]:
    """Return what estimates all metrics of rates, each once."""
    return tuple(dict.fromkeys(m.family for m in METRICS.values() if m.family is not None))


def lower_is_better(name: str) -> bool:
    """Whether a metric is an error; so is the loss of a training.

    Raises:
        EvaluationError: There is no such metric.
    """
    return name == LOSS or known_metric(name).lower_is_better


def family_of(name: str) -> MetricFamily:
    """Return what estimates a metric of rates, and others with it.

    Raises:
        EvaluationError: There is no such metric, or it judges something else than rates.
    """
    metric = known_metric(name)
    if metric.family is None:
        raise EvaluationError(
            f"{name} judges no predicted rates: choose a metric that does, such as pairwise_within"
        )
    if metric.of_deviations is not None:
        raise EvaluationError(
            f"{name} compares deviations, which `evaluate_deviations` does; of rates that is "
            f"{metric.of_deviations}"
        )
    return metric.family


def known_metric(name: str) -> Metric:
    """Return a metric by its name.

    Raises:
        EvaluationError: There is no such metric; names the nearest.
    """
    if name not in METRICS:
        nearest = difflib.get_close_matches(name, METRICS, n=1, cutoff=0.0)[0]
        raise EvaluationError(
            f"A metric must be one of {', '.join(METRICS)}, but got {name!r}; did you mean "
            f"{nearest!r}?"
        )
    return METRICS[name]

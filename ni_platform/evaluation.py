"""From predictions to figures: a table of predictions, and metrics per slice.

Everything is computed from one table with a row per scored content, so that what a run logs can
be recomputed from its artifact `predictions/test.parquet` and compared with any other run's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ni_platform.beliefs.past_errors import PastErrors
from ni_platform.data.content_keys import content_keys
from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import ab_test_codes
from ni_platform.data.overdispersion import dataset_overdispersion
from ni_platform.data.splits import Splits
from ni_platform.errors import DatasetError
from ni_platform.metrics.evaluation import (
    change_versus,
    evaluate,
    evaluate_deviations,
    paired_difference,
)
from ni_platform.metrics.intervals import Estimate
from ni_platform.metrics.pair_probability import PredictedPairs, pair_probability_metrics
from ni_platform.metrics.scored import Observed, judged

SLICES: Mapping[str, tuple[str, ...]] = {
    "validation": ("validation",),
    "test": ("in_domain", "out_of_domain"),
    "in_domain": ("in_domain",),
    "out_of_domain": ("out_of_domain",),
}
"""The slices that a run reports, and the parts of the split that make up each."""

PLATFORM = "platform"
"""The slice of the test part's contents that a platform delivered: there arms are compared within
its A/B tests, which says what was delivered together with success, not what works."""

PREDICTED_STD, OBSERVED_STD = "prediction_std", "success_std"
"""Columns of the table of predictions where the model gives distributions."""

_WITHIN = "pairwise_within"

Metrics = dict[str, dict[str, Estimate]]
"""Slice -> metric -> estimate."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How predictions are judged."""

    replicates: int = 1000
    """Bootstrap replicates behind each 95 % interval; whole A/B tests are drawn."""
    glm: bool = True
    """Fit the reference GLM on the same split, as NI Table 1 does."""


def split_table(dataset: Dataset, splits: Splits) -> pd.DataFrame:
    """Return which content is in which part: columns content_key, content_id, part, group."""
    return pd.DataFrame(
        {
            "content_key": content_keys(dataset),
            "content_id": dataset.content_id.astype(str).to_numpy(),
            "part": splits.part,
            "group": splits.group,
        }
    )


def outcome_table(dataset: Dataset, membership: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Return what happened to the contents `rows` beside their `membership`, row for row.

    `evidence` is what each can prove (see `Dataset.evidence`). `ab_test` names the A/B test only
    where figures within A/B tests may count it; `platform_test` where a platform delivered it.
    `overdispersion` is the same for all of them, see `dataset_overdispersion`.
    """
    domain, counted = dataset.domain, dataset.randomised_test.to_numpy()[rows]
    arms = rows[pd.notna(counted)]
    return membership.reset_index(drop=True).assign(
        ab_test=counted,
        platform_test=dataset.platform_test.to_numpy()[rows],
        evidence=dataset.evidence.to_numpy()[rows],
        domain=None if domain is None else domain.to_numpy()[rows],
        impressions=dataset.impressions[rows],
        clicks=dataset.clicks[rows],
        success_rate=dataset.success_rate[rows],
        overdispersion=dataset_overdispersion(dataset, arms),
    )


def add_predictions(
    table: pd.DataFrame,
    predictions: np.ndarray,
    deviations: np.ndarray | None,
    observed: np.ndarray | None,
) -> pd.DataFrame:
    """Return the table with predicted rates [N] and, of distributions, both deviations [N]."""
    table = table.assign(prediction=predictions)
    if deviations is None:
        return table
    return table.assign(**{PREDICTED_STD: deviations, OBSERVED_STD: observed})


def evaluate_slices(
    table: pd.DataFrame, config: EvaluationConfig, column: str = "prediction"
) -> Metrics:
    """Return the metrics of `column` for each slice of which `table` has contents that were shown.

    Raises:
        DatasetError: The test part has none.
    """
    metrics: Metrics = {}
    table = judged(table)
    for name, inside in _slices(table):
        rows = table[inside]
        metrics[name] = evaluate(rows[column], Observed.of(rows), replicates=config.replicates)
        if column == "prediction" and PREDICTED_STD in rows:
            metrics[name] |= evaluate_deviations(
                rows[PREDICTED_STD],
                rows[OBSERVED_STD],
                Observed.of(rows),
                replicates=config.replicates,
            )
    if "test" not in metrics:
        raise DatasetError(
            "there is no test content left to evaluate: every one was trained on, never shown, or "
            "is from an A/B test without the planned shares of impressions; evaluate contents with "
            "impressions that the model has not seen, and look at `ni data check`"
        )
    delivered = table[_of_platform(table)]
    if len(delivered):
        observed = Observed.of(delivered.assign(ab_test=delivered["platform_test"]))
        metrics[PLATFORM] = evaluate(delivered[column], observed, replicates=config.replicates)
    return metrics


def _of_platform(table: pd.DataFrame) -> np.ndarray:
    """Test contents of A/B tests whose arms a platform delivered, bool [N]."""
    inside = table["part"].isin(SLICES["test"])
    known = table["platform_test"].notna() if "platform_test" in table else False
    return np.asarray(inside & known)


def _slices(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Each slice that has rows, and which they are, bool [N].

    `in_domain` is left out where it is the whole test part, since it would say the same twice.
    """
    parts = set(table["part"])
    for name, members in SLICES.items():
        inside = table["part"].isin(members).to_numpy()
        if inside.any() and (name != "in_domain" or "out_of_domain" in parts):
            yield name, inside


def evaluate_pairs(
    table: pd.DataFrame, pairs: PredictedPairs | None, config: EvaluationConfig
) -> Metrics:
    """Return per slice whether the probabilities that one arm beats another are right.

    `pairs` are counted among the rows of `table`, which is one that `add_predictions` gave. None is
    of a model that does not say how sure it is: validation tests say it then, and are not judged.
    """
    metrics: Metrics = {}
    judged_slices = dict(_slices(table))
    if pairs is None:
        known = judged_slices.pop("validation", np.zeros(len(table), dtype=bool))
        errors = PastErrors.of(table[known])
        if errors is None:
            return metrics
        pairs = errors.pairs(table)
    for name, inside in judged_slices.items():
        inside = inside & table["ab_test"].notna().to_numpy()
        own, rows = pairs.of(inside), table[inside]
        if len(own.first):
            clusters = ab_test_codes(rows["ab_test"]) + 1
            metrics[name] = pair_probability_metrics(
                own,
                rows["clicks"].to_numpy(np.float64),
                rows["impressions"].to_numpy(np.float64),
                clusters,
                replicates=config.replicates,
            )
    return metrics


def evaluate_gains(
    table: pd.DataFrame, without: Mapping[str, np.ndarray], config: EvaluationConfig
) -> Metrics:
    """Return per slice `gain_MODALITY`: pairwise accuracy less that of the model without it.

    Of pairs within A/B tests whose inputs differ, where there are any, else of all pairs; the
    interval is paired. `without` holds predictions for the rows of `table`.
    """
    metrics: Metrics = {}
    table = table.assign(**{f"without {name}": rates for name, rates in without.items()})
    table = judged(table)
    for part, inside in _slices(table) if without else ():
        rows = table[inside]
        observed = Observed.of(rows)
        known = evaluate(rows["prediction"], observed, replicates=0)
        metric = next(
            name
            for name in (f"{_WITHIN}_distinct", _WITHIN, "pairwise_accuracy")
            if name in known and (np.isfinite(known[name].value) or name == "pairwise_accuracy")
        )
        metrics[part] = {
            f"gain_{name}": paired_difference(
                metric,
                rows["prediction"],
                rows[f"without {name}"],
                observed,
                replicates=config.replicates,
            )
            for name in without
        }
    return metrics


def changes_versus_glm(metrics: Metrics, glm: Metrics) -> dict[str, float]:
    """Return `SLICE/METRIC_vs_glm` in percent, as NI Table 1 reports them."""
    return {
        f"{name}/{metric}_vs_glm": value
        for name in metrics
        if name in glm
        for metric, value in change_versus(glm[name], metrics[name]).items()
        if np.isfinite(value)
    }


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """What a command that evaluated a model has to tell."""

    run_id: str
    name: str
    model_uri: str
    metrics: Metrics
    changes_versus_glm: dict[str, float] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    """Stage -> its best epoch, validation metrics and samples per second."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; metrics as `SLICE/METRIC` with value, low and high."""
        return {
            "run_id": self.run_id,
            "name": self.name,
            "model_uri": self.model_uri,
            "metrics": {
                f"{part}/{metric}": asdict(estimate)
                for part, estimates in self.metrics.items()
                for metric, estimate in estimates.items()
            },
            "changes_versus_glm": self.changes_versus_glm,
            "stages": self.stages,
        }

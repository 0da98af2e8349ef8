"""Figures of an evaluation written into a run: its table, a few metrics of MLflow's, plots."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ni_platform.data.assignment import strongest
from ni_platform.data.dataset import Dataset
from ni_platform.evaluation import (
    SLICES,
    EvaluationConfig,
    Metrics,
    changes_versus_glm,
    evaluate_slices,
)
from ni_platform.metrics import plots
from ni_platform.metrics.catalogue import METRICS
from ni_platform.metrics.evaluation import evaluate_by_domain
from ni_platform.metrics.intervals import Estimate
from ni_platform.metrics.pairwise import accuracy_by_confidence
from ni_platform.metrics.scored import Observed, judged
from ni_platform.tracking.dataset_inputs import EVIDENCE_TAG, SAMPLE_RATIO_TABLE, SAMPLE_RATIO_TAG
from ni_platform.tracking.metric_table import COLUMNS, add_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ni_platform.tracking.dataset_inputs import DatasetPart
    from ni_platform.tracking.run_record import RunRecord

_SHOWN_CHANGES = (
    "test/rmse_vs_glm",
    "test/pairwise_accuracy_vs_glm",
    "test/pairwise_within_vs_glm",
)


def record_evaluation(
    record: RunRecord,
    dataset: Dataset,
    table: pd.DataFrame,
    config: EvaluationConfig,
    glm: Metrics | None = None,
) -> Metrics:
    """Compute what follows from a run's predictions, and store its tables and plots.

    These are the predictions for contents of `dataset`, the metrics per domain, the A/B tests that
    figures leave out, and the figures; `record_metrics` writes down what is returned.
    """
    metrics = evaluate_slices(table, config)
    test = table[table["part"].isin(SLICES["test"])]
    _record_sample_ratio(record, dataset)
    record.set_tags({EVIDENCE_TAG: strongest(test["evidence"])})
    record.log_table(test, "predictions/test.parquet")
    record.log_table(table[table["part"] == "validation"], "predictions/validation.parquet")
    if test["domain"].notna().any():
        by_domain = evaluate_by_domain(
            test["prediction"],
            Observed.of(test),
            test["domain"],
            replicates=config.replicates,
        )
        record.log_table(by_domain, "tables/by_domain.csv")
    for name, figure in _figures(judged(test), metrics, glm, config.replicates).items():
        record.log_figure(figure, f"plots/{name}.png")
    return metrics


def record_metrics(
    record: RunRecord,
    metrics: Metrics,
    glm: Metrics | None = None,
    *,
    model_uri: str | None = None,
    datasets: Mapping[str, DatasetPart] = MappingProxyType({}),
) -> None:
    """Write every figure into the run's table, and those that `METRICS` shows into MLflow.

    `glm` are the reference's, against which changes are reported in percent (NI Table 1). MLflow
    links each figure to the model and to the dataset part (by slice) that it was measured on.
    """
    changes = {} if glm is None else changes_versus_glm(metrics, glm)
    add_metrics(record, metric_table(metrics, changes))
    for part, estimates in metrics.items():
        shown = {
            f"{part}/{name}": estimate.value
            for name, estimate in estimates.items()
            if name in METRICS and part in METRICS[name].shown
        }
        if part == "test":
            shown |= {name: changes[name] for name in _SHOWN_CHANGES if name in changes}
        record.log_metrics(
            # A figure that is not defined on a slice is left out: it would sort as a number.
            {name: value for name, value in shown.items() if np.isfinite(value)},
            model_uri=model_uri,
            dataset=datasets[part].key if part in datasets else None,
        )


def metric_table(metrics: Metrics, changes: Mapping[str, float]) -> pd.DataFrame:
    """Return the figures as rows of a run's table; see `tracking.metric_table.read_metrics`."""
    rows = []
    for part, estimates in metrics.items():
        for name, estimate in estimates.items():
            counted = METRICS[name].counted if name in METRICS else "n_contents"
            count = estimates.get(counted, estimates.get("n_contents", Estimate(np.nan))).value
            rows.append((part, name, estimate.value, estimate.low, estimate.high, count))
    for name, change in changes.items():
        part, _, metric = name.partition("/")
        rows.append((part, metric, change, np.nan, np.nan, metrics[part]["n_contents"].value))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _record_sample_ratio(record: RunRecord, dataset: Dataset) -> None:
    """Write down which A/B tests are left out of a run's figures, and list them in a table."""
    found = dataset.sample_ratio
    if not found.table.empty:
        record.set_tags({SAMPLE_RATIO_TAG: str(found)})
    if len(found.failing):
        record.log_table(found.failing.map(str), SAMPLE_RATIO_TABLE)


def _figures(
    test: pd.DataFrame, metrics: Metrics, glm: Metrics | None, replicates: int
) -> dict[str, Figure]:
    models = {"model": metrics["test"]} | ({"GLM": glm["test"]} if glm else {})
    figures = {
        "calibration": plots.calibration_figure(test["prediction"], test["success_rate"]),
        "predicted_observed": plots.predicted_observed_figure(
            test["prediction"], test["success_rate"]
        ),
        "pairwise_accuracy": plots.pairwise_figure(models),
    }
    found = accuracy_by_confidence(test["prediction"], Observed.of(test), replicates=replicates)
    if found:
        figures["pairwise_by_confidence"] = plots.confidence_figure(found)
    return figures

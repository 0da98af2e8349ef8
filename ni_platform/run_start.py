"""What a run says before anything is trained: parameters, config, dataset, split, data checks."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.errors import ChecksFailedError, NiError
from ni_platform.evaluation import split_table
from ni_platform.experiment_config import ExperimentConfig, load_experiment, record_config
from ni_platform.fitting import OnEvent
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.opened import OpenedExperiment
from ni_platform.overrides import to_dict
from ni_platform.tracking.dataset_inputs import DatasetPart, log_dataset
from ni_platform.tracking.limits import flatten_parameters
from ni_platform.tracking.run_record import RunRecord
from ni_platform.training.worker_count import Workers

if TYPE_CHECKING:
    from ni_platform.data.checks import CheckReport

_OF_TRAINING = ("training.learning_rate", "training.batch_size", "training.epochs", "training.seed")
_CONTEXTS = {"train": "training", "validation": "validation", "test": "test"}
"""Part of the split -> MLflow's word for what a run does with it."""
_EXAMPLE_ROWS = 100


def run_parameters(experiment: OpenedExperiment, workers: Workers) -> dict[str, Any]:
    """Return what runs are grouped by in MLflow, and what differs from the experiment's defaults.

    The whole config is the artifact `config.yaml`.
    """
    config = experiment.config
    values = flatten_parameters(to_dict(config))
    kind = config.model.estimator if isinstance(config.model, TabularConfig) else config.model.kind
    grouped: dict[str, Any] = {
        "experiment": config.name,
        "model": kind,
        "dataset": experiment.dataset.manifest.name,
        "workers": workers.count,
        "splits.seed": config.splits.seed,
    }
    for modality in ("text", "image"):
        encoder = getattr(config.model, modality, None)
        if encoder is not None and hasattr(encoder, "architecture"):
            pretrained = encoder.weights if encoder.architecture != "scratch" else None
            grouped[f"{modality}_encoder"] = pretrained or encoder.architecture
    if config.in_stages:
        weights = {name: w for name, w in config.training.loss.weights.items() if w}
        grouped["loss"] = " + ".join(weights)
        grouped |= {name: values[name] for name in _OF_TRAINING}
    defaults = _defaults(config)
    changed = {name: text for name, text in values.items() if defaults.get(name) != text}
    return grouped | {name: text for name, text in changed.items() if name != "name"}


def _defaults(config: ExperimentConfig) -> dict[str, str]:
    """The flattened config of the experiment's own function; nothing where it is not found."""
    try:
        return flatten_parameters(to_dict(load_experiment(config.name)))
    except NiError:
        return {}


def record_start(
    record: RunRecord, experiment: OpenedExperiment, allow_failed_checks: bool, on_event: OnEvent
) -> pd.DataFrame:
    """Put config, dataset, split and the report of the data checks into a run.

    Returns and raises as `record_data`.
    """
    record_config(record, experiment.config)
    return record_data(record, experiment, allow_failed_checks, on_event)


def record_data(
    record: RunRecord, experiment: OpenedExperiment, allow_failed_checks: bool, on_event: OnEvent
) -> pd.DataFrame:
    """Put the dataset, its split and the report of the data checks into a run.

    Returns which content is in which part; see `split_table`.

    Raises:
        ChecksFailedError: A check failed, and none may.
    """
    # Great Expectations takes seconds to import; who only lists experiments need not wait.
    from ni_platform.data.checks import check_dataset

    log_dataset(record, dataset_parts(experiment).values())
    membership = split_table(experiment.dataset, experiment.splits)
    record.log_table(membership, "splits.parquet")
    on_event("checking the data")
    with tempfile.TemporaryDirectory() as docs:
        report = check_dataset(experiment.dataset, experiment.splits, docs_folder=docs)
        record.log_artifacts(docs, "checks")
    allowed = "allowed_failed" if allow_failed_checks else "failed"
    outcome = "passed" if report.success else allowed
    record.set_tags({"ni.checks": outcome})
    if outcome == "failed":
        raise ChecksFailedError(_failed_checks(report, experiment.dataset.root))
    return membership


def dataset_parts(experiment: OpenedExperiment) -> dict[str, DatasetPart]:
    """Return what MLflow is told of the training, validation and test part, by the part's name.

    The digest is the beginning of the dataset's fingerprint, and of the split's, since MLflow
    takes what has one name and digest for one dataset.
    """
    dataset, splits = experiment.dataset, experiment.splits
    digest = f"{dataset.fingerprint()[:24]}-{splits.fingerprint()[:8]}"
    return {
        part: dataset_part(
            dataset, splits.rows(part), f"{dataset.manifest.name}/{part}", digest, context
        )
        for part, context in _CONTEXTS.items()
    }


def dataset_part(
    dataset: Dataset, rows: np.ndarray, name: str, digest: str, context: str
) -> DatasetPart:
    """Return what MLflow is told of the rows (int [N]) of a dataset."""
    example = dataset.contents.iloc[rows[:_EXAMPLE_ROWS]]
    return DatasetPart(
        name=name,
        digest=digest,
        context=context,
        source=dataset.root,
        example=example,
        counts={
            "num_rows": len(rows),
            "num_elements": len(rows) * example.shape[1],
            "ab_tests": int(dataset.ab_test.iloc[rows].nunique()),
            "counted_tests": int(dataset.randomised_test.iloc[rows].nunique()),
            "impressions": float(dataset.impressions[rows].sum()),
            "clicks": float(dataset.clicks[rows].sum()),
        },
    )


def _failed_checks(report: CheckReport, data: str) -> str:
    lines = [
        f"  {rule.suite}: {rule.rule}; {rule.observed}; for example {rule.sample_rows[:2]}"
        for rule in report.failures
    ]
    return (
        f"{len(report.failures)} of {report.evaluated} data checks failed on {data}:\n"
        + "\n".join(lines)
        + "\nmend these rows (`ni data check` shows them all), or train with --allow-failed-checks"
    )

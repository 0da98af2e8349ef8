"""An experiment: from its name to a finished run. The one place where the parts are assembled."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import Splits
from ni_platform.errors import ChecksFailedError, ConfigError
from ni_platform.evaluation import (
    FinishedRun,
    Metrics,
    add_predictions,
    changes_versus_glm,
    evaluate_slices,
    outcome_table,
    record_evaluation,
    split_table,
)
from ni_platform.experiment_config import (
    ExperimentConfig,
    experiment_splits,
    fingerprint,
    fitted_to,
)
from ni_platform.insights.record import explain_and_record
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.overrides import to_dict
from ni_platform.provenance import provenance
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import connect, state_folder
from ni_platform.training.config import TrainingConfig
from ni_platform.training.events import EpochDone, Event, StageStarted
from ni_platform.training.stages import run_stages, trained_scorer
from ni_platform.training.worker import FUSED, StageResult, StageTask

if TYPE_CHECKING:
    from ni_platform.data.checks import CheckReport

EXAMPLE_ROWS = 3
"""Contents in the input example of a logged model."""

OnEvent = Callable[[Event | str], None]
"""Told what training does, and in words what the run does around it."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many processes train a stage together."""

    count: int = 1
    cpus_each: int | None = None
    """CPUs and torch threads of each; the machine's CPUs divided among them if None."""

    def __post_init__(self) -> None:
        for words, value in (("workers", self.count), ("CPUs of a worker", self.cpus_each)):
            if value is not None and value < 1:
                raise ConfigError(f"{words} must be at least 1, but are {value}; leave it out")

    def to_tags(self) -> dict[str, str]:
        """Return what `_workers_of` reads back."""
        tags = {"ni.workers": str(self.count)}
        return (
            tags if self.cpus_each is None else tags | {"ni.cpus_per_worker": str(self.cpus_each)}
        )


def train(
    config: ExperimentConfig,
    data: str,
    *,
    workers: Workers | None = None,
    storage: str | None = None,
    name: str | None = None,
    allow_failed_checks: bool = False,
    resume: str | None = None,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    on_event: OnEvent = lambda event: None,
) -> FinishedRun:
    """Check the data, train in stages, evaluate, and record all of it as one MLflow run.

    Runs on the Ray cluster that `RAY_ADDRESS` names, else on a local one.

    Args:
        config: What to train; modalities that the dataset does not have are left out of it.
        data: Dataset folder, local or `s3://`.
        workers: Processes that train a stage together; if None one, or what the resumed run had.
        storage: Folder for checkpoints, shared by the cluster's machines; `.ni/training` if None.
        name: Name of the run; the experiment's if None.
        allow_failed_checks: Train although data checks failed; the run cannot be promoted.
        resume: Id of an interrupted run to go on with.
        parent: Id of the run that this one belongs to, such as that of a table.
        tags: Further tags of the run.
        on_event: Told what happens.

    Raises:
        TrackingError: The tracking server cannot be reached; before anything is trained.
        DatasetError: A part of the split has no content; before anything is trained.
        ChecksFailedError: A data check failed.

    """
    connect()
    workers = workers or _workers_of(resume)
    dataset = Dataset.open(data)
    config = fitted_to(config, dataset)
    splits = experiment_splits(config, dataset)
    with RunRecord.start(
        config.name.partition(".")[0],
        run_name=name or config.name,
        parameters=to_dict(config),
        tags=run_tags(config, dataset, splits) | workers.to_tags() | dict(tags or {}),
        resume=resume,
        parent=parent,
    ) as record:
        record.log_json(to_dict(config), "config.json")
        membership = split_table(dataset, splits)
        record.log_table(membership, "splits.parquet")
        on_event("checking the data")
        check_and_record(record, dataset, splits, allow_failed_checks)
        readable = dataset.without_inputs(config.leave_out)
        workspace = Path(storage or state_folder() / "training").absolute() / record.run_id
        rows = _evaluated_rows(splits)
        if isinstance(config.model, TabularConfig):
            on_event(f"fitting {config.model.estimator}")
            fitted = _fit(config.model, readable, splits, workspace / "model")
        else:
            fitted = _train_stages(config, readable, splits, record, workspace, workers, on_event)
        on_event("evaluating")
        table = outcome_table(dataset, membership.iloc[rows], rows)
        table = add_predictions(table, fitted.predictions, fitted.deviations, fitted.observed)
        glm = _glm(record, config, dataset, splits, table) if config.evaluation.glm else None
        metrics = record_evaluation(record, table, config.evaluation, glm)
        on_event("recording the model")
        fitted.save()
        model_uri = record.log_model(
            workspace / "model",
            dataset.inputs(splits.rows("train")[:EXAMPLE_ROWS]),
            pictures=dataset.images_root,
        )
        if config.insights is not None:
            on_event("explaining")
            scorer = Scorer.load(workspace / "model")
            parts = pd.DataFrame({"row": np.arange(len(dataset)), "part": membership["part"]})
            explain_and_record(record, scorer, dataset, parts, config.insights, on_event)
    return FinishedRun(
        run_id=record.run_id,
        name=record.run_name,
        model_uri=model_uri,
        metrics=metrics,
        changes_versus_glm=changes_versus_glm(metrics, glm) if glm else {},
        stages=fitted.stages,
    )


def parameter_table(config: ExperimentConfig, data: str) -> list[tuple[str, int]]:
    """Return each part of the network that the config makes for the data, and its parameters.

    Raises:
        ConfigError: The config is not one of a network.

    """
    dataset = Dataset.open(data)
    config = fitted_to(config, dataset)
    if isinstance(config.model, TabularConfig):
        raise ConfigError(f"{config.name} is no network, so it has no table of parameters")
    rows = experiment_splits(config, dataset).rows("train")
    readable = dataset.without_inputs(config.leave_out)
    return build_scorer(config.model, readable, rows, config.training.seed).model.parameter_table()


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A model that has been trained, and what it predicts for the rows that are evaluated."""

    save: Callable[[], object]
    """Writes the model's folder."""
    predictions: np.ndarray
    deviations: np.ndarray | None = None
    observed: np.ndarray | None = None
    """Standard deviations of predicted and observed distributions, if the model gives them."""
    stages: dict[str, dict[str, float]] = field(default_factory=dict)


def _workers_of(run_id: str | None) -> Workers:
    """Return the workers that a run was started with: only as many can go on with it."""
    if run_id is None:
        return Workers()
    tags = read_run(run_id).tags
    cpus_each = tags.get("ni.cpus_per_worker")
    return Workers(
        count=int(tags.get("ni.workers", 1)), cpus_each=int(cpus_each) if cpus_each else None
    )


def run_tags(config: ExperimentConfig, dataset: Dataset, splits: Splits) -> dict[str, str]:
    """Return what a run was made from, as its tags."""
    return {
        "ni.experiment": config.name,
        "ni.config_fingerprint": fingerprint(config),
        "ni.dataset": dataset.root,
        "ni.dataset_name": dataset.manifest.name,
        "ni.dataset_fingerprint": dataset.fingerprint(),
        "ni.splits_fingerprint": splits.fingerprint(),
        **provenance(),
    }


def check_and_record(
    record: RunRecord, dataset: Dataset, splits: Splits, allow_failed: bool
) -> None:
    """Check the data, and put the report and its outcome into the run.

    Raises:
        ChecksFailedError: A check failed, and none may.

    """
    # Great Expectations takes seconds to import; who only lists experiments need not wait.
    from ni_platform.data.checks import check_dataset

    with tempfile.TemporaryDirectory() as docs:
        report = check_dataset(dataset, splits, docs_folder=docs)
        record.log_artifacts(docs, "checks")
    outcome = "passed" if report.success else "allowed_failed" if allow_failed else "failed"
    record.set_tags({"ni.checks": outcome})
    if outcome == "failed":
        raise ChecksFailedError(_failed_checks(report, dataset))


def _failed_checks(report: CheckReport, dataset: Dataset) -> str:
    lines = [
        f"  {rule.suite}: {rule.rule}; {rule.observed}; for example {rule.sample_rows[:2]}"
        for rule in report.failures
    ]
    return (
        f"{len(report.failures)} of {report.evaluated} data checks failed on {dataset.root}:\n"
        + "\n".join(lines)
        + "\nmend these rows (`ni data check` shows them all), or train with --allow-failed-checks"
    )


def _fit(config: TabularConfig, dataset: Dataset, splits: Splits, folder: Path) -> _Fitted:
    """Fit a model that needs no stages."""
    model = TabularRegressor.fit(config, dataset, splits.rows("train"))
    return _Fitted(
        save=lambda: model.save(folder),
        predictions=model.predict(dataset.inputs(_evaluated_rows(splits))),
    )


def _train_stages(
    config: ExperimentConfig,
    dataset: Dataset,
    splits: Splits,
    record: RunRecord,
    workspace: Path,
    workers: Workers,
    on_event: OnEvent,
) -> _Fitted:
    """Train every stage."""
    stages = config.pretraining.stages | {FUSED: config.training}
    tasks = _tasks(config, stages, dataset, splits, workspace)
    results = _run(tasks, record, workspace, workers, on_event)
    fused, buckets = results[FUSED], Scorer.load(_initial(workspace), "cpu").buckets
    rows = _evaluated_rows(splits)
    return _Fitted(
        save=lambda: trained_scorer(tasks, results, workspace / "model"),
        predictions=np.asarray(fused.predictions),
        deviations=fused.deviations,
        observed=None if buckets is None else buckets.observed_deviation(dataset, rows),
        stages={
            stage: {**result.metrics, "samples_per_second": result.samples_per_second}
            for stage, result in results.items()
        },
    )


def pretrain(
    config: ExperimentConfig,
    dataset: Dataset,
    splits: Splits,
    record: RunRecord,
    workspace: Path,
    on_event: OnEvent,
) -> tuple[Path, dict[str, Path]]:
    """Train the stages before the fused one; each is a child run, as in `train`.

    Returns the folder of the initial scorer and the stages' weights by modality. What stands in
    `workspace` already is not trained again.
    """
    tasks = _tasks(config, config.pretraining.stages, dataset, splits, workspace)
    results = _run(tasks, record, workspace, Workers(), on_event) if tasks else {}
    return _initial(workspace), {name: result.state_file for name, result in results.items()}


def _initial(workspace: Path) -> Path:
    """Where the scorer that all stages start from is saved."""
    return workspace / "initial"


def _tasks(
    config: ExperimentConfig,
    stages: Mapping[str, TrainingConfig],
    dataset: Dataset,
    splits: Splits,
    workspace: Path,
) -> list[StageTask]:
    """Save the initial scorer, and describe the stages that start from it."""
    assert not isinstance(config.model, TabularConfig)  # noqa: S101
    if not _initial(workspace).exists():
        train_rows = splits.rows("train")
        scorer = build_scorer(config.model, dataset, train_rows, config.training.seed)
        scorer.save(_initial(workspace))
    return [
        StageTask(
            name=stage,
            training=training,
            dataset=dataset.root,
            scorer=str(_initial(workspace)),
            train_rows=splits.rows("train"),
            validation_rows=splits.rows("validation"),
            predict_rows=_evaluated_rows(splits),
            after=tuple(config.pretraining.stages) if stage == FUSED else (),
        )
        for stage, training in stages.items()
    ]


def _run(
    tasks: list[StageTask],
    record: RunRecord,
    workspace: Path,
    workers: Workers,
    on_event: OnEvent,
) -> dict[str, StageResult]:
    """Train stages; each is a child run with its learning curve and what the machine decided."""
    children = {task.name: record.child(task.name, to_dict(task.training)) for task in tasks}

    def log(event: Event) -> None:
        if isinstance(event, StageStarted):
            tags = {"ni.precision": event.precision, "ni.device": event.device}
            children[event.stage].set_tags(tags)
            if event.stage == FUSED:
                record.set_tags(tags)
        if isinstance(event, EpochDone):
            curve = {f"epoch/{key}": value for key, value in event.metrics.items()}
            children[event.stage].log_metrics(curve, step=event.epoch)
        on_event(event)

    return run_stages(
        tasks,
        workspace / "stages",
        workers=workers.count,
        cpus_per_worker=workers.cpus_each,
        on_event=log,
        resume=True,
    )


def _evaluated_rows(splits: Splits) -> np.ndarray:
    """Rows that no stage trains on."""
    return np.concatenate([splits.rows("validation"), splits.rows("test")])


def _glm(
    record: RunRecord,
    config: ExperimentConfig,
    dataset: Dataset,
    splits: Splits,
    table: pd.DataFrame,
) -> Metrics:
    """Fit the reference GLM on the same split; it is a child run, so that it can be compared."""
    model = TabularRegressor.fit(TabularConfig(), dataset, splits.rows("train"))
    glm_table = table.assign(glm=model.predict(dataset.inputs(_evaluated_rows(splits))))
    metrics = evaluate_slices(glm_table, config.evaluation, "glm")
    child = record.child("glm")
    for part, estimates in metrics.items():
        child.log_estimates(part, estimates)
    return metrics

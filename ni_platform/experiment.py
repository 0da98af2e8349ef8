"""An experiment: from its name to a finished run. The one place where the parts are assembled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ni_platform.evaluation import (
    FinishedRun,
    Metrics,
    add_predictions,
    changes_versus_glm,
    evaluate_gains,
    evaluate_pairs,
    evaluate_slices,
    outcome_table,
)
from ni_platform.evaluation_record import record_evaluation, record_metrics
from ni_platform.fitting import Fitted, OnEvent, fit_model
from ni_platform.insights.record import explain_and_record
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.scorer import Scorer
from ni_platform.opened import OpenedExperiment
from ni_platform.registry.logged_model import log_model
from ni_platform.run_note import describe_run
from ni_platform.run_start import dataset_parts, record_start, run_parameters
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.state import state_folder
from ni_platform.tracking.store import Store
from ni_platform.training.worker_count import Workers


def train(
    store: Store,
    experiment: OpenedExperiment,
    *,
    workers: Workers | None = None,
    storage: str | None = None,
    name: str | None = None,
    allow_failed_checks: bool = False,
    resume: str | None = None,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    source: str | None = None,
    on_event: OnEvent = lambda event: None,
) -> FinishedRun:
    """Check the data, train in stages, evaluate, and record all of it as one MLflow run.

    Runs on the Ray cluster that `RAY_ADDRESS` names, else on a local one.

    Args:
        store: Where the run is recorded.
        experiment: What to train, on what.
        workers: Processes that train a stage together; if None one, or what the resumed run had.
        storage: Folder for checkpoints, shared by the cluster's machines; `.ni/training` if None.
        name: Name of the run; the experiment's if None.
        allow_failed_checks: Train although data checks failed; the run cannot be promoted.
        resume: Id of an interrupted run to go on with.
        parent: Id of the run that this one belongs to, such as that of a table.
        tags: Further tags of the run.
        source: Of the function that made the config, where it is of no file of `experiments`; kept
            in the run as `experiment.py`.
        on_event: Told what happens.

    Raises:
        TrackingError: The tracking server cannot be reached; before anything is trained.
        ChecksFailedError: A data check failed.
    """
    workers = workers or (Workers() if resume is None else Workers.of(read_run(store, resume).tags))
    config = experiment.config
    with RunRecord.start(
        store,
        config.name.partition(".")[0],
        run_name=name or config.name,
        parameters=run_parameters(experiment, workers),
        tags=experiment.tags() | workers.to_tags() | dict(tags or {}),
        resume=resume,
        parent=parent,
    ) as record:
        on_event(f"run {record.run_id}")
        if source is not None:
            record.log_text(source, "experiment.py")
        membership = record_start(record, experiment, allow_failed_checks, on_event)
        workspace = Path(storage or state_folder() / "training").absolute() / record.run_id
        fitted = fit_model(experiment, record, workspace, workers, on_event)
        return finish(record, experiment, membership, fitted, workspace / "model", on_event)


def finish(
    record: RunRecord,
    experiment: OpenedExperiment,
    membership: pd.DataFrame,
    fitted: Fitted,
    folder: Path,
    on_event: OnEvent,
) -> FinishedRun:
    """Evaluate a trained model, save it in `folder`, log it and, if asked for, explain it."""
    record.set_tags(fitted.tags)
    on_event("evaluating")
    metrics, glm = _evaluate(record, experiment, membership, fitted)
    on_event("recording the model")
    fitted.save()
    dataset, insights = experiment.dataset, experiment.config.insights
    model_uri = log_model(record, folder, experiment.example, pictures=dataset.images_root)
    datasets = dataset_parts(experiment)
    figures = metrics | fitted.figures
    record_metrics(record, figures, glm, model_uri=model_uri, datasets=datasets)
    if insights is not None:
        on_event("explaining")
        parts = pd.DataFrame({"row": np.arange(len(dataset)), "part": membership["part"]})
        explain_and_record(record, Scorer.load(folder), dataset, parts, insights, on_event)
    explainable = not isinstance(experiment.config.model, TabularConfig)
    describe_run(record, explainable=explainable)
    return FinishedRun(
        run_id=record.run_id,
        name=record.run_name,
        model_uri=model_uri,
        metrics=metrics,
        changes_versus_glm=changes_versus_glm(metrics, glm) if glm else {},
        stages=fitted.stages,
    )


def _evaluate(
    record: RunRecord, experiment: OpenedExperiment, membership: pd.DataFrame, fitted: Fitted
) -> tuple[Metrics, Metrics | None]:
    """Measure the model and, if the config asks for it, the reference GLM beside it."""
    rows, evaluation = experiment.evaluated_rows, experiment.config.evaluation
    table = outcome_table(experiment.dataset, membership.iloc[rows], rows)
    predicted = fitted.predict(rows)
    table = add_predictions(table, predicted.rates, predicted.deviations, predicted.observed)
    glm = _glm(record, experiment, table) if evaluation.glm else None
    metrics = record_evaluation(record, experiment.dataset, table, evaluation, glm)
    more = evaluate_gains(table, fitted.without(rows), evaluation)
    pairs = evaluate_pairs(table, predicted.pairs, evaluation)
    more = {name: more.get(name, {}) | pairs.get(name, {}) for name in {**more, **pairs}}
    return {name: found | more.get(name, {}) for name, found in metrics.items()}, glm


def _glm(record: RunRecord, experiment: OpenedExperiment, table: pd.DataFrame) -> Metrics:
    """Fit the reference GLM on the same split; it is a child run, so that it can be compared."""
    dataset, config = experiment.dataset, experiment.config
    rates = table["prediction"].to_numpy()
    if config.model != TabularConfig() or config.leave_out:  # else the run's own model is the same
        model = TabularRegressor.fit(TabularConfig(), dataset, experiment.splits.rows("train"))
        rates = model.predict(dataset.inputs(experiment.evaluated_rows))
    metrics = evaluate_slices(table.assign(glm=rates), config.evaluation, "glm")
    record_metrics(record.child("glm"), metrics)
    return metrics

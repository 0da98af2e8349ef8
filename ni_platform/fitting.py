"""From an opened experiment to a fitted model: in stages, or at once where it needs none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from ni_platform.chosen_layers import choose_layers, fit_opened
from ni_platform.data.loading import ab_test_codes
from ni_platform.ensembling import fit_ensemble
from ni_platform.evaluation import Metrics
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.metrics.intervals import Estimate
from ni_platform.metrics.pair_probability import PredictedPairs
from ni_platform.metrics.plots import learning_curve_figure
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.encoders.pretrained import locate
from ni_platform.models.ensemble import EnsembleConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.regressor import Regressor
from ni_platform.models.scorer import Scorer
from ni_platform.narrowing import of_kind
from ni_platform.opened import OpenedExperiment
from ni_platform.overrides import to_dict
from ni_platform.tracking.learning_curves import read_curves
from ni_platform.tracking.limits import flatten_parameters
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.state import state_folder
from ni_platform.training.config import TrainingConfig
from ni_platform.training.encoded import Encoded
from ni_platform.training.events import EpochDone, Event, StageStarted
from ni_platform.training.stages import run_stages, trained_scorer
from ni_platform.training.worker import FUSED, StageResult, StageTask, pretrained_modalities
from ni_platform.training.worker_count import Workers

OnEvent = Callable[[Event | str], None]
"""Told what training does, and in words what the run does around it."""

_OF_TRAINING = ("train_loss", "samples_per_second")
"""Figures of an epoch that are not of the validation part."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a model predicts of N rows."""

    rates: np.ndarray
    deviations: np.ndarray | None = None
    observed: np.ndarray | None = None
    """Standard deviations of predicted and observed distributions, if the model gives them."""
    pairs: PredictedPairs | None = None
    """Pairs among the rows, if the model says how sure it is of them."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A model that has been trained."""

    save: Callable[[], object]
    """Writes the model's folder."""
    predict: Callable[[np.ndarray], Predicted]
    """Of rows of the experiment's dataset."""
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    figures: Metrics = field(default_factory=dict)
    """What fitting found, for the table of the model's run."""
    without: Callable[[np.ndarray], dict[str, np.ndarray]] = lambda rows: {}
    """By modality, rates that the same model predicts for rows that does not read it: fitted anew
    each time."""


def fit_model(
    experiment: OpenedExperiment,
    record: RunRecord,
    workspace: Path,
    workers: Workers,
    on_event: OnEvent,
) -> Fitted:
    """Train the model: in stages, or at once where it needs none."""
    config, readable = experiment.config.model, experiment.readable
    if isinstance(config, GaussianProcessConfig):
        return _fit_gaussian_process(experiment, workspace / "model", on_event)
    model: Regressor
    if isinstance(config, EnsembleConfig):
        on_event("weighing members by validation")
        model = fit_ensemble(experiment, record)
    elif isinstance(config, TabularConfig):
        on_event(f"fitting {config.estimator}")
        model = TabularRegressor.fit(config, readable, experiment.splits.rows("train"))
    else:
        return _train_stages(experiment, record, workspace, workers, on_event)
    return Fitted(
        save=lambda: model.save(workspace / "model"),
        predict=lambda rows: Predicted(rates=model.predict(readable.inputs(rows))),
    )


def reach_weights(configs: Iterable[ExperimentConfig]) -> None:
    """Fetch all pretrained weights now, as what is lacking must not be found after hours.

    Raises:
        WeightsError: Some cannot be reached.
    """
    for weights in {
        getattr(config.model, modality).weights
        for config in configs
        for modality in pretrained_modalities(config.model)
    }:
        locate(weights)


def _fit_gaussian_process(experiment: OpenedExperiment, folder: Path, on_event: OnEvent) -> Fitted:
    """Fit a Gaussian process to what its frozen encoders give; chosen layers become tags."""
    encoded = state_folder() / "encoded"
    asked = of_kind(experiment.config.model, GaussianProcessConfig)
    experiment, outputs = choose_layers(experiment, encoded, on_event)
    fitted, keys = fit_opened(experiment, encoded, outputs, on_event)
    scorer = fitted.scorer
    network = of_kind(scorer.model, GaussianProcess)
    parts = of_kind(scorer.config, GaussianProcessConfig).parts
    chosen = [name for name, part in asked.parts.items() if part.layer_options]
    tests = ab_test_codes(experiment.dataset.ab_test)
    return Fitted(
        save=lambda: scorer.save(folder),
        tags={f"ni.layers.{name}": str(parts[name].layers) for name in chosen},
        figures={"kernel": {k: Estimate(value) for k, value in network.summary().items()}},
        predict=lambda rows: Predicted(
            rates=fitted.predict(rows), pairs=fitted.pairs(rows, tests[rows], keys[rows])
        ),
        without=lambda rows: _without_each(experiment, scorer, fitted.outputs, rows, on_event),
    )


def _without_each(
    experiment: OpenedExperiment,
    whole: Scorer,
    outputs: Mapping[str, Encoded],
    rows: np.ndarray,
    on_event: OnEvent,
) -> dict[str, np.ndarray]:
    """Leave out one modality after the other; nothing where there is only one."""
    config, readers = experiment.config, whole.inputs.readers
    parts = of_kind(config.model, GaussianProcessConfig).parts
    found = {}
    for name in parts if len(parts) > 1 else ():
        on_event(f"fitting without {name}")
        kept = {other: part for other, part in parts.items() if other != name}
        # Or another modality would read its columns in its place.
        others = {column for other in kept for column in readers[other].roles}
        own = tuple(column for column in readers[name].roles if column not in others)
        less = replace(config, leave_out=(*config.leave_out, *own))
        opened = replace(experiment, config=less).reading(kept)
        known = {other: outputs[other] for other in kept}
        fitted, _ = fit_opened(opened, state_folder() / "encoded", known)
        found[name] = fitted.predict(rows)
    return found


def _train_stages(
    experiment: OpenedExperiment,
    record: RunRecord,
    workspace: Path,
    workers: Workers,
    on_event: OnEvent,
) -> Fitted:
    """Train every stage."""
    stages = experiment.config.pretraining.stages | {FUSED: experiment.config.training}
    tasks = _tasks(experiment, stages, workspace)
    results = _run(tasks, record, workspace, workers, on_event)
    save = cache(lambda: trained_scorer(tasks, results, workspace / "model"))
    return Fitted(
        save=save,
        predict=_with_workers_predictions(experiment, results[FUSED], save, workspace / "model"),
        stages={
            stage: {**result.metrics, "samples_per_second": result.samples_per_second}
            for stage, result in results.items()
        },
    )


def _with_workers_predictions(
    experiment: OpenedExperiment, fused: StageResult, save: Callable[[], Scorer], folder: Path
) -> Callable[[np.ndarray], Predicted]:
    """Say what the last stage's workers have predicted, of other rows what the saved model does."""
    readable = experiment.readable
    rates_N, deviations_N = (np.full(len(readable), np.nan) for _ in range(2))
    rates_N[experiment.evaluated_rows] = fused.predictions
    if fused.deviations is not None:
        deviations_N[experiment.evaluated_rows] = fused.deviations

    def predict(rows: np.ndarray) -> Predicted:
        new = rows[np.isnan(rates_N[rows])]
        buckets = save().buckets
        if len(new):
            found = Scorer.load(folder).predict_with_deviation(readable.inputs(new))
            rates_N[new], deviations_N[new] = found[0], np.nan if found[1] is None else found[1]
        return Predicted(
            rates=rates_N[rows],
            deviations=None if buckets is None else deviations_N[rows],
            observed=None if buckets is None else buckets.observed_deviation(readable, rows),
        )

    return predict


def pretrain(
    experiment: OpenedExperiment, record: RunRecord, workspace: Path, on_event: OnEvent
) -> tuple[Path, dict[str, Path]]:
    """Train the stages before the fused one; each is a child run, as in `train`.

    Returns the folder of the initial scorer and the stages' weights by modality. What stands in
    `workspace` already is not trained again.
    """
    tasks = _tasks(experiment, experiment.config.pretraining.stages, workspace)
    results = _run(tasks, record, workspace, Workers(), on_event) if tasks else {}
    return _initial(workspace), {name: result.state_file for name, result in results.items()}


def _initial(workspace: Path) -> Path:
    """Where the scorer that all stages start from is saved."""
    return workspace / "initial"


def _tasks(
    experiment: OpenedExperiment, stages: Mapping[str, TrainingConfig], workspace: Path
) -> list[StageTask]:
    """Save the initial scorer, and describe the stages that start from it."""
    if not _initial(workspace).exists():
        experiment.build_scorer().save(_initial(workspace))
    return [
        StageTask(
            name=stage,
            training=training,
            dataset=experiment.dataset.root,
            scorer=str(_initial(workspace)),
            train_rows=experiment.splits.rows("train"),
            validation_rows=experiment.splits.rows("validation"),
            predict_rows=experiment.evaluated_rows,
            after=tuple(experiment.config.pretraining.stages) if stage == FUSED else (),
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
    children = {task.name: record.child(task.name, _parameters(task.training)) for task in tasks}

    def log(event: Event) -> None:
        if isinstance(event, StageStarted):
            tags = {"ni.precision": event.precision, "ni.device": event.device}
            children[event.stage].set_tags(tags)
            if event.stage == FUSED:
                record.set_tags(tags)
        if isinstance(event, EpochDone):
            curve = _learning_curve(event)
            children[event.stage].log_metrics(curve, step=event.epoch)
            if event.stage == FUSED:
                record.log_metrics(curve, step=event.epoch)
        on_event(event)

    results = run_stages(
        tasks,
        workspace / "stages",
        workers=workers.count,
        cpus_per_worker=workers.cpus_each,
        on_event=log,
        resume=True,
    )
    # A resumed run has told only its last epochs; MLflow knows all.
    figure = learning_curve_figure(read_curves(record.store, record.run_id))
    if figure is not None:
        record.log_figure(figure, "plots/learning_curves.png")
    return results


def _parameters(training: TrainingConfig) -> dict[str, str]:
    """What stands in MLflow of a stage's settings: what differs from the defaults, and a few."""
    values, defaults = (flatten_parameters(to_dict(each)) for each in (training, TrainingConfig()))
    return {
        name: text
        for name, text in values.items()
        if text != defaults[name] or name in ("learning_rate", "batch_size", "epochs", "seed")
    }


def _learning_curve(event: EpochDone) -> dict[str, float]:
    """Return an epoch's figures as runs record them: STAGE/train_loss, STAGE/validation/rmse."""
    stage = event.stage
    return {
        f"{stage}/{name}" if name in _OF_TRAINING else f"{stage}/validation/{name}": value
        for name, value in event.metrics.items()
        if name != "epoch"
    }

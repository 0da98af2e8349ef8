"""From an opened experiment to a fitted model: in stages, or at once where it needs none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ni_platform.chosen_layers import choose_layers
from ni_platform.data.content_keys import input_keys
from ni_platform.ensembling import fit_ensemble
from ni_platform.metrics.pair_probability import PredictedPairs
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.ensemble import EnsembleConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.regressor import Regressor
from ni_platform.models.scorer import Scorer
from ni_platform.narrowing import of_kind
from ni_platform.opened import OpenedExperiment
from ni_platform.overrides import to_dict
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.state import state_folder
from ni_platform.training.at_once import fit_at_once
from ni_platform.training.config import TrainingConfig
from ni_platform.training.encoded import Encoded
from ni_platform.training.events import EpochDone, Event, StageStarted
from ni_platform.training.stages import run_stages, trained_scorer
from ni_platform.training.worker import FUSED, StageResult, StageTask
from ni_platform.training.worker_count import Workers

OnEvent = Callable[[Event | str], None]
"""Told what training does, and in words what the run does around it."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A model that has been trained, and what it predicts for the rows that are evaluated."""

    save: Callable[[], object]
    """Writes the model's folder."""
    predictions: np.ndarray
    deviations: np.ndarray | None = None
    observed: np.ndarray | None = None
    """Standard deviations of predicted and observed distributions, if the model gives them."""
    pairs: PredictedPairs | None = None
    """Pairs among the rows that are evaluated, if the model says how sure it is of them."""
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    without: dict[str, np.ndarray] = field(default_factory=dict)
    """By modality, what the same model predicts that does not read it, fitted anew."""


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
        return _fit_gaussian_process(experiment, record, workspace / "model", on_event)
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
        predictions=model.predict(readable.inputs(experiment.evaluated_rows)),
    )


def _fit_gaussian_process(
    experiment: OpenedExperiment, record: RunRecord, folder: Path, on_event: OnEvent
) -> Fitted:
    """Fit a Gaussian process to what its frozen encoders give; chosen layers become tags."""
    encoded = state_folder() / "encoded"
    experiment, outputs = choose_layers(experiment, encoded, on_event)
    scorer, rows = experiment.build_scorer(), experiment.evaluated_rows
    keys = input_keys(experiment.readable, scorer.inputs.roles)
    fitted = fit_at_once(
        scorer,
        experiment.readable,
        keys,
        experiment.splits.rows("train"),
        encoded,
        outputs=outputs,
        say=on_event,
    )
    network = of_kind(scorer.model, GaussianProcess)
    parts = of_kind(scorer.config, GaussianProcessConfig).parts
    record.set_tags({f"ni.layers.{name}": str(parts[name].layers) for name in outputs})
    record.log_metrics({f"kernel/{name}": value for name, value in network.summary().items()})
    tests = experiment.dataset.ab_test.iloc[rows].astype("category").cat.codes.to_numpy()
    return Fitted(
        save=lambda: scorer.save(folder),
        predictions=fitted.predict(rows),
        pairs=fitted.pairs(rows, tests, keys[rows]),
        without=_without_each(experiment, encoded, fitted.outputs, on_event),
    )


def _without_each(
    experiment: OpenedExperiment,
    encoded: Path,
    outputs: Mapping[str, Encoded],
    on_event: OnEvent,
) -> dict[str, np.ndarray]:
    """Leave out one modality after the other; nothing where there is only one."""
    parts = of_kind(experiment.config.model, GaussianProcessConfig).parts
    found = {}
    for name in parts if len(parts) > 1 else ():
        on_event(f"fitting without {name}")
        kept = {other: part for other, part in parts.items() if other != name}
        scorer = experiment.reading(kept).build_scorer()
        fitted = fit_at_once(
            scorer,
            experiment.readable,
            input_keys(experiment.readable, scorer.inputs.roles),
            experiment.splits.rows("train"),
            encoded,
            outputs={other: outputs[other] for other in kept},
        )
        found[name] = fitted.predict(experiment.evaluated_rows)
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
    fused, buckets = results[FUSED], Scorer.load(_initial(workspace), "cpu").buckets
    return Fitted(
        save=lambda: trained_scorer(tasks, results, workspace / "model"),
        predictions=np.asarray(fused.predictions),
        deviations=fused.deviations,
        observed=None
        if buckets is None
        else buckets.observed_deviation(experiment.readable, experiment.evaluated_rows),
        stages={
            stage: {**result.metrics, "samples_per_second": result.samples_per_second}
            for stage, result in results.items()
        },
    )


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

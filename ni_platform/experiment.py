"""An experiment: from its name to a finished run. The one place where the parts are assembled."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import SplitConfig, Splits, split_dataset
from ni_platform.errors import ChecksFailedError, ConfigError
from ni_platform.evaluation import (
    EvaluationConfig,
    FinishedRun,
    Metrics,
    changes_versus_glm,
    evaluate_slices,
    outcome_table,
    record_evaluation,
    split_table,
)
from ni_platform.models.baselines.glm import BinomialGLM
from ni_platform.models.neural_insights import MODALITIES, NeuralInsightsConfig
from ni_platform.models.scorer import build_scorer
from ni_platform.overrides import from_dict, set_values, to_dict
from ni_platform.provenance import provenance
from ni_platform.tracking.run_queries import download_artifact, read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import connect, state_folder
from ni_platform.training.config import TrainingConfig
from ni_platform.training.events import EpochDone, Event
from ni_platform.training.stages import run_stages, trained_scorer
from ni_platform.training.worker import FUSED, StageResult, StageTask

if TYPE_CHECKING:
    from ni_platform.data.checks import CheckReport

EXPERIMENTS = "experiments"
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


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How each encoder is trained alone before fusion (NI Section 3); None: it is not."""

    image: TrainingConfig | None = None
    text: TrainingConfig | None = None
    domain: TrainingConfig | None = None
    attributes: TrainingConfig | None = None

    @property
    def stages(self) -> dict[str, TrainingConfig]:
        """The modalities that are pretrained, and how."""
        found = {modality: getattr(self, modality) for modality in MODALITIES}
        return {modality: training for modality, training in found.items() if training}


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Everything that decides a run's result, besides the dataset."""

    name: str
    model: NeuralInsightsConfig
    training: TrainingConfig
    """The last stage: the whole model."""
    pretraining: Pretraining = field(default_factory=Pretraining)
    splits: SplitConfig = field(default_factory=SplitConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        for modality in self.pretraining.stages:
            if modality not in self.model.modalities:
                raise ConfigError(
                    f"pretraining.{modality} is set, but the model reads no {modality}; set it to "
                    f"null, or give the model one with model.{modality}={{}}"
                )


def list_experiments() -> list[tuple[str, str]]:
    """Return each experiment's name and the first line of its docstring."""
    found = []
    for module in _modules():
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                summary = (inspect.getdoc(function) or "").partition("\n")[0]
                found.append((f"{module.__name__.removeprefix(EXPERIMENTS + '.')}.{name}", summary))
    return found


def load_experiment(name: str) -> ExperimentConfig:
    """Return the config that the function `FILE.FUNCTION` of `experiments` defines.

    Raises:
        ConfigError: There is no such experiment; names the nearest.

    """
    module_name, _, function_name = name.rpartition(".")
    known = [known for known, _ in list_experiments()]
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.3) or known
        raise ConfigError(f"there is no experiment {name!r}; did you mean {' or '.join(near)}?")
    module = importlib.import_module(f"{EXPERIMENTS}.{module_name}")
    return getattr(module, function_name)()


def resolve(
    experiment: str | None,
    data: str | None,
    *,
    from_run: str | None = None,
    overrides: Iterable[str] = (),
) -> tuple[ExperimentConfig, str]:
    """Return the config and dataset of an experiment, or those that a run was made with."""
    if from_run is not None:
        values = json.loads(download_artifact(from_run, "config.json").read_text())
        config = from_dict(ExperimentConfig, values)
        data = data or read_run(from_run).tags["ni.dataset"]
    elif experiment is not None:
        config = load_experiment(experiment)
    else:
        raise ConfigError("name an experiment or a run")
    if data is None:
        raise ConfigError("a dataset is needed; name its folder with --data DIR")
    return set_values(config, overrides), data


def train(
    config: ExperimentConfig,
    data: str,
    *,
    workers: Workers | None = None,
    storage: str | None = None,
    name: str | None = None,
    allow_failed_checks: bool = False,
    resume: str | None = None,
    on_event: OnEvent = lambda event: None,
) -> FinishedRun:
    """Check the data, train in stages, evaluate, and record all of it as one MLflow run.

    Runs on the Ray cluster that `RAY_ADDRESS` names, else on a local one.

    Args:
        config: What to train; modalities that the dataset does not have are left out of it.
        data: Dataset folder, local or `s3://`.
        workers: Processes that train a stage together; one if None.
        storage: Folder for checkpoints, shared by the cluster's machines; `.ni/training` if None.
        name: Name of the run; the experiment's if None.
        allow_failed_checks: Train although data checks failed; the run cannot be promoted.
        resume: Id of an interrupted run to go on with.
        on_event: Told what happens.

    Raises:
        TrackingError: The tracking server cannot be reached; before anything is trained.
        ChecksFailedError: A data check failed.

    """
    connect()
    dataset = Dataset.open(data)
    config = fitted_to(config, dataset)
    splits = split_dataset(dataset, config.splits)
    with RunRecord.start(
        config.name.partition(".")[0],
        run_name=name or config.name,
        parameters=to_dict(config),
        tags=_tags(config, dataset, splits),
        resume=resume,
    ) as record:
        record.log_json(to_dict(config), "config.json")
        membership = split_table(dataset, splits)
        record.log_table(membership, "splits.parquet")
        on_event("checking the data")
        _check(record, dataset, splits, allow_failed_checks)
        workspace = Path(storage or state_folder() / "training").absolute() / record.run_id
        tasks, results = _train_stages(
            config, dataset, splits, record, workspace, workers or Workers(), on_event
        )
        on_event("evaluating")
        rows = _evaluated_rows(splits)
        table = outcome_table(dataset, membership.iloc[rows], rows)
        table["prediction"] = results[FUSED].predictions
        glm = _glm(record, config, dataset, splits, table) if config.evaluation.glm else None
        metrics = record_evaluation(record, table, config.evaluation, glm)
        on_event("recording the model")
        trained_scorer(tasks, results, workspace / "model")
        model_uri = record.log_model(
            workspace / "model", dataset.inputs(splits.rows("train")[:EXAMPLE_ROWS])
        )
    return FinishedRun(
        run_id=record.run_id,
        name=record.run_name,
        model_uri=model_uri,
        metrics=metrics,
        changes_versus_glm=changes_versus_glm(metrics, glm) if glm else {},
        stages={
            stage: {**result.metrics, "samples_per_second": result.samples_per_second}
            for stage, result in results.items()
        },
    )


def fitted_to(config: ExperimentConfig, dataset: Dataset) -> ExperimentConfig:
    """Return the config without the modalities that the dataset does not have.

    Raises:
        ConfigError: None of the model's modalities is left.

    """
    columns = dataset.manifest.columns
    present = {
        "image": columns.image is not None,
        "text": bool(columns.text),
        "domain": columns.domain is not None,
        "attributes": bool(columns.categorical or columns.numeric),
    }
    absent: dict[str, Any] = {name: None for name in config.model.modalities if not present[name]}
    if len(absent) == len(config.model.modalities):
        raise ConfigError(
            f"{config.name} reads {', '.join(absent)}, but {dataset.root} has none of it; "
            f"it has {', '.join(name for name in present if present[name]) or 'no inputs at all'}"
        )
    frozen = tuple(name for name in config.training.frozen if name not in absent)
    return replace(
        config,
        model=replace(config.model, **absent),
        pretraining=replace(config.pretraining, **absent),
        training=replace(config.training, frozen=frozen),
    )


def _tags(config: ExperimentConfig, dataset: Dataset, splits: Splits) -> dict[str, str]:
    return {
        "ni.experiment": config.name,
        "ni.dataset": dataset.root,
        "ni.dataset_name": dataset.manifest.name,
        "ni.dataset_fingerprint": dataset.fingerprint(),
        "ni.splits_fingerprint": splits.fingerprint(),
        **provenance(),
    }


def _check(record: RunRecord, dataset: Dataset, splits: Splits, allow_failed: bool) -> None:
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


def _train_stages(
    config: ExperimentConfig,
    dataset: Dataset,
    splits: Splits,
    record: RunRecord,
    workspace: Path,
    workers: Workers,
    on_event: OnEvent,
) -> tuple[list[StageTask], dict[str, StageResult]]:
    """Train every stage; each is a child run with its learning curve."""
    initial = workspace / "initial"
    if not initial.exists():
        train_rows = splits.rows("train")
        build_scorer(config.model, dataset, train_rows, config.training.seed).save(initial)
    pretraining = config.pretraining.stages
    tasks = [
        StageTask(
            name=stage,
            training=training,
            dataset=dataset.root,
            scorer=str(initial),
            train_rows=splits.rows("train"),
            validation_rows=splits.rows("validation"),
            predict_rows=_evaluated_rows(splits),
            after=tuple(pretraining) if stage == FUSED else (),
        )
        for stage, training in (pretraining | {FUSED: config.training}).items()
    ]
    children = {task.name: record.child(task.name, to_dict(task.training)) for task in tasks}

    def log(event: Event) -> None:
        if isinstance(event, EpochDone):
            curve = {f"epoch/{key}": value for key, value in event.metrics.items()}
            children[event.stage].log_metrics(curve, step=event.epoch)
        on_event(event)

    results = run_stages(
        tasks,
        workspace / "stages",
        workers=workers.count,
        cpus_per_worker=workers.cpus_each,
        on_event=log,
        resume=True,
    )
    return tasks, results


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
    model = BinomialGLM.fit(dataset, splits.rows("train"))
    glm_table = table.assign(glm=model.predict(dataset.inputs(_evaluated_rows(splits))))
    metrics = evaluate_slices(glm_table, config.evaluation, "glm")
    child = record.child("glm")
    for part, estimates in metrics.items():
        child.log_estimates(part, estimates)
    return metrics


def _modules() -> list[ModuleType]:
    """Import every file of the folders named `experiments`: the user's own, and this package's."""
    here = str(Path.cwd())
    if here not in sys.path:
        # The user's folder and the installed one are one namespace package.
        sys.path.insert(0, here)
        importlib.invalidate_caches()
    package = importlib.import_module(EXPERIMENTS)
    return [
        importlib.import_module(f"{EXPERIMENTS}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]

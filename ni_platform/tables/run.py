"""A table's rows trained or found again, and measured on contents that none has learned from."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ni_platform.claims import claimed
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import Splits
from ni_platform.errors import ConfigError
from ni_platform.evaluation import FinishedRun
from ni_platform.experiment import train
from ni_platform.experiment_config import ExperimentConfig, fingerprint
from ni_platform.fitting import OnEvent, reach_weights
from ni_platform.insights.record import has_insights
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.opened import OpenedExperiment, experiment_splits, fitted_to
from ni_platform.scoring import explain_model
from ni_platform.tables.curve import gains
from ni_platform.tables.figures import measure, reference_row
from ni_platform.tables.paper_table import MeasuredTable, PaperTable, Row, full_label
from ni_platform.tables.report import as_markdown, write_report
from ni_platform.tracking.run_claim import interrupted_run
from ni_platform.tracking.run_queries import finished_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.state import state_folder
from ni_platform.tracking.store import Store
from ni_platform.training.config import TrainingConfig
from ni_platform.training.worker_count import Workers


def run_table(
    store: Store,
    table: PaperTable,
    data: str,
    *,
    seeds: Sequence[int] = (0,),
    rows: Sequence[str] = (),
    budget: float = 1.0,
    workers: Workers | None = None,
    output: str | None = None,
    allow_failed_checks: bool = False,
    replicates: int = 1000,
    on_event: OnEvent = lambda event: None,
) -> MeasuredTable:
    """Train each row with each seed, or reuse the run that already did, and measure all.

    A run is reused that was made with the same config (name and evaluation aside) on data of the
    same fingerprint. One that was interrupted goes on; so a table that was stopped goes on when
    the same call is made again. One that a living process works on is left alone.

    Args:
        store: Where the runs are, found and recorded.
        table: What to measure.
        data: Dataset folder.
        seeds: Of the training; the split stays the same.
        rows: Only rows whose label (or group and label) contains one of these texts.
        budget: Share of the epochs that are trained, in (0, 1].
        workers: As `train` takes them.
        output: Folder for table.txt, .csv, .md and .png, besides the run's artifacts.
        allow_failed_checks: As `train` takes it.
        replicates: Behind each interval.
        on_event: Told what happens.

    Raises:
        ConfigError: No row is left, one is measured against a row of other contents, or the
            budget or seeds make no sense.
        DatasetError: A part of a row's split has no content; before anything is trained.
        BusyError: Another process measures this table on these data.
        WeightsError: A row's pretrained weights cannot be reached; before anything is trained.

    """
    _check_options(seeds, budget)
    dataset = Dataset.open(data)
    chosen = _chosen(table, rows)
    experiments = _opened(table, chosen, seeds, budget, dataset)
    with _record_of(store, table, dataset, experiments.values(), seeds, budget) as record:
        training = partial(
            train, store, workers=workers, parent=record.run_id,
            allow_failed_checks=allow_failed_checks, on_event=on_event,
        )  # fmt: skip
        runs = _trained(store, experiments, training, on_event)
        on_event("measuring")
        found, predictions = measure(store, table, chosen, runs, replicates)
        measured = MeasuredTable(
            table=table, dataset=dataset.manifest.name, seeds=tuple(seeds), budget=budget,
            rows=found, predictions={label: each[0] for label, each in predictions.items()},
            run_id=record.run_id, gains=gains(table, chosen, predictions, replicates),
        )  # fmt: skip
        _report(record, measured, output)
    return measured


@contextmanager
def _record_of(
    store: Store,
    table: PaperTable,
    dataset: Dataset,
    experiments: Collection[OpenedExperiment],
    seeds: Sequence[int],
    budget: float,
) -> Iterator[RunRecord]:
    """Be the one process that measures a table on these data, and record it; maybe go on with it.

    Raises:
        BusyError: Another process does.
    """
    identity = _identity(table, experiments)
    with (
        claimed(state_folder() / "locks" / f"table-{identity[:32]}.lock", f"Table {table.name}"),
        RunRecord.start(
            store,
            table.name.partition(".")[0],
            run_name=table.name,
            parameters={"table": table.name, "seeds": list(seeds), "budget": budget},
            tags=_tags(table, identity, dataset),
            resume=interrupted_run(store, {"ni.table_fingerprint": identity}),
        ) as record,
    ):
        yield record


def _trained(
    store: Store,
    experiments: Mapping[tuple[str, int], OpenedExperiment],
    training: Callable[..., FinishedRun],
    on_event: OnEvent,
) -> dict[str, list[str]]:
    """Train each row with each seed, or find the run that did; the runs by the row's label."""
    runs: dict[str, list[str]] = {}
    for number, ((label, seed), experiment) in enumerate(experiments.items(), start=1):
        on_event(f"training {number} of {len(experiments)}: {label}, seed {seed}")
        tags = _same_training(experiment)
        found = finished_run(store, tags)
        if found is not None:
            run_id = found.run_id
            on_event(f"reusing run {run_id}")
        else:
            resume = interrupted_run(
                store, tags, on_live=lambda text: on_event(f"{text} The row is trained anew.")
            )
            run_id = training(experiment, name=f"{label}, seed {seed}", resume=resume).run_id
        runs.setdefault(label, []).append(run_id)
        _explain(store, run_id, experiment, on_event)
    return runs


def _report(record: RunRecord, measured: MeasuredTable, output: str | None) -> None:
    """Write the table in all its forms into its run, and into `output`."""
    with tempfile.TemporaryDirectory() as scratch:
        write_report(measured, Path(scratch))
        record.log_artifacts(scratch, "table")
        record.describe(as_markdown(measured))
        if output is not None:
            shutil.copytree(scratch, output, dirs_exist_ok=True)


def _opened(
    table: PaperTable, rows: Sequence[Row], seeds: Sequence[int], budget: float, dataset: Dataset
) -> dict[tuple[str, int], OpenedExperiment]:
    """Open each row's experiment: what the last one lacks must not be found missing after hours."""
    _require_references(table, rows)
    splits: dict[object, Splits] = {}
    opened = {}
    for row in rows:
        for seed in seeds:
            config = fitted_to(_prepared(row.config, seed, budget), dataset)
            parts = (
                config.splits,
                config.min_impressions,
                config.train_share,
                config.train_on_validation,
            )
            if parts not in splits:
                splits[parts] = experiment_splits(config, dataset)
            opened[full_label(row), seed] = OpenedExperiment(
                config=replace(config, name=table.name), dataset=dataset, splits=splits[parts]
            )
    reach_weights(each.config for each in opened.values())
    return opened


def _explain(store: Store, run_id: str, experiment: OpenedExperiment, on_event: OnEvent) -> None:
    """Explain a run that was reused and explained otherwise, or not at all."""
    insights = experiment.config.insights
    if insights is not None and not has_insights(store, run_id, insights):
        on_event(f"explaining run {run_id}")
        explain_model(store, run_id, experiment.dataset.root, insights, on_event=on_event)


def _chosen(table: PaperTable, wanted: Sequence[str]) -> list[Row]:
    """Rows that are asked for, and those that they are measured against."""
    if not wanted:
        return list(table.rows)
    found = [
        row for row in table.rows if any(text.lower() in full_label(row).lower() for text in wanted)
    ]
    if not found:
        labels = "; ".join(full_label(row) for row in table.rows)
        raise ConfigError(f"no row of {table.name} contains {' or '.join(wanted)}; it has {labels}")
    references = {column.relative_to for column in table.columns}
    return [row for row in table.rows if row in found or row.label in references]


def _require_references(table: PaperTable, rows: Sequence[Row]) -> None:
    """Refuse changes against a row that is judged on other contents: they would be paired wrong."""
    for row in rows:
        for column in (column for column in table.columns if column.relative_to is not None):
            other = reference_row(column, row, rows)
            if any(
                getattr(row.config, name) != getattr(other.config, name)
                for name in ("splits", "min_impressions")
            ):
                raise ConfigError(
                    f"{column.title!r} of {full_label(row)!r} is a change against "
                    f"{full_label(other)!r}, which has another split or min_impressions and so "
                    "other test contents; give both the same, or a group of their own"
                )


def _prepared(config: ExperimentConfig, seed: int, budget: float) -> ExperimentConfig:
    """Set the seed and the epochs of every stage; the split keeps its seed."""
    # Each row stands beside the others: a GLM per row would be the same one again and again.
    config = replace(config, evaluation=replace(config.evaluation, glm=False))
    if isinstance(config.model, TabularConfig | GaussianProcessConfig):
        return replace(config, model=replace(config.model, seed=seed))

    def changed(stage: TrainingConfig) -> TrainingConfig:
        return replace(stage, seed=seed, epochs=max(1, round(stage.epochs * budget)))

    stages: dict[str, Any] = {n: changed(stage) for n, stage in config.pretraining.stages.items()}
    pretraining = replace(config.pretraining, **stages)
    return replace(config, training=changed(config.training), pretraining=pretraining)


def _identity(table: PaperTable, experiments: Collection[OpenedExperiment]) -> str:
    data = {each.dataset.fingerprint() for each in experiments}
    parts = [table.name, *data, *sorted(fingerprint(each.config) for each in experiments)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _check_options(seeds: Sequence[int], budget: float) -> None:
    if not 0 < budget <= 1 or not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"budget must be in (0, 1] and seeds different numbers from 0, but got {budget} and "
            f"{list(seeds)}"
        )


def _tags(table: PaperTable, identity: str, dataset: Dataset) -> dict[str, str]:
    return {
        "ni.table": table.name,
        "ni.table_fingerprint": identity,
        "ni.dataset": dataset.root,
        "ni.dataset_name": dataset.manifest.name,
        "ni.dataset_fingerprint": dataset.fingerprint(),
        "ni.level": "table",
    }


def _same_training(experiment: OpenedExperiment) -> dict[str, str]:
    """Return the tags of runs that train the same on the same data."""
    return {
        "ni.config_fingerprint": fingerprint(experiment.config),
        "ni.dataset_fingerprint": experiment.dataset.fingerprint(),
        "ni.level": "run",
    }

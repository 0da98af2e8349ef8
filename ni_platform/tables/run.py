"""A table's rows trained or found again, and measured on contents that none has learned from."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ni_platform.claims import claimed
from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError
from ni_platform.evaluation import OBSERVED_STD, PREDICTED_STD, SLICES
from ni_platform.experiment import OnEvent, Workers, train
from ni_platform.experiment_config import (
    ExperimentConfig,
    Pretraining,
    experiment_splits,
    fingerprint,
    fitted_to,
)
from ni_platform.insights.correlation import mean_correlation
from ni_platform.insights.record import has_insights, recorded_pairs
from ni_platform.metrics.evaluation import averaged, percent_change
from ni_platform.metrics.intervals import Draws, Estimate
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.encoders.pretrained import locate
from ni_platform.models.neural_insights import MODALITIES
from ni_platform.scoring import explain_model
from ni_platform.tables.definition import (
    CONTROL_BEST,
    INSIGHT,
    OF_DEVIATIONS,
    Column,
    MeasuredRow,
    MeasuredTable,
    PaperTable,
    Row,
    full_label,
)
from ni_platform.tables.report import write_report
from ni_platform.tracking.run_claim import interrupted_run
from ni_platform.tracking.run_queries import find_runs, read_table_artifact
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import connect, state_folder
from ni_platform.training.config import TrainingConfig
from ni_platform.training.worker import pretrained_modalities


def run_table(
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
    connect()
    dataset = Dataset.open(data)
    chosen = _chosen(table, rows)
    _require_references(table, chosen)
    configs = {
        (full_label(row), seed): fitted_to(_prepared(row.config, seed, budget), dataset)
        for row in chosen
        for seed in seeds
    }
    _reach_weights(configs.values())
    _require_parts(configs.values(), dataset)
    data_fingerprint = dataset.fingerprint()
    identity = _identity(table, configs, data_fingerprint)
    with (
        claimed(state_folder() / "locks" / f"table-{identity[:32]}.lock", f"Table {table.name}"),
        RunRecord.start(
            table.name.partition(".")[0],
            run_name=table.name,
            parameters={"table": table.name, "seeds": list(seeds), "budget": budget},
            tags=_tags(table, identity, dataset, data_fingerprint),
            resume=interrupted_run({"ni.table_fingerprint": identity}),
        ) as record,
    ):
        runs: dict[str, list[str]] = {}
        for number, ((label, seed), config) in enumerate(configs.items(), start=1):
            on_event(f"training {number} of {len(configs)}: {label}, seed {seed}")
            run_id = _finished(config, data_fingerprint)
            if run_id is not None:
                on_event(f"reusing run {run_id}")
            else:
                run_id = train(
                    replace(config, name=table.name),
                    data,
                    workers=workers,
                    name=f"{label}, seed {seed}",
                    parent=record.run_id,
                    resume=interrupted_run(
                        _same_training(config, data_fingerprint),
                        on_live=lambda text: on_event(f"{text} The row is trained anew."),
                    ),
                    allow_failed_checks=allow_failed_checks,
                    on_event=on_event,
                ).run_id
            runs.setdefault(label, []).append(run_id)
            # A reused run may have been explained otherwise, or not at all.
            if config.insights is not None and not has_insights(run_id, config.insights):
                on_event(f"explaining run {run_id}")
                explain_model(run_id, data, config.insights, on_event=on_event)
        on_event("measuring")
        measured = _measured(table, chosen, runs, dataset, tuple(seeds), budget, replicates)
        measured = replace(measured, run_id=record.run_id)
        with tempfile.TemporaryDirectory() as scratch:
            write_report(measured, Path(scratch))
            record.log_artifacts(scratch, "table")
            if output is not None:
                shutil.copytree(scratch, output, dirs_exist_ok=True)
    return measured


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


def _reference(column: Column, row: Row, rows: Iterable[Row]) -> Row:
    for other in rows:
        if (other.group, other.label) == (row.group, column.relative_to):
            return other
    raise ConfigError(
        f"{column.title!r} of {full_label(row)!r} is a change against {column.relative_to!r}, but "
        "there is no such row in its group; add it, or name another in relative_to"
    )


def _require_references(table: PaperTable, rows: Sequence[Row]) -> None:
    """Refuse changes against a row that is judged on other contents: they would be paired wrong."""
    for row in rows:
        for column in (column for column in table.columns if column.relative_to is not None):
            other = _reference(column, row, rows)
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
    if isinstance(config.model, TabularConfig):
        return replace(config, model=replace(config.model, seed=seed))

    def changed(stage: TrainingConfig) -> TrainingConfig:
        return replace(stage, seed=seed, epochs=max(1, round(stage.epochs * budget)))

    pretraining = {
        name: changed(stage)
        for name in MODALITIES
        if (stage := getattr(config.pretraining, name)) is not None
    }
    return replace(
        config, training=changed(config.training), pretraining=Pretraining(**pretraining)
    )


def _reach_weights(configs: Iterable[ExperimentConfig]) -> None:
    """Fetch all pretrained weights now: the last row's must not be found missing after hours."""
    for weights in {
        getattr(config.model, modality).weights
        for config in configs
        for modality in pretrained_modalities(config.model)
    }:
        locate(weights)


def _require_parts(configs: Iterable[ExperimentConfig], dataset: Dataset) -> None:
    """Split as each row will: an empty part of the last one must not be found after hours."""
    split = {}
    for config in configs:
        split[config.splits, config.min_impressions, config.train_on_validation] = config
    for config in split.values():
        experiment_splits(config, dataset)


def _identity(
    table: PaperTable, configs: Mapping[tuple[str, int], ExperimentConfig], data: str
) -> str:
    parts = [table.name, data, *sorted(fingerprint(config) for config in configs.values())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _check_options(seeds: Sequence[int], budget: float) -> None:
    if not 0 < budget <= 1 or not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError(
            f"budget must be in (0, 1] and seeds different numbers from 0, but got {budget} and "
            f"{list(seeds)}"
        )


def _tags(table: PaperTable, identity: str, dataset: Dataset, data: str) -> dict[str, str]:
    return {
        "ni.table": table.name,
        "ni.table_fingerprint": identity,
        "ni.dataset": dataset.root,
        "ni.dataset_name": dataset.manifest.name,
        "ni.dataset_fingerprint": data,
        "ni.level": "table",
    }


def _same_training(config: ExperimentConfig, data: str) -> dict[str, str]:
    """Return the tags of runs that train the same on the same data."""
    return {
        "ni.config_fingerprint": fingerprint(config),
        "ni.dataset_fingerprint": data,
        "ni.level": "run",
    }


def _finished(config: ExperimentConfig, data: str) -> str | None:
    found = find_runs(_same_training(config, data))
    runs = [run for run in found if run.status == "FINISHED" and run.model_uri]
    return runs[0].run_id if runs else None


def _measured(
    table: PaperTable,
    rows: Sequence[Row],
    runs: Mapping[str, Sequence[str]],
    dataset: Dataset,
    seeds: tuple[int, ...],
    budget: float,
    replicates: int,
) -> MeasuredTable:
    predictions = {
        label: [read_table_artifact(run, "predictions/test.parquet") for run in ids]
        for label, ids in runs.items()
    }
    pairs = {
        full_label(row): [
            table[table["method"] == row.method]
            for table in map(recorded_pairs, runs[full_label(row)])
        ]
        for row in rows
        if row.method is not None
    }
    found = []
    for row in rows:
        figures: dict[str, Estimate] = {}
        spread: dict[str, float] = {}
        for column in table.columns:
            measured = pairs if column.metric.startswith(INSIGHT) else predictions
            own = measured[full_label(row)]
            reference = None
            if column.relative_to is not None:
                reference = measured[full_label(_reference(column, row, rows))]
            estimate = _figure(column, own, reference, replicates)
            if estimate is None:
                continue
            figures[column.title] = estimate
            if len(own) > 1 and reference is None:
                each = [_figure(column, [one], None, 0) for one in own]
                spread[column.title] = float(np.std([e.value for e in each if e], ddof=1))
        found.append(
            MeasuredRow(
                row=row,
                runs=tuple(runs[full_label(row)]),
                figures=figures,
                spread=spread,
            )
        )
    shown = tuple(c for c in table.columns if any(c.title in row.figures for row in found))
    return MeasuredTable(
        table=table,
        dataset=dataset.manifest.name,
        seeds=seeds,
        budget=budget,
        rows=tuple(found),
        columns=shown,
        predictions={label: tables[0] for label, tables in predictions.items()},
        run_id="",
    )


def _figure(
    column: Column,
    own: Sequence[pd.DataFrame],
    reference: Sequence[pd.DataFrame] | None,
    replicates: int,
) -> Estimate | None:
    """Return the column's figure; None where the slice is empty or the metric not defined."""
    if column.metric.startswith(INSIGHT):
        return _insight_correlation(column, own, reference, replicates)
    part, _, metric = column.metric.partition("/")
    predicted, observed = "prediction", "success_rate"
    if metric in OF_DEVIATIONS:
        metric, predicted, observed = OF_DEVIATIONS[metric], PREDICTED_STD, OBSERVED_STD
    rows = own[0]["part"].isin(SLICES[part]).to_numpy()
    if not rows.any() or predicted not in own[0]:
        return None
    if part == "in_domain" and not (own[0]["part"] == "out_of_domain").any():
        return None  # it is the whole test part
    first = own[0][rows]
    if metric.startswith("pairwise_accuracy_") and not first["ab_test"].notna().any():
        return None
    estimate = averaged(
        metric,
        [table.loc[rows, predicted] for table in own],
        first["clicks"],
        first["impressions"],
        reference=None
        if reference is None
        else [table.loc[rows, predicted] for table in reference],
        ab_test=first["ab_test"].to_numpy(),
        group=first["group"].to_numpy(),
        inputs=first["content_key"].to_numpy(),
        success_rate=first[observed],
        replicates=replicates,
    )
    return estimate if np.isfinite(estimate.value) else None


def _insight_correlation(
    column: Column,
    own: Sequence[pd.DataFrame],
    reference: Sequence[pd.DataFrame] | None,
    replicates: int,
) -> Estimate | None:
    """As `_figure`, from the pairs that each run compared; a change is on the same draws."""

    def mean(trainings: Sequence[pd.DataFrame]) -> Draws:
        modality = column.metric.removeprefix(INSIGHT).removesuffix(CONTROL_BEST)
        chosen = [table[table["modality"] == modality] for table in trainings]
        if column.metric.endswith(CONTROL_BEST):
            chosen = [table[table["control_best"]] for table in chosen]
        return mean_correlation(chosen, replicates=replicates)

    found = mean(own)
    if reference is not None:
        found = percent_change(found, mean(reference))
    return found.estimate() if np.isfinite(found.value) else None

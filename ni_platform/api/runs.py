"""Recorded runs: what they were made of, how good they are, what to do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ni_platform.api.curves import curves_picture
from ni_platform.api.data import Dataset, open_dataset
from ni_platform.api.display import Part, cell, figure, interval
from ni_platform.api.explanations import Explanations
from ni_platform.api.insights import Insights, make_insights, recorded_insights
from ni_platform.api.models import Model, promoted_model
from ni_platform.api.progress import ScoringProgress
from ni_platform.api.value import Value
from ni_platform.comparison import compare_runs
from ni_platform.errors import TrackingError
from ni_platform.experiment_config import ExperimentConfig, list_experiments, of_run
from ni_platform.metrics.catalogue import HEADLINE, METRICS
from ni_platform.narrowing import given
from ni_platform.reporting.page import Table
from ni_platform.scoring import evaluate_model
from ni_platform.tracking.learning_curves import read_curves
from ni_platform.tracking.metric_table import read_metrics
from ni_platform.tracking.run_queries import (
    RUN_COLUMNS,
    RunSummary,
    has_artifact,
    list_runs,
    read_run,
    read_table_artifact,
)
from ni_platform.tracking.store import Store, open_store

if TYPE_CHECKING:
    from ni_platform.evaluation import FinishedRun

_COMPARED = [f"test/{name}" for name, metric in METRICS.items() if "test" in metric.shown]
_SLICES = ("test", "validation", "in_domain", "out_of_domain")
_NOT_TOLD = ("content_key", "group", "overdispersion")
"""Columns of predictions that metrics are computed with."""
_PREDICTIONS = ("predictions/test.parquet", "predictions/validation.parquet")


@dataclass(frozen=True, kw_only=True, repr=False)
class Run:
    """A run, finished or not: its figures as frames, its model, its insights."""

    run_id: str
    store: Store = field(repr=False)

    @property
    def summary(self) -> RunSummary:
        """What MLflow knows of it now: name, status, tags, parameters, times."""
        return read_run(self.store, self.run_id)

    @property
    def name(self) -> str:
        """Its name."""
        return self.summary.run_name

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, FAILED or KILLED (interrupted; `resume` goes on with it)."""
        return self.summary.status

    @cached_property
    def config(self) -> ExperimentConfig:
        """The config that it was made with, whole."""
        return of_run(self.store, self.run_id)[0]

    @property
    def dataset(self) -> Dataset:
        """The dataset that it was trained on, opened.

        Raises:
            DatasetError: It is not where it was.
        """
        return open_dataset(given(self.summary.tags.get("ni.dataset")))

    @property
    def metrics(self) -> pd.DataFrame:
        """Every figure, a row each: slice, metric, value, low, high (95 %), n (what it rests on).

        The test part first, headline figures first. Errors are in units of the success rate,
        accuracies are shares of pairs, changes against the GLM (`_vs_glm`) are percent.
        """
        table = read_metrics(self.store, self.run_id)
        part, name = _rank(table["slice"], _SLICES), _rank(table["metric"], list(HEADLINE))
        order = np.lexsort((table["metric"], name, table["slice"], part))
        return table.iloc[order].reset_index(drop=True)

    @property
    def curves(self) -> pd.DataFrame:
        """Figures of every epoch, a row each: stage, epoch (from 1), metric, value."""
        return read_curves(self.store, self.run_id)

    @property
    def predictions(self) -> pd.DataFrame:
        """A row per content that it did not train on, those of the test part first.

        content_id, part (validation, in_domain, out_of_domain), ab_test (where figures within A/B
        tests count it), platform_test (where a platform delivered its arms), evidence, domain,
        impressions, clicks, success_rate (observed), prediction, what else its model gives, and
        last what metrics are computed with: content_key, group, overdispersion.

        Raises:
            TrackingError: It did not finish.
        """
        present = [
            path for path in _PREDICTIONS if has_artifact(self.store, self.run_id, path)
        ] or _PREDICTIONS[:1]
        tables = [read_table_artifact(self.store, self.run_id, path) for path in present]
        found = pd.concat([table for table in tables if len(table)], ignore_index=True)
        last = [name for name in _NOT_TOLD if name in found]
        return found[[name for name in found if name not in last] + last]

    @cached_property
    def model(self) -> Model:
        """Its model.

        Raises:
            TrackingError: It logged none when it is used.
        """
        return Model(uri=self.run_id, store=self.store)

    def predict(self, frame: Any, *, ab_test: str | None = None) -> pd.DataFrame:
        """As `Model.predict`."""
        return self.model.predict(frame, ab_test=ab_test)

    def explain(self, frame: Any, **settings: Any) -> Explanations:
        """As `Model.explain`."""
        return self.model.explain(frame, **settings)

    def insights(self, data: Dataset | str | Path | None = None, **settings: Any) -> Insights:
        """Return what the model has learned, tested against held-out A/B tests.

        Insights that the run holds are read; with a dataset or settings they are made, which takes
        minutes, and recorded: in this run, or for another dataset in one of their own.

        Args:
            data: Another dataset than the run's own.
            **settings: Of `InsightsConfig`, such as `contents=300` or
                `attribution={"methods": ["kernel_shap"]}`.

        Raises:
            ConfigError: The model is no network, or a setting does not fit.
            BusyError: Another process trains or explains the run.
        """
        known = recorded_insights(self.store, self.run_id)
        if known is not None and data is None and not settings:
            return known
        place = None if data is None else open_dataset(data).folder
        return make_insights(self.store, self.run_id, place, settings)

    def evaluate(self, data: Dataset | str | Path) -> Run:
        """Measure the model on contents of a dataset that it did not learn from, as a new run.

        Raises:
            DatasetError: It learned from every content.
        """
        with ScoringProgress() as progress:
            folder = open_dataset(data).folder
            found = evaluate_model(self.store, self.run_id, folder, on_scored=progress)
        return finished(self.store, found)

    def value(self, data: Dataset | str | Path | None = None, *, replicates: int = 200) -> Value:
        """As `Model.value`; on the run's own dataset if none is given."""
        return self.model.value(self.dataset if data is None else data, replicates=replicates)

    def promote(
        self, model: str, *, force: str | None = None, gates: str | Path | None = None
    ) -> Model:
        """Register the run's model under a name and make it champion if every gate passes.

        Args:
            model: Name of the registered model.
            force: Reason to promote although a gate refuses; recorded.
            gates: File that says which gates are on, and their thresholds; `gates.yaml` of the
                current folder if None, if there is one.

        Returns:
            The model, with what the gates said.

        Raises:
            ConfigError: The file of gates cannot be used; names file, key, value and remedy.
            PromotionRefusedError: A gate refused; names it and why. It stays challenger.
            TrackingError: The run did not finish, or the name is none.
        """
        return promoted_model(self.store, self.run_id, model, force, gates)

    def __repr__(self) -> str:
        run = self.summary
        return f"Run {run.run_name} ({self.run_id}), {run.status}"

    def _repr_html_(self) -> str:
        run = self.summary
        parts = [Part(note=f"run {self.run_id}, {run.status.lower()}")]
        if run.tags.get("ni.error"):
            parts.append(Part(note=run.tags["ni.error"]))
        headline = _headline(self.metrics)
        if headline is not None:
            parts.append(Part(table=headline))
        picture = curves_picture(self.curves)
        if picture is not None:
            parts.append(Part(heading="Learning curves", picture=picture))
        return cell(run.run_name, *parts)


def open_run(run_id: str) -> Run:
    """Open a recorded run.

    Raises:
        TrackingError: There is no such run, or the store does not answer.
    """
    run = Run(run_id=run_id, store=open_store())
    _ = run.summary
    return run


def runs(experiment: str | None = None, *, limit: int = 20) -> pd.DataFrame:
    """Return the newest runs, a row each.

    Columns: run_id, run_name, experiment, status, started, seconds, dataset, dataset_fingerprint,
    model_uri, then the figures that MLflow shows (`test/rmse`).

    Args:
        experiment: Only runs of this experiment, or of all in its file.
        limit: How many at most.

    Raises:
        TrackingError: There is no run of such an experiment.
    """
    return list_runs(open_store(), experiment, limit=limit)


def compare(
    compared: Sequence[Run | str] = (),
    *,
    metrics: Sequence[str] | None = None,
    limit: int = 20,
) -> pd.DataFrame:
    """Return runs side by side, a row each, with figures of the test part and 95 % intervals.

    Columns: run_name, experiment, status, dataset, then per figure its name (`test/rmse`), and with
    `_low` and `_high` its interval, then started, seconds, run_id, dataset_fingerprint and
    model_uri. Only runs of one dataset_fingerprint can be compared.

    Args:
        compared: Runs, their ids, or names of runs or experiments, of which the newest is taken; an
            experiment without a run is a row that says so. The newest runs if there are none.
        metrics: Figures as SLICE/METRIC; those of the test part that MLflow shows if None.
        limit: How many of the newest runs, where none is named.

    Raises:
        TrackingError: There is no such run or experiment.
    """
    store = open_store()
    wanted = list(_COMPARED if metrics is None else metrics)
    names = [run.run_id if isinstance(run, Run) else run for run in compared]
    if names:
        tables = [_compared(store, name, wanted) for name in names]
        found = pd.concat(tables, ignore_index=True)
    else:
        found = compare_runs(store, metrics=wanted, limit=limit)
    first = ["run_name", "experiment", "status", "dataset"]
    figures = [f"{name}{end}" for name in wanted for end in ("", "_low", "_high")]
    last = [name for name in RUN_COLUMNS if name not in first]
    return found[first + [name for name in figures if name in found] + last]


def finished(store: Store, run: FinishedRun) -> Run:
    """Return the run that a command has just finished."""
    return Run(run_id=run.run_id, store=store)


def _compared(store: Store, name: str, metrics: Sequence[str]) -> pd.DataFrame:
    try:
        return compare_runs(store, [name], metrics=metrics)
    except TrackingError:
        if name not in dict(list_experiments()):
            raise
    row = dict.fromkeys(RUN_COLUMNS) | {"run_name": name, "experiment": name, "status": "NO RUN"}
    return pd.DataFrame([row])


def _rank(labels: pd.Series, order: Sequence[str]) -> np.ndarray:
    """Position of each label in an order; those that are not in it come last."""
    places = {name: place for place, name in enumerate(order)}
    return labels.map(lambda label: places.get(label, len(places))).to_numpy(np.int64)


def _headline(metrics: pd.DataFrame) -> Table | None:
    """Headline figures by slice, each with its interval."""
    parts = [name for name in _SLICES if (metrics["slice"] == name).any()]
    if not parts:
        return None
    found = {(row["slice"], row["metric"]): row for row in metrics.to_dict("records")}
    rows = []
    for name, label in HEADLINE.items():
        cells = [found.get((part, name)) for part in parts]
        if any(cells):
            rows.append([label, *(_estimate(row) for row in cells)])
    return Table.of(["metric, with 95 % interval", *parts], rows)


def _estimate(row: Mapping[Any, Any] | None) -> str:
    if row is None:
        return "–"
    bounds = interval(row["low"], row["high"])
    return figure(row["value"]) + (f" ({bounds})" if bounds else "")

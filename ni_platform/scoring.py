"""A recorded model applied to a dataset: its predictions, and how good they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from ni_platform.attribution.config import AttributionConfig
from ni_platform.attribution.explain import explain as explain_rows
from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError
from ni_platform.evaluation import EvaluationConfig, FinishedRun, add_predictions, outcome_table
from ni_platform.evaluation_record import record_evaluation, record_metrics
from ni_platform.held_out import own_run, unseen_contents
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.insights import Insights
from ni_platform.insights.record import attribution_table, explain_and_record
from ni_platform.models.ensemble import Ensemble, Explainable
from ni_platform.models.regressor import Regressor, load_regressor
from ni_platform.models.scorer import Scorer
from ni_platform.models.uncertainty import is_gaussian_process, predict_with_uncertainty
from ni_platform.registry.model_source import logged_uri, resolve_model, run_of_model
from ni_platform.registry.run_evaluation import RunEvaluation
from ni_platform.run_note import describe_run
from ni_platform.run_start import dataset_part
from ni_platform.tracking.dataset_inputs import LONGEST_DIGEST, log_dataset
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store

EXPLAINED_RUN = "ni.explained_run"
"""Tag of a run of insights on another dataset than the model's own: the run that made the model."""


class OnScored(Protocol):
    """Told how many contents were scored just now, and how many there are in all."""

    def __call__(self, scored: int, total: int) -> None:
        """Take note."""


def evaluate_model(
    store: Store, uri: str, data: str, *, on_scored: OnScored | None = None
) -> FinishedRun:
    """Evaluate a model on the contents of `data` that it did not learn from, as a run of its own.

    Args:
        store: Where runs and models are.
        uri: A run id, `models:/NAME@champion` or another model URI.
        data: Dataset folder; the one that the model was trained on, or any other.
        on_scored: Told about progress.

    Raises:
        DatasetError: The model learned from every content.

    """
    scorer = load_regressor(resolve_model(store, uri))
    dataset = Dataset.open(data)
    trained = run_of_model(store, uri)
    membership = unseen_contents(
        dataset, None if trained is None else RunEvaluation.load(store, trained)
    )
    config = EvaluationConfig()
    with own_run(store, "evaluations", uri, dataset, {"ni.evaluated_run": trained}) as record:
        rows = membership["row"].to_numpy()
        table = outcome_table(dataset, membership.drop(columns="row"), rows)
        predictions, deviations = _score(scorer, dataset, rows, on_scored)
        observed = None
        if scorer.buckets is not None:
            observed = scorer.buckets.observed_deviation(dataset, rows)
        table = add_predictions(table, predictions, deviations, observed)
        metrics = record_evaluation(record, dataset, table, config)
        name, digest = dataset.manifest.name, dataset.fingerprint()[:LONGEST_DIGEST]
        part = dataset_part(dataset, np.arange(len(dataset)), name, digest, "evaluation")
        log_dataset(record, [part])
        datasets = dict.fromkeys(metrics, part)
        record_metrics(record, metrics, model_uri=logged_uri(store, uri), datasets=datasets)
        describe_run(record, explainable=False)
    return FinishedRun(run_id=record.run_id, name=record.run_name, model_uri=uri, metrics=metrics)


def predict(
    store: Store | None,
    uri: str,
    data: str,
    output: str,
    *,
    on_scored: OnScored | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> int:
    """Write `content_id` and `prediction` for each content of `data`; return how many.

    A Gaussian process says how sure it is: see `predict_with_uncertainty` for its further columns.
    The file appears in one step, complete. `store` as `resolve_model` takes it. `say` is told of
    levels that the model does not know.

    Raises:
        ConfigError: `output` ends neither in .parquet nor in .csv.

    """
    target = _target(output, (".parquet", ".csv"))
    scorer = load_regressor(resolve_model(store, uri))
    dataset = Dataset.open(data)
    ab_test = dataset.ab_test.reset_index(drop=True)
    table = predicted(scorer, dataset.inputs(), ab_test, on_scored=on_scored, say=say)
    table.insert(0, "content_id", dataset.content_id.to_numpy())
    _write_whole(table, target)
    return len(table)


def predicted(
    model: Regressor,
    frame: pd.DataFrame,
    ab_test: pd.Series,
    *,
    on_scored: OnScored | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> pd.DataFrame:
    """Return `prediction`, a rate per row of `frame`, and of a Gaussian process how sure it is.

    Args:
        model: Of any kind.
        frame: Inputs of N contents, pictures as paths, URIs or bytes; RangeIndex.
        ab_test: Labels of their A/B tests [N], null for none; see `predict_with_uncertainty`.
        on_scored: Told about progress.
        say: Told of levels that the model does not know.

    Raises:
        DatasetError: A column is missing, or a cell cannot be read.

    """
    for note in model.unknown_levels(frame):
        say(note)
    progress = None if on_scored is None else partial(on_scored, total=len(frame))
    if is_gaussian_process(model):
        follow = progress or (lambda done: None)
        return predict_with_uncertainty(model, frame, ab_test, progress=follow)
    return pd.DataFrame({"prediction": model.predict(frame, progress=progress)})


def explain(
    store: Store | None,
    uri: str,
    data: str,
    output: str,
    config: AttributionConfig,
    contents: int | None = None,
    *,
    on_scored: OnScored | None = None,
) -> int:
    """Write attributions of the first `contents` contents of `data`; return how many rows.

    The columns are those of `ni_platform.insights.record.attribution_table`. The file appears in
    one step, complete. `store` as `resolve_model` takes it.

    Raises:
        ConfigError: `output` does not end in .parquet, or the model is no network.

    """
    target = _target(output, (".parquet",))
    scorer = network_of(store, uri)
    dataset = Dataset.open(data)
    rows = np.arange(min(len(dataset), contents or len(dataset)))
    progress = (lambda done: None) if on_scored is None else partial(on_scored, total=len(rows))
    explanations = explain_rows(scorer, dataset.inputs(rows), config, progress=progress)
    table = attribution_table(explanations, dataset.content_id.astype(str).to_numpy()[rows])
    _write_whole(table, target)
    return len(table)


def _target(output: str, endings: tuple[str, ...]) -> Path:
    target = Path(output)
    if target.suffix not in endings:
        raise ConfigError(f"--output must end in {' or '.join(endings)}, but got {output!r}")
    return target


def _write_whole(table: pd.DataFrame, target: Path) -> None:
    """Write a table, which appears complete or not at all."""
    content = io.BytesIO()
    if target.suffix == ".csv":
        table.to_csv(content, index=False)
    else:
        table.to_parquet(content, index=False)
    storage.write_bytes(target, content.getvalue())


def explain_model(
    store: Store,
    uri: str,
    data: str,
    config: InsightsConfig,
    *,
    on_event: Callable[[str], None] = lambda event: None,
) -> tuple[str, Insights]:
    """Explain a model on `data`, test the explanations against what happened, and record it all.

    On the dataset that the model was trained on everything goes into the run that made it;
    otherwise into a run of its own. Only contents that the model did not learn from are judged.

    Args:
        store: Where runs and models are.
        uri: A run id, `models:/NAME@champion` or another model URI.
        data: Dataset folder.
        config: How.
        on_event: Told in words what is being done.

    Returns:
        The run that holds the insights, and these.

    Raises:
        ConfigError: The model is no network.
        BusyError: A living process trains the run, or explains it.

    """
    scorer = network_of(store, uri)
    dataset = Dataset.open(data)
    trained_id = run_of_model(store, uri)
    trained = None if trained_id is None else RunEvaluation.load(store, trained_id)
    same = trained is not None and (
        trained.run.tags.get("ni.dataset_fingerprint") == dataset.fingerprint()
    )
    if trained_id is not None and trained is not None and same:
        by_id = trained.splits.set_index("content_id")["part"]
        parts = pd.DataFrame(
            {
                "row": np.arange(len(dataset)),
                "part": dataset.content_id.astype(str).map(by_id).to_numpy(),
            }
        )
        record = RunRecord.existing(store, trained_id)
        with record.alone():
            insights = explain_and_record(record, scorer, dataset, parts, config, on_event)
            describe_run(record, explainable=True)
            return trained_id, insights
    unseen = unseen_contents(dataset, trained)
    parts = pd.DataFrame({"row": np.arange(len(dataset)), "part": "train"})
    parts.loc[unseen["row"], "part"] = "in_domain"
    with own_run(store, "insights", uri, dataset, {EXPLAINED_RUN: trained_id}) as record:
        insights = explain_and_record(record, scorer, dataset, parts, config, on_event)
        describe_run(record, explainable=True)
        return record.run_id, insights


def network_of(store: Store | None, uri: str) -> Explainable:
    """Load a model that is a network, or an ensemble of networks, which can be explained.

    Raises:
        ConfigError: It is a tabular one, or has such a member.
        TrackingError: There is no such model.

    """
    model = load_regressor(resolve_model(store, uri))
    if isinstance(model, Ensemble) and model.networks:
        return model
    if not isinstance(model, Scorer):
        raise ConfigError(
            f"{uri} is a model of kind tabular, and only networks can be explained; name a run of "
            "Neural Insights or M2FN"
        )
    return model


def _score(
    scorer: Regressor, dataset: Dataset, rows: np.ndarray, on_scored: OnScored | None
) -> tuple[np.ndarray, np.ndarray | None]:
    progress = None if on_scored is None else partial(on_scored, total=len(rows))
    return scorer.predict_with_deviation(dataset.inputs(rows), progress=progress)

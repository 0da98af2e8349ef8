"""A recorded model applied to a dataset: its predictions, and how good they are."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import SplitConfig, row_groups
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.evaluation import (
    EvaluationConfig,
    FinishedRun,
    add_predictions,
    content_keys,
    outcome_table,
    record_evaluation,
)
from ni_platform.models.regressor import Regressor, load_regressor
from ni_platform.tracking.model_source import resolve_model, run_of_model
from ni_platform.tracking.run_evaluation import RunEvaluation
from ni_platform.tracking.run_record import RunRecord


class OnScored(Protocol):
    """Told how many contents were scored just now, and how many there are in all."""

    def __call__(self, scored: int, total: int) -> None:
        """Take note."""


def evaluate_model(uri: str, data: str, *, on_scored: OnScored | None = None) -> FinishedRun:
    """Evaluate a model on the contents of `data` that it did not learn from, as a run of its own.

    Args:
        uri: A run id, `models:/NAME@champion` or another model URI.
        data: Dataset folder; the one that the model was trained on, or any other.
        on_scored: Told about progress.

    Raises:
        DatasetError: The model learned from every content.

    """
    scorer = load_regressor(resolve_model(uri))
    dataset = Dataset.open(data)
    trained = run_of_model(uri)
    membership = _unseen(dataset, None if trained is None else RunEvaluation.load(trained))
    config = EvaluationConfig()
    with RunRecord.start(
        "evaluations",
        run_name=f"evaluate {dataset.manifest.name}",
        parameters={"model": uri},
        tags={
            "ni.dataset": dataset.root,
            "ni.dataset_fingerprint": dataset.fingerprint(),
            "ni.evaluated_run": trained,
        },
    ) as record:
        rows = membership["row"].to_numpy()
        table = outcome_table(dataset, membership.drop(columns="row"), rows)
        predictions, deviations = _score(scorer, dataset, rows, on_scored)
        observed = None
        if scorer.buckets is not None:
            observed = scorer.buckets.observed_deviation(dataset, rows)
        table = add_predictions(table, predictions, deviations, observed)
        metrics = record_evaluation(record, table, config)
    return FinishedRun(run_id=record.run_id, name=record.run_name, model_uri=uri, metrics=metrics)


def predict(uri: str, data: str, output: str, *, on_scored: OnScored | None = None) -> int:
    """Write `content_id` and `prediction` for each content of `data`; return how many.

    The file appears in one step, complete.

    Raises:
        ConfigError: `output` ends neither in .parquet nor in .csv.

    """
    target = Path(output)
    if target.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"--output must end in .parquet or .csv, but got {output!r}")
    scorer = load_regressor(resolve_model(uri))
    dataset = Dataset.open(data)
    table = pd.DataFrame(
        {
            "content_id": dataset.content_id,
            "prediction": _score(scorer, dataset, np.arange(len(dataset)), on_scored)[0],
        }
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}-unfinished")
    try:
        if target.suffix == ".csv":
            table.to_csv(unfinished, index=False)
        else:
            table.to_parquet(unfinished, index=False)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    return len(table)


def _score(
    scorer: Regressor, dataset: Dataset, rows: np.ndarray, on_scored: OnScored | None
) -> tuple[np.ndarray, np.ndarray | None]:
    progress = None if on_scored is None else partial(on_scored, total=len(rows))
    return scorer.predict_with_deviation(dataset.inputs(rows), progress=progress)


def _unseen(dataset: Dataset, trained: RunEvaluation | None) -> pd.DataFrame:
    """Rows that the model did not learn from: row, content_key, content_id, part, group.

    On the dataset of the model's own training the run's split says so; on another one, contents
    with the same inputs are recognised by their key, and their whole group is left out.
    """
    rows = pd.DataFrame(
        {
            "row": np.arange(len(dataset)),
            "content_key": content_keys(dataset),
            "content_id": dataset.content_id.astype(str).to_numpy(),
            "part": "in_domain",
            "group": row_groups(dataset, SplitConfig().near_duplicate_similarity),
        }
    )
    if trained is None:
        return rows
    if trained.run.tags.get("ni.dataset_fingerprint") == dataset.fingerprint():
        parts = trained.splits.set_index("content_id")["part"]
        rows["part"] = rows["content_id"].map(parts)
        unseen = rows[rows["part"] != "train"]
    else:
        learned = trained.splits[trained.splits["part"].isin(("train", "validation"))]
        known = rows["content_key"].isin(learned["content_key"])
        unseen = rows[~rows["group"].isin(rows.loc[known, "group"])]
    if unseen.empty:
        raise DatasetError(
            f"the model learned from every content of {dataset.root}; evaluate it on contents "
            "that it has not seen"
        )
    return unseen.reset_index(drop=True)

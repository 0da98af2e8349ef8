"""How the stages of a run learned, epoch by epoch."""

from __future__ import annotations

import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from ni_platform.tracking.run_queries import get_run
from ni_platform.tracking.store import Store

COLUMNS = ("stage", "epoch", "metric", "value")
_BEFORE = "epoch"
"""What the names of these metrics began with in runs of earlier versions."""


def read_curves(store: Store, run_id: str) -> pd.DataFrame:
    """Return the figures of every epoch of every stage of a run, a row each.

    Columns: stage (a modality, or fused), epoch (from 1), metric (train_loss, samples_per_second,
    and of the validation part validation/loss, validation/rmse, ...), value. A model that is fitted
    at once has none.

    Raises:
        TrackingError: There is no such run, or the store does not answer.
    """
    run = get_run(store, run_id)
    with store.errors(f"read the learning curves of run {run_id}"):
        children = store.client.search_runs(
            [run.info.experiment_id],
            f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}' AND tags.`ni.level` = 'stage'",
            order_by=["attributes.start_time ASC"],
        )
        rows = [
            (child.info.run_name, point.step, metric, point.value)
            for child in children
            for name in sorted(child.data.metrics)
            for start, _, metric in [name.partition("/")]
            if start in (child.info.run_name, _BEFORE)
            for point in store.client.get_metric_history(child.info.run_id, name)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))

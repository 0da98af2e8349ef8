"""Every figure of a run in one table, `metrics.parquet`; MLflow's own metrics are a few of them.

MLflow draws a chart for each metric of a run, so a run shows those that people compare, and all
others, with their intervals, stand here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from ni_platform.tracking.run_queries import has_artifact, read_run, read_table_artifact
from ni_platform.tracking.store import Store

if TYPE_CHECKING:
    from ni_platform.tracking.run_record import RunRecord

FILE_NAME = "metrics.parquet"
_PAGE = "metrics.json"
"""The same for MLflow's page, which shows no Parquet; nothing reads it back."""
VALUE_TAG = "ni.value"
"""Tag of a run: what its model is worth on held-out A/B tests, in words (`ni value`)."""
COLUMNS = ("slice", "metric", "value", "low", "high", "n")

_RENAMED = {
    "pairwise_accuracy_within_tests": "pairwise_within",
    "pairwise_accuracy_significant": "pairwise_significant",
    "noise_ceiling_within_tests": "ceiling_within",
    "noise_ceiling_significant": "ceiling_significant",
    "_change_vs_glm": "_vs_glm",
}
"""Parts of metrics' names in runs of earlier versions, and what they are called now."""


def current_name(text: str) -> str:
    """Return a name, or a text with names, of an earlier version as it reads now."""
    for old, new in _RENAMED.items():
        text = text.replace(old, new)
    return text


def read_metrics(store: Store, run_id: str) -> pd.DataFrame:
    """Return every figure of a run, a row each.

    Columns: slice (validation, test, in_domain, out_of_domain, insight/MODALITY, ...), metric,
    value, its 95 % interval (low, high; nan where there is none) and n, how many contents, pairs
    or other things it rests on (nan where that is not known).

    Raises:
        TrackingError: There is no such run, or the store does not answer.
    """
    if has_artifact(store, run_id, FILE_NAME):
        return read_table_artifact(store, run_id, FILE_NAME)
    return _without_table(read_run(store, run_id).metrics)


def add_metrics(record: RunRecord, rows: pd.DataFrame) -> None:
    """Put rows as `read_metrics` gives them into a run's table; a figure that is there is replaced.

    Figures that are not defined (nan) are left out.
    """
    rows = rows.loc[np.isfinite(rows["value"].astype(float)), list(COLUMNS)]
    known = _recorded(record)
    # Numbers throughout: a column of nothing but nan would come back from a file as None.
    rows = pd.concat([known, rows], ignore_index=True).astype(dict.fromkeys(COLUMNS[2:], float))
    rows = rows.drop_duplicates(["slice", "metric"], keep="last", ignore_index=True)
    record.log_table(rows, FILE_NAME)
    record.log_text(rows.to_json(orient="split", index=False, double_precision=15), _PAGE)
    # As `mlflow.log_table` does, which would add rows to those that are there.
    record.set_tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps([{"path": _PAGE, "type": "table"}])})


def _recorded(record: RunRecord) -> pd.DataFrame:
    """The figures that a run has: in its table, or in one of an earlier version as metrics.

    The metrics of a run that is being made are its learning curves, which are no figures.
    """
    known = read_metrics(record.store, record.run_id)
    if has_artifact(record.store, record.run_id, FILE_NAME) or known["low"].notna().any():
        return known
    return known.iloc[:0]


def _without_table(metrics: dict[str, float]) -> pd.DataFrame:
    """The figures of a run that has no table: each bound is a metric of its own."""
    figures = {current_name(name): value for name, value in metrics.items()}
    bounds = {
        f"{name}_{end}" for name in figures for end in ("low", "high") if f"{name}_{end}" in figures
    }
    rows = [
        (
            *name.rpartition("/")[::2],
            value,
            figures.get(f"{name}_low", np.nan),
            figures.get(f"{name}_high", np.nan),
            np.nan,
        )
        for name, value in sorted(figures.items())
        if name not in bounds
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n": float})

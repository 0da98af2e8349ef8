"""A run's metrics as a tidy table: one row per slice and metric."""

from __future__ import annotations

import math

import pandas as pd

from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.store import Store

COLUMNS = ("slice", "metric", "value", "low", "high", "n")


def read_metrics(store: Store, run_id: str) -> pd.DataFrame:
    """Return the table of a run's metrics: slice, metric, value, low, high, n.

    Raises:
        TrackingError: There is no such run.
    """
    metrics = read_run(store, run_id).metrics
    rows = []
    for name, value in metrics.items():
        part, _, metric = name.rpartition("/")
        ends = [metric.removesuffix(end) for end in ("_low", "_high") if metric.endswith(end)]
        if not part or any(f"{part}/{base}" in metrics for base in ends):
            continue
        low, high = (metrics.get(f"{name}_{end}", math.nan) for end in ("low", "high"))
        rows.append((part, metric, value, low, high, math.nan))
    return pd.DataFrame(rows, columns=list(COLUMNS))

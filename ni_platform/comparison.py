"""Runs side by side: every figure with its interval, read from the runs' own tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ni_platform.errors import TrackingError
from ni_platform.tracking.metric_table import read_metrics
from ni_platform.tracking.run_queries import RUN_COLUMNS, list_runs, read_run
from ni_platform.tracking.store import Store
from ni_platform.tracking.views import comparison_page


def compare_runs(
    store: Store,
    runs: Sequence[str] = (),
    *,
    experiment: str | None = None,
    metrics: Iterable[str] | None = None,
    limit: int = 20,
) -> pd.DataFrame:
    """Return a row per run, newest first: what it is, and its figures with 95 % intervals.

    Columns: those of `list_runs`, then per figure SLICE/METRIC, SLICE/METRIC_low and
    SLICE/METRIC_high (nan where a run does not have it).

    Args:
        store: Where the runs are.
        runs: Run ids, or names of runs or experiments, of which the newest run is taken; all runs
            if there are none.
        experiment: Only runs of this experiment, or of all in its file.
        metrics: The figures wanted, such as `test/rmse`; all if None.
        limit: How many of the newest runs at most, where `runs` names none.

    Raises:
        TrackingError: There is no such run.
    """
    found = list_runs(store, experiment, limit=None if runs else limit)[list(RUN_COLUMNS)]
    if runs:
        chosen = [_position(found, name) for name in runs]
        found = found.loc[sorted(set(chosen))].reset_index(drop=True)
    wanted = None if metrics is None else list(metrics)
    figures = pd.DataFrame([_wide(store, run_id, wanted) for run_id in found["run_id"]])
    return pd.concat([found, figures[sorted(figures.columns)]], axis=1)


def _position(runs: pd.DataFrame, name: str) -> int:
    """Where the run stands that a person means, newest first."""
    for column in ("run_id", "run_name", "experiment"):
        same = runs.index[runs[column] == name]
        if len(same):
            return int(same[0])
    raise TrackingError(
        f"There is no run '{name}': neither an id, nor the name of a run or of its experiment. "
        "`ni compare` lists the newest."
    )


def _wide(store: Store, run_id: str, wanted: Sequence[str] | None) -> dict[str, float]:
    table = read_metrics(store, run_id)
    names = table["slice"] + "/" + table["metric"]
    row: dict[str, float] = {}
    for name, (value, low, high) in zip(names, table[["value", "low", "high"]].to_numpy()):
        if wanted is None or name in wanted:
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row


def page_of(store: Store, runs: pd.DataFrame) -> str:
    """Return the address of MLflow's page that compares the runs that `compare_runs` returned."""
    run_ids = list(runs["run_id"])
    experiments = {read_run(store, run_id).experiment_id for run_id in run_ids}
    return comparison_page(run_ids, sorted(experiments))

"""A plan as a run: what was predicted of each draft, to be compared with what came."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ni_platform.data.dataset import Dataset
from ni_platform.data.reading.parquet_file import read_parquet
from ni_platform.models.regressor import Regressor, load_regressor
from ni_platform.plans.plan import Plan
from ni_platform.prediction_log.asked import asked
from ni_platform.prediction_log.table import checked, joined, log_table
from ni_platform.registry.model_source import pinned_uri, resolve_model, run_of_model
from ni_platform.tracking.run_queries import find_runs, read_artifact
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store

EXPERIMENT = "plans"
PREDICTIONS = "predictions.parquet"
PLAN = "plan.json"
PLANNED = "ni.planned"
"""Tag of a plan's run: which drafts to test, in a sentence."""
_RUN = {"ni.recorded": "plan"}
_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Planner:
    """A model whose predictions of drafts are recorded."""

    regressor: Regressor
    uri: str
    """That stays the model's own when an alias moves (`pinned_uri`)."""
    run: str | None
    """That trained it; None if it is not known."""

    @classmethod
    def load(cls, store: Store | None, uri: str) -> Planner:
        """Load a model; arguments and errors as those of `resolve_model`."""
        pinned = pinned_uri(store, uri)
        regressor = load_regressor(resolve_model(store, pinned))
        return cls(regressor=regressor, uri=pinned, run=run_of_model(store, pinned))


def record_plan(
    store: Store,
    plan: Plan,
    drafts: pd.DataFrame,
    planner: Planner,
    dataset: Dataset,
    *,
    shadows: Sequence[tuple[Planner, pd.DataFrame]] = (),
) -> str:
    """Record a plan as a run of the experiment `plans`; return the run's id.

    The run holds the drafts' ids, keys and figures, and nothing of what they say.

    Args:
        store: Where runs are.
        plan: What `make_plan` gave.
        drafts: What it was made of, indexed by id.
        planner: The model that it was made with.
        dataset: The past that it was made with.
        shadows: Models that score the same drafts, though nobody acts on it, each with the drafts
            as it reads them.

    Raises:
        TrackingError: The store does not answer.
        DatasetError: A shadow reads a cell that cannot be read.
    """
    judged = drafts.loc[plan.covariance.index]
    rows = [_planned(plan, judged, planner), *(_scored(judged, *shadow) for shadow in shadows)]
    # A caution repeats levels of a draft.
    told = replace(plan, drafts=plan.drafts.assign(caution=None))
    sentences = told.sentences()
    record = RunRecord.start(
        store,
        EXPERIMENT,
        run_name=f"plan {dataset.manifest.name}",
        parameters={"model": planner.uri},
        tags={
            **_RUN,
            PLANNED: sentences[0],
            "ni.dataset": dataset.root,
            "ni.dataset_fingerprint": dataset.fingerprint(),
            "ni.planned_with": planner.run,
        },
    )
    with record:
        record.describe("\n".join(["## Plan of an A/B test", *(f"- {s}" for s in sentences)]))
        record.log_json(told.to_json(), PLAN)
        now = datetime.now(UTC)
        table = pa.concat_tables(
            log_table(each.assign(time=now, source="plan", request=record.run_id)) for each in rows
        )
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / PREDICTIONS
            pq.write_table(table, file)
            record.log_artifact(file)
    return record.run_id


def recorded_plans(store: Store) -> pd.DataFrame:
    """Read the predictions of all plans that are recorded, with the columns of the log's `SCHEMA`.

    Runs that were deleted or did not finish do not count.

    Raises:
        TrackingError: The store does not answer, or a run's table is gone.
        DatasetError: A run's table is none of the log.
    """
    found = [run for run in find_runs(store, _RUN) if run.status == "FINISHED"]
    with ThreadPoolExecutor(_THREADS) as pool:
        return joined(list(pool.map(lambda run: _read(store, run.run_id), found)))


def recorded_plan(store: Store, run_id: str) -> pd.DataFrame:
    """Read the predictions of one plan, a row per judged draft; errors as `recorded_plans`."""
    return joined([_read(store, run_id)])


def _read(store: Store, run_id: str) -> pa.Table:
    name = f"{PREDICTIONS} of run {run_id}"
    return checked(read_parquet(read_artifact(store, run_id, PREDICTIONS), name), name)


def _planned(plan: Plan, judged: pd.DataFrame, planner: Planner) -> pd.DataFrame:
    figures = plan.drafts.loc[judged.index, ["prediction", "low", "high", "share"]]
    rows = _rows(judged, planner, shadow=False).join(figures.reset_index(drop=True))
    return rows.assign(covariance=list(plan.covariance.to_numpy()))


def _scored(judged: pd.DataFrame, shadow: Planner, drafts: pd.DataFrame) -> pd.DataFrame:
    own = drafts.loc[judged.index]
    # As in a plan, a column that the drafts lack is a missing modality.
    frame = own.reindex(columns=list(shadow.regressor.roles)).reset_index(drop=True)
    predictions: np.ndarray = shadow.regressor.predict(frame)
    return _rows(own, shadow, shadow=True).assign(prediction=predictions)


def _rows(judged: pd.DataFrame, planner: Planner, *, shadow: bool) -> pd.DataFrame:
    model = planner.regressor
    rows = asked(judged.reset_index(drop=True), model.roles, model.levels)
    return pd.DataFrame(rows).assign(
        content_id=[str(name) for name in judged.index],
        model=planner.uri,
        model_run=planner.run,
        shadow=shadow,
    )

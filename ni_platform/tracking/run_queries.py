"""Reading runs back."""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from ni_platform.errors import TrackingError
from ni_platform.tracking.address import without_secrets
from ni_platform.tracking.store import Store, equals

_PAGE = 1000
RUN_COLUMNS = (
    "run_id",
    "run_name",
    "experiment",
    "status",
    "started",
    "seconds",
    "dataset",
    "dataset_fingerprint",
    "model_uri",
)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What is known about one run."""

    run_id: str
    run_name: str
    experiment_id: str
    experiment_name: str
    """MLflow's experiment, which groups runs."""
    status: str
    """MLflow's word: RUNNING, FINISHED, FAILED or KILLED."""
    started: datetime | None
    ended: datetime | None
    parameters: dict[str, str]
    metrics: dict[str, float]
    """The last value of every metric."""
    tags: dict[str, str]
    model_uri: str | None
    artifact_uri: str


def read_run(store: Store, run_id: str) -> RunSummary:
    """Return what is known about `run_id`.

    Raises:
        TrackingError: There is no such run.
    """
    return _summary(get_run(store, run_id), _experiment_names(store))


def find_runs(store: Store, tags: Mapping[str, str]) -> list[RunSummary]:
    """Return the runs that have all these tags, newest first."""
    names = _experiment_names(store)
    with store.errors("look for runs"):
        return [_summary(run, names) for run in _tagged(store, list(names), tags)]


def finished_run(store: Store, tags: Mapping[str, str]) -> RunSummary | None:
    """Return the newest run with all these tags that has finished and logged a model."""
    found = find_runs(store, tags)
    return next((run for run in found if run.status == "FINISHED" and run.model_uri), None)


def leaderboard(
    store: Store, parent_run_id: str, metric: str, *, lower_is_better: bool, limit: int
) -> list[RunSummary]:
    """Return the best finished child runs of a run, the best first.

    They are ordered by the last value of `metric`; those without it, or with nan, are left out.

    Args:
        store: Where the runs are.
        parent_run_id: The run of a sweep.
        metric: Such as `validation/rmse`.
        lower_is_better: Whether the smallest value is the best.
        limit: How many at most, up to 50,000.

    Raises:
        TrackingError: There is no run `parent_run_id`.
    """
    parent = get_run(store, parent_run_id)
    with store.errors("list the best trials"):
        found = store.client.search_runs(
            [parent.info.experiment_id],
            f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent_run_id}' AND attributes.status = 'FINISHED'",
            max_results=limit,
            order_by=[f"metrics.`{metric}` {'ASC' if lower_is_better else 'DESC'}"],
        )
    names = _experiment_names(store)
    summaries = [_summary(run, names) for run in found]
    # MLflow puts them last, so nothing better is lost.
    return [one for one in summaries if not math.isnan(one.metrics.get(metric, math.nan))]


def list_runs(
    store: Store,
    experiment: str | None = None,
    *,
    limit: int | None = None,
    stages: bool = False,
    parameters: Sequence[str] = (),
) -> pd.DataFrame:
    """Return one row per run, newest first.

    Columns: run_id, run_name, experiment, status, started, seconds, dataset,
    dataset_fingerprint, model_uri, then one per name in `parameters`, then one per metric under
    its own name (`test/rmse`).

    Args:
        store: Where the runs are.
        experiment: Only runs of this experiment definition (`neural_insights.text_small`) or of
            all definitions in its file (`neural_insights`, which is MLflow's experiment).
        limit: How many runs at most.
        stages: Include child runs, but not the trials of sweeps (`leaderboard`).
        parameters: Parameters to show, such as `training.learning_rate`.

    Raises:
        TrackingError: There is no run of such an experiment.
    """
    names = _experiment_names(store)
    levels = "tags.`ni.level` != 'trial'" if stages else "tags.`ni.level` = 'run'"
    searched = list(names)
    wanted: dict[str, str] = {}
    if experiment is not None:
        searched = [identity for identity, name in names.items() if name == experiment]
        if not searched:
            searched = list(names)
            wanted = {"ni.experiment": experiment}
    with store.errors("list runs"):
        page = _PAGE if limit is None else min(_PAGE, max(1, limit))
        runs = list(islice(_tagged(store, searched, wanted, levels, page=page), limit))
    if experiment is not None and not runs:
        raise TrackingError(
            f"There is no run of the experiment '{experiment}'. `ni experiments` lists the"
            " definitions, `ni compare` all runs."
        )
    summaries = [_summary(run, names) for run in runs]
    rows = pd.DataFrame(
        [_row(summary, parameters) for summary in summaries], columns=[*RUN_COLUMNS, *parameters]
    )
    metrics = pd.DataFrame([summary.metrics for summary in summaries], index=rows.index)
    return pd.concat([rows, metrics[sorted(metrics.columns)]], axis=1)


def read_artifact(store: Store, run_id: str, path: str) -> bytes:
    """Return what the run's artifact `path` holds; nothing of it stays on this machine.

    Raises:
        TrackingError: The run has no such artifact.
    """
    run = get_run(store, run_id)
    try:
        with tempfile.TemporaryDirectory() as scratch, store.errors(f"read {path} of run {run_id}"):
            return Path(store.client.download_artifacts(run_id, path, scratch)).read_bytes()
    except TrackingError as error:
        folder = path.rpartition("/")[0]
        with store.errors(f"list the artifacts of run {run_id}"):
            present = [item.path for item in store.client.list_artifacts(run_id, folder or None)]
        if path in present:
            raise
        raise TrackingError(
            f"Run {run_id} ({run.info.run_name}, {run.info.status}) has no artifact '{path}'; it"
            f" has {', '.join(present) or 'none'} there. Was it made by `ni train` and did it"
            " finish?"
        ) from error


def read_json_artifact(store: Store, run_id: str, path: str) -> Any:
    """As `read_artifact`, of a JSON file."""
    return json.loads(read_artifact(store, run_id, path))


def read_table_artifact(store: Store, run_id: str, path: str) -> pd.DataFrame:
    """As `read_artifact`, of a Parquet table."""
    return pd.read_parquet(io.BytesIO(read_artifact(store, run_id, path)))


def has_artifact(store: Store, run_id: str, path: str) -> bool:
    """Whether a run has the artifact `path`.

    Raises:
        TrackingError: There is no such run, or the store does not answer.
    """
    get_run(store, run_id)
    with store.errors(f"list the artifacts of run {run_id}"):
        listed = store.client.list_artifacts(run_id, path.rpartition("/")[0] or None)
    return any(file.path == path for file in listed)


def get_run(store: Store, run_id: str) -> Run:
    """Return MLflow's run, or raise a TrackingError that says there is none."""
    try:
        return store.client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            with store.errors(f"read run {run_id}"):
                raise
        raise TrackingError(
            f"There is no run '{run_id}' in {without_secrets(store.uri)}. `ni compare`"
            " lists the runs."
        ) from error


def writable_run(store: Store, run_id: str) -> Run:
    """Return MLflow's run, which something is to be written into.

    Raises:
        TrackingError: There is no such run, or it was deleted: such a one takes nothing.
    """
    run = get_run(store, run_id)
    if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
        raise TrackingError(
            f"Run {run_id} ({run.info.run_name}) was deleted in MLflow, which writes nothing into"
            f" it. Restore it with `mlflow runs restore --run-id {run_id}`, or start a new one"
            " under another name."
        )
    return run


def logged_model_uri(run: Run) -> str | None:
    """Return the `models:/m-...` URI of the run's model, None if it logged none."""
    tagged = run.data.tags.get("ni.model_uri")
    if tagged:
        return tagged
    outputs = run.outputs.model_outputs if run.outputs else []
    return f"models:/{outputs[-1].model_id}" if outputs else None


def _tagged(
    store: Store,
    experiments: Sequence[str],
    tags: Mapping[str, str],
    *conditions: str,
    page: int = _PAGE,
) -> Iterator[Run]:
    """Yield the runs that have all these tags and fulfil MLflow's conditions, newest first."""
    equal = (equals(f"tags.`{name}`", value) for name, value in tags.items())
    condition = " AND ".join((*equal, *conditions))
    token: str | None = None
    while True:
        found = store.client.search_runs(
            list(experiments),
            condition,
            max_results=page,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from (run for run in found if tags.items() <= run.data.tags.items())
        token = found.token
        if not token:
            return


def _summary(run: Run, experiment_names: dict[str, str]) -> RunSummary:
    return RunSummary(
        run_id=run.info.run_id,
        run_name=run.info.run_name,
        experiment_id=run.info.experiment_id,
        experiment_name=experiment_names.get(run.info.experiment_id, ""),
        status=run.info.status,
        started=_time(run.info.start_time),
        ended=_time(run.info.end_time),
        parameters=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
        model_uri=logged_model_uri(run),
        artifact_uri=run.info.artifact_uri,
    )


def _row(summary: RunSummary, parameters: Sequence[str]) -> dict[str, Any]:
    tags = summary.tags
    took = summary.ended - summary.started if summary.ended and summary.started else None
    return {
        "run_id": summary.run_id,
        "run_name": summary.run_name,
        "experiment": tags.get("ni.experiment", summary.experiment_name),
        "status": summary.status,
        "started": summary.started,
        "seconds": took.total_seconds() if took else None,
        "dataset": tags.get("ni.dataset_name", tags.get("ni.dataset")),
        "dataset_fingerprint": tags.get("ni.dataset_fingerprint"),
        "model_uri": summary.model_uri,
        **{name: summary.parameters.get(name) for name in parameters},
    }


def _experiment_names(store: Store) -> dict[str, str]:
    names: dict[str, str] = {}
    token = None
    with store.errors("list the experiments"):
        while True:
            page = store.client.search_experiments(max_results=_PAGE, page_token=token)
            names |= {experiment.experiment_id: experiment.name for experiment in page}
            token = page.token
            if not token:
                return names


def _time(milliseconds: int | None) -> datetime | None:
    return None if not milliseconds else datetime.fromtimestamp(milliseconds / 1000, UTC)

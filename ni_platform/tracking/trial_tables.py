"""Trials written straight into MLflow's tables, many in one transaction.

MLflow's calls cost about ten commits a trial. This leaves the same rows behind
(`tests/tracking/test_trial_records.py` compares them table by table) with one commit for hundreds
of trials. Nothing is read before it is written: each row has a key that follows from the trial, and
the database says what happens to one that is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Run, SourceType
from mlflow.store.tracking.dbmodels import models
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_USER
from mlflow.utils.uri import append_to_uri_path
from sqlalchemy.dialects import postgresql, sqlite

from ni_platform.tracking.limits import chunks
from ni_platform.tracking.store import store_errors
from ni_platform.tracking.trial_update import NUMBER_TAG, Trial

_TRIALS_AT_ONCE = 500
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_BUSY_MILLISECONDS = 20_000
"""How long SQLite waits for another writer; MLflow's own number."""

_FIRST_ANALYSIS = 100
"""After how many trials SQLite counts its rows for the first time."""

_POINT = {"key", "value", "timestamp", "step", "is_nan", "run_uuid"}
_COLUMNS = {
    "SqlRun": {
        *("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id"),
        *("status", "start_time", "end_time", "deleted_time", "source_version"),
        *("lifecycle_stage", "artifact_uri", "experiment_id"),
    },
    "SqlTag": {"key", "value", "run_uuid"},
    "SqlParam": {"key", "value", "run_uuid"},
    "SqlMetric": _POINT,
    "SqlLatestMetric": _POINT,
}
_KEYS = {
    "SqlRun": {"run_uuid"},
    "SqlTag": {"key", "run_uuid"},
    "SqlParam": {"key", "run_uuid"},
    "SqlMetric": _POINT,
    "SqlLatestMetric": {"key", "run_uuid"},
}


class TrialTables:
    """The rows of one sweep's trials in an SQLite or PostgreSQL database.

    `common_tags` are those of every trial; the trial's number and name are added here.
    """

    def __init__(self, client: MlflowClient, parent: Run, common_tags: Mapping[str, str]) -> None:
        store = client._tracking_client.store
        self._engine: sqlalchemy.Engine = store.engine
        self._number_of = store.sanitize_metric_value
        self._parent_run_id: str = parent.info.run_id
        self._experiment_id = int(parent.info.experiment_id)
        self._artifacts: str = client.get_experiment(parent.info.experiment_id).artifact_location
        self._common_tags = dict(common_tags)
        self._statements = _statements(self._engine.dialect.name)
        self._begun: set[int] = set()
        """Trials whose fixed rows this process has committed."""
        self._next_analysis = _FIRST_ANALYSIS
        self._elsewhere = {
            number: run_id
            for number, run_id in self.run_ids().items()
            if run_id != self._derived(number)
        }
        """Trials that were begun through a server, which gives other ids."""

    @staticmethod
    def obstacle(client: MlflowClient) -> str | None:
        """Return why rows cannot be written straight to the client's store; None if they can."""
        store = getattr(client._tracking_client, "store", None)
        if not isinstance(store, SqlAlchemyStore):
            return "the store is no database"
        engine = getattr(store, "engine", None)
        if engine is None or engine.dialect.name not in _INSERT:
            return f"the database is neither {' nor '.join(_INSERT)}"
        if not hasattr(store, "sanitize_metric_value"):
            return "MLflow's store has no sanitize_metric_value"
        for name, columns in _COLUMNS.items():
            table = getattr(getattr(models, name, None), "__table__", None)
            if table is None or set(table.columns.keys()) != columns:
                return f"MLflow's {name} has other columns than in version 3.17"
            if {column.name for column in table.primary_key} != _KEYS[name]:
                return f"MLflow's {name} has another key than in version 3.17"
        return None

    def write(self, trials: Sequence[Trial]) -> None:
        """Write the trials, hundreds in a transaction; those that stand there are completed.

        Raises:
            TrackingError: The database does not answer or refuses; all can be written again.
        """
        for some in chunks(trials, _TRIALS_AT_ONCE):
            rows = self._rows(some)
            with store_errors("write trials"), self._engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
                for name, statement in self._statements.items():
                    if rows[name]:
                        connection.execute(statement, rows[name])
            self._begun.update(trial.number for trial in some)
        if len(self._begun) >= self._next_analysis:
            self._next_analysis = 2 * len(self._begun)
            self._analyze()

    def _analyze(self) -> None:
        """Let SQLite count rows; it samples, which takes milliseconds.

        Without counts it takes the trials for a handful, and `search_runs` ordered by a metric, as
        the leaderboard and MLflow's page ask it, compares each trial with each: minutes at 20,000.
        """
        if self._engine.dialect.name != "sqlite":
            return
        with store_errors("count the trials"), self._engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA analysis_limit = 1000")
            for table in (models.SqlRun, models.SqlTag, models.SqlLatestMetric):
                connection.exec_driver_sql(f"ANALYZE {table.__tablename__}")

    def run_ids(self) -> dict[int, str]:
        """Return the run id of every trial that stands in the database and is not deleted.

        Raises:
            TrackingError: The database does not answer.
        """
        run, tag = models.SqlRun.__table__, models.SqlTag.__table__
        number = tag.alias()
        query = (
            sqlalchemy.select(number.c.value, number.c.run_uuid)
            .join(tag, tag.c.run_uuid == number.c.run_uuid)
            .join(run, run.c.run_uuid == number.c.run_uuid)
            .where(
                tag.c.key == MLFLOW_PARENT_RUN_ID,
                tag.c.value == self._parent_run_id,
                number.c.key == NUMBER_TAG,
                run.c.lifecycle_stage == LifecycleStage.ACTIVE,
            )
        )
        with store_errors("list the trials"), self._engine.connect() as connection:
            return {int(value): run_id for value, run_id in connection.execute(query)}

    def _derived(self, number: int) -> str:
        """Return the id of the trial's run: writing it twice cannot make two runs.

        Ids of neighbours are neighbours, so that new rows lie side by side in every index.
        """
        return f"{uuid5(NAMESPACE_URL, f'ni-trials:{self._parent_run_id}').hex[:24]}{number:08x}"

    def _rows(self, trials: Sequence[Trial]) -> dict[str, list[dict[str, Any]]]:
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in self._statements}
        for trial in trials:
            run_id = self._elsewhere.get(trial.number) or self._derived(trial.number)
            rows["run"].append(self._run_row(trial, run_id))
            if trial.number not in self._begun:
                fixed = self._common_tags | {
                    NUMBER_TAG: str(trial.number),
                    MLFLOW_RUN_NAME: trial.name,
                }
                rows["fixed tag"] += _texts(run_id, fixed)
            rows["tag"] += _texts(run_id, trial.tags)
            rows["parameter"] += _texts(run_id, trial.parameters)
            points = [self._point(run_id, metric) for metric in trial.metrics]
            rows["metric"] += points
            rows["latest metric"] += _latest(points)
        return rows

    def _run_row(self, trial: Trial, run_id: str) -> dict[str, Any]:
        return {
            "run_uuid": run_id,
            "name": trial.name,
            "source_type": SourceType.to_string(SourceType.UNKNOWN),
            "source_name": "",
            "entry_point_name": "",
            "user_id": self._common_tags.get(MLFLOW_USER, "unknown"),
            "status": trial.status,
            "start_time": trial.started,
            "end_time": trial.ended,
            "deleted_time": None,
            "source_version": "",
            "lifecycle_stage": LifecycleStage.ACTIVE,
            "artifact_uri": append_to_uri_path(
                self._artifacts, run_id, SqlAlchemyStore.ARTIFACTS_FOLDER_NAME
            ),
            "experiment_id": self._experiment_id,
        }

    def _point(self, run_id: str, metric: Metric) -> dict[str, Any]:
        is_nan, value = self._number_of(metric.value)
        return {
            "run_uuid": run_id,
            "key": metric.key,
            "value": value,
            "timestamp": metric.timestamp,
            "step": metric.step,
            "is_nan": is_nan,
        }


def _texts(run_id: str, texts: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"run_uuid": run_id, "key": key, "value": text} for key, text in texts.items()]


def _latest(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last point of each metric: by step, then time, then value, as MLflow has it."""
    last: dict[str, dict[str, Any]] = {}
    for point in points:
        known = last.get(point["key"])
        if known is None or _age(point) > _age(known):
            last[point["key"]] = point
    return list(last.values())


def _age(point: Mapping[str, Any]) -> tuple[int, int, float]:
    return point["step"], point["timestamp"], point["value"]


def _statements(dialect: str) -> dict[str, Any]:
    """Return the statement of each kind of row, in the order in which they must be executed."""
    insert = _INSERT[dialect]
    tables = {name: getattr(models, name).__table__ for name in _COLUMNS}
    latest = tables["SqlLatestMetric"].c

    run = insert(tables["SqlRun"])
    tag = insert(tables["SqlTag"])
    last = insert(tables["SqlLatestMetric"])
    order = ("step", "timestamp", "value")
    return {
        "run": run.on_conflict_do_update(
            index_elements=["run_uuid"],
            set_={
                "status": run.excluded.status,
                "end_time": sqlalchemy.func.coalesce(
                    run.excluded.end_time, tables["SqlRun"].c.end_time
                ),
            },
        ),
        "fixed tag": tag.on_conflict_do_nothing(),
        "tag": tag.on_conflict_do_update(
            index_elements=["key", "run_uuid"], set_={"value": tag.excluded.value}
        ),
        "parameter": insert(tables["SqlParam"]).on_conflict_do_nothing(),
        "metric": insert(tables["SqlMetric"]).on_conflict_do_nothing(),
        "latest metric": last.on_conflict_do_update(
            index_elements=["key", "run_uuid"],
            set_={name: last.excluded[name] for name in (*order, "is_nan")},
            where=sqlalchemy.tuple_(*(last.excluded[name] for name in order))
            > sqlalchemy.tuple_(*(latest[name] for name in order)),
        ),
    }

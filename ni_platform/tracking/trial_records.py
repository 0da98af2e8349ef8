"""The child runs of a sweep: one MLflow run a trial, each there exactly once.

A driver hands over what is new every second or two (`TrialRecords.write`) and may hand over any of
it again, after a crash say. Into an SQLite or PostgreSQL database trials are written many at a time
(`trial_tables.py`); through a tracking server, a few requests each (`trial_requests.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from ni_platform.tracking.run_queries import get_run, leaderboard
from ni_platform.tracking.store import connect, server_url, store_errors
from ni_platform.tracking.trial_calls import ClientCalls, ServerCalls
from ni_platform.tracking.trial_requests import TrialRequests
from ni_platform.tracking.trial_tables import TrialTables
from ni_platform.tracking.trial_update import TrialMetric, TrialUpdate, merge_updates

__all__ = ["TrialMetric", "TrialRecords", "TrialUpdate", "leaderboard"]

_log = logging.getLogger(__name__)


class TrialRecords:
    """The child runs of one sweep; one thread of one process writes them."""

    def __init__(self, way: TrialTables | TrialRequests) -> None:
        self._way = way

    @classmethod
    def of(cls, parent_run_id: str) -> TrialRecords:
        """Open the trials of the sweep whose MLflow run is `parent_run_id`.

        Raises:
            TrackingError: The store does not answer, or there is no such run.
        """
        client = connect()
        parent = get_run(client, parent_run_id)
        tags = resolve_tags({MLFLOW_PARENT_RUN_ID: parent_run_id, "ni.level": "trial"})
        if server_url() is not None:
            return cls(TrialRequests(ServerCalls(client.tracking_uri), parent, tags))
        obstacle = TrialTables.obstacle(client)
        if obstacle is None:
            with store_errors("open the trials"):
                return cls(TrialTables(client, parent, tags))
        _log.warning("Trials are written one by one, which takes longer: %s.", obstacle)
        return cls(TrialRequests(ClientCalls(client), parent, tags))

    def write(self, updates: Sequence[TrialUpdate]) -> None:
        """Bring MLflow up to these updates; of several for one trial the last status counts.

        Writing the same again changes nothing, and neither does it add a point to a curve. A
        parameter keeps its first value, a tag takes the new one. Runs that somebody deleted stay
        deleted.

        Raises:
            TrackingError: The store cannot be reached or refuses; some of it may be written, and
                all of it can be written again.
        """
        trials = merge_updates(updates)
        if trials:
            self._way.write(trials)

    def run_ids(self) -> dict[int, str]:
        """Return the run id of each trial that stands in MLflow, by the trial's number.

        Through a server, this also removes a second run of a trial, where the answer to a request
        was lost and the server carried it out late; call it when a sweep is opened and at its end.

        Raises:
            TrackingError: The store does not answer.
        """
        return self._way.run_ids()

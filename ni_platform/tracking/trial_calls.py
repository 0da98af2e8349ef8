"""The calls to a tracking store that write one trial: a server's, and MLflow's own client's.

MLflow's client repeats a request whose answer was lost, and so can make a second run, and it waits
for minutes for a server that is gone. To a server each request is sent once here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, RunTag, ViewType
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_USER
from mlflow.utils.rest_utils import http_request, verify_rest_response

from ni_platform.tracking.trial_update import NUMBER_TAG

_PAGE = 1000


@dataclass(kw_only=True, slots=True)
class Child:
    """A trial's run as the store describes it."""

    run_id: str
    number: int
    status: str
    active: bool
    size: int = 0
    """How many parameters and metrics it has."""


class Calls(Protocol):
    """What a tracking store is asked for."""

    threads: int
    """How many calls may go on at a time."""

    def search(self, experiment_id: str, condition: str) -> list[Child]:
        """Return the trials that fulfil MLflow's filter `condition`, deleted ones too."""
        ...

    def create(self, experiment_id: str, started: int, tags: Mapping[str, str]) -> str:
        """Make a run and return its id."""
        ...

    def log(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        parameters: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> None:
        """Log at most as much as MLflow takes at once."""
        ...

    def set_status(self, run_id: str, status: str, ended: int | None) -> None:
        """Set the status of a run, and when it ended."""
        ...

    def delete(self, run_id: str) -> None:
        """Mark a run as deleted."""
        ...


class ServerCalls:
    """Requests to a tracking server at `uri`, each sent once."""

    threads = 8

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def search(self, experiment_id: str, condition: str) -> list[Child]:
        """Return the trials that fulfil MLflow's filter `condition`, deleted ones too."""
        found: list[Child] = []
        token = None
        while True:
            answer = self._post(
                "search",
                experiment_ids=[experiment_id],
                filter=condition,
                run_view_type="ALL",
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                **({"page_token": token} if token else {}),
            )
            for run in answer.get("runs", []):
                data = run["data"]
                tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
                if NUMBER_TAG in tags:
                    size = len(data.get("params", [])) + len(data.get("metrics", []))
                    found.append(_child(run["info"], tags, size))
            token = answer.get("next_page_token")
            if not token:
                return found

    def create(self, experiment_id: str, started: int, tags: Mapping[str, str]) -> str:
        """Make a run and return its id."""
        answer = self._post(
            "create",
            experiment_id=experiment_id,
            user_id=tags.get(MLFLOW_USER, "unknown"),
            start_time=started,
            run_name=tags[MLFLOW_RUN_NAME],
            tags=_pairs([RunTag(key, value) for key, value in tags.items()]),
        )
        return str(answer["run"]["info"]["run_id"])

    def log(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        parameters: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> None:
        """Log at most as much as MLflow takes at once."""
        points = [
            {
                "key": metric.key,
                "value": _number(metric.value),
                "timestamp": metric.timestamp,
                "step": metric.step,
            }
            for metric in metrics
        ]
        self._post(
            "log-batch", run_id=run_id, metrics=points, params=_pairs(parameters), tags=_pairs(tags)
        )

    def set_status(self, run_id: str, status: str, ended: int | None) -> None:
        """Set the status of a run, and when it ended."""
        end = {} if ended is None else {"end_time": ended}
        self._post("update", run_id=run_id, status=status, **end)

    def delete(self, run_id: str) -> None:
        """Mark a run as deleted."""
        self._post("delete", run_id=run_id)

    def _post(self, action: str, **body: Any) -> dict[str, Any]:
        endpoint = f"/api/2.0/mlflow/runs/{action}"
        response = http_request(
            get_default_host_creds(self._uri),
            endpoint,
            "POST",
            json=body,
            max_retries=0,
            raise_on_status=False,
        )
        return dict(verify_rest_response(response, endpoint).json())


class ClientCalls:
    """Calls of MLflow's client, for databases that `trial_tables.py` does not know."""

    threads = 1

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def search(self, experiment_id: str, condition: str) -> list[Child]:
        """Return the trials that fulfil MLflow's filter `condition`, deleted ones too."""
        found: list[Child] = []
        token = None
        while True:
            page = self._client.search_runs(
                [experiment_id],
                condition,
                run_view_type=ViewType.ALL,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found += [
                _child(dict(run.info), run.data.tags, len(run.data.params) + len(run.data.metrics))
                for run in page
                if NUMBER_TAG in run.data.tags
            ]
            token = page.token
            if not token:
                return found

    def create(self, experiment_id: str, started: int, tags: Mapping[str, str]) -> str:
        """Make a run and return its id."""
        run = self._client.create_run(
            experiment_id, start_time=started, tags=dict(tags), run_name=tags[MLFLOW_RUN_NAME]
        )
        return str(run.info.run_id)

    def log(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        parameters: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> None:
        """Log at most as much as MLflow takes at once."""
        self._client.log_batch(run_id, metrics=metrics, params=parameters, tags=tags)

    def set_status(self, run_id: str, status: str, ended: int | None) -> None:
        """Set the status of a run, and when it ended."""
        if ended is None:
            self._client.update_run(run_id, status=status)
        else:
            self._client.set_terminated(run_id, status, ended)

    def delete(self, run_id: str) -> None:
        """Mark a run as deleted."""
        self._client.delete_run(run_id)


def _child(info: Mapping[str, Any], tags: Mapping[str, str], size: int) -> Child:
    return Child(
        run_id=info["run_id"],
        number=int(tags[NUMBER_TAG]),
        status=info["status"],
        active=info["lifecycle_stage"] == LifecycleStage.ACTIVE,
        size=size,
    )


def _pairs(entities: Sequence[Param] | Sequence[RunTag]) -> list[dict[str, str]]:
    return [{"key": entity.key, "value": entity.value} for entity in entities]


def _number(value: float) -> float | str:
    """Return the value as protobuf's JSON has it, where nan and infinity are words."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"

"""The child runs of a sweep: one MLflow run a trial, each there exactly once.

A driver hands over what is new every second or two and may hand over any of it again, after a
crash say. Nothing is made before it is known to be missing: what stands in the store is asked
once, and again where the answer to a call was lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal

from mlflow.entities import LifecycleStage, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.validation import MAX_ENTITIES_PER_BATCH, MAX_PARAMS_TAGS_PER_BATCH

from ni_platform.tracking.limits import (
    check_name,
    chunks,
    flatten_parameters,
    parameter_texts,
    tag_texts,
)
from ni_platform.tracking.run_queries import get_run
from ni_platform.tracking.store import Store, sent_once

NUMBER_TAG = "ni.trial"
"""The tag that holds a trial's number."""
_THREADS = 8
"""Calls to a server at a time: it is the way there that takes the time."""
_METRICS_BESIDE_OTHERS = MAX_ENTITIES_PER_BATCH - 2 * MAX_PARAMS_TAGS_PER_BATCH
_REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
_FIRST_COUNT = 100
"""After how many trials a local database counts its rows for the first time."""

_log = logging.getLogger(__name__)

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialMetric:
    """One point of a learning curve, or a final figure."""

    name: str
    value: float
    """May be nan or infinite."""
    step: int
    time: float
    """Unix seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialUpdate:
    """What is to stand in MLflow about one trial: all that is known of it, or what is new.

    Raises:
        TrackingError: A name that MLflow does not take.
        ValueError: `ended` is missing for a trial that ended, or given for a running one.
    """

    number: int
    """From zero, unique within the sweep."""
    started: float
    """Unix seconds."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """May be nested. Those that stand there already keep their value."""
    metrics: Sequence[TrialMetric] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    status: Status
    ended: float | None = None
    """Unix seconds; None while it runs."""

    def __post_init__(self) -> None:
        if (self.ended is None) != (self.status == "RUNNING"):
            raise ValueError(
                f"ended must be given just where a trial has ended, but trial {self.number} is"
                f" {self.status} with ended = {self.ended}"
            )
        for name in (
            *(p.name for p in self.metrics),
            *flatten_parameters(self.parameters),
            *self.tags,
        ):
            check_name(name)


@dataclass(kw_only=True, slots=True)
class _Child:
    """A trial's run as it stands in the store."""

    run_id: str
    number: int
    status: str
    active: bool
    size: int = 0
    """How many parameters and metrics it has."""


class TrialRecords:
    """The child runs of one sweep; one thread of one process writes them."""

    def __init__(self, store: Store, parent: Run) -> None:
        self._store, self._client = store, store.client
        self._experiment_id: str = parent.info.experiment_id
        self._condition = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'"
        self._common_tags: dict[str, str] = resolve_tags(
            {MLFLOW_PARENT_RUN_ID: parent.info.run_id, "ni.level": "trial"}
        )
        self._children: dict[int, _Child] = {}
        """What is known to be there, once `run_ids` has asked."""
        self._asked = False
        self._doubtful: set[int] = set()
        """Trials that may have a run, for the answer to the call that makes one did not arrive."""
        self._next_count = _FIRST_COUNT

    @classmethod
    def of(cls, store: Store, parent_run_id: str) -> TrialRecords:
        """Open the trials of the sweep whose MLflow run is `parent_run_id`.

        Raises:
            TrackingError: The store does not answer, or there is no such run.
        """
        return cls(store, get_run(store, parent_run_id))

    def write(self, updates: Sequence[TrialUpdate]) -> None:
        """Bring MLflow up to these updates, at most one a trial.

        Writing the same again changes nothing, and neither does it add a point to a curve. A
        parameter keeps its first value, a tag takes the new one. Runs that somebody deleted stay
        deleted.

        Raises:
            TrackingError: The store cannot be reached or refuses; some of it may be written, and
                all of it can be written again.
        """
        if not self._asked:
            self.run_ids()
        broken = threading.Event()
        threads = _THREADS if self._store.is_server else 1
        with sent_once(), ThreadPoolExecutor(threads) as pool:
            waiting = [pool.submit(self._write_unless, broken, update) for update in updates]
        for each in waiting:
            each.result()
        if len(self._children) >= self._next_count:
            self._next_count = 2 * len(self._children)
            self._store.count_rows()

    def run_ids(self) -> dict[int, str]:
        """Return the run id of each trial that stands in MLflow, by the trial's number.

        This also removes a second run of a trial, where the answer to a call was lost and the
        server carried it out late; call it when a sweep is opened and at its end.

        Raises:
            TrackingError: The store does not answer.
        """
        with sent_once(), self._store.errors("list the trials"):
            self._children = self._one_each(self._search(self._condition))
        self._doubtful.clear()
        self._asked = True
        return {child.number: child.run_id for child in self._children.values() if child.active}

    def has_ended(self, number: int) -> bool:
        """Whether a trial has a run in MLflow that is over, or that somebody has deleted.

        As `run_ids` last found it, with what was written since.
        """
        child = self._children.get(number)
        return child is not None and (child.status != "RUNNING" or not child.active)

    def last_step(self, number: int, metric: str) -> int:
        """Return the last step of a metric of a trial; 0 where it has none.

        Raises:
            TrackingError: The store does not answer.
        """
        if number not in self._children:
            return 0
        with sent_once(), self._store.errors(f"read trial {number}"):
            points = self._client.get_metric_history(self._children[number].run_id, metric)
        return max((point.step for point in points), default=0)

    def _search(self, condition: str) -> list[_Child]:
        """Return the trials that fulfil MLflow's filter `condition`, deleted ones too."""
        found: list[_Child] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                condition,
                run_view_type=ViewType.ALL,
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found += [
                _Child(
                    run_id=run.info.run_id,
                    number=int(run.data.tags[NUMBER_TAG]),
                    status=run.info.status,
                    active=run.info.lifecycle_stage == LifecycleStage.ACTIVE,
                    size=len(run.data.params) + len(run.data.metrics),
                )
                for run in page
                if NUMBER_TAG in run.data.tags
            ]
            token = page.token
            if not token:
                return found

    def _one_each(self, found: Sequence[_Child]) -> dict[int, _Child]:
        """Return one child for each number; delete a further run that a lost answer left."""
        # A copy at once: other threads add children meanwhile.
        known = {child.run_id for child in list(self._children.values())}
        kept: dict[int, _Child] = {}
        # The one that this process writes to comes first, then the fuller one.
        for child in sorted(
            found, key=lambda c: (not c.active, c.run_id not in known, -c.size, c.run_id)
        ):
            if child.number not in kept:
                kept[child.number] = child
            elif child.active:
                _log.warning("Trial %d had two runs; %s is deleted.", child.number, child.run_id)
                self._client.delete_run(child.run_id)
        return kept

    def _write_unless(self, broken: threading.Event, trial: TrialUpdate) -> None:
        """Write one trial, or nothing when the server was lost: each call would wait for it."""
        if broken.is_set():
            return
        try:
            with self._store.errors(f"write trial {trial.number}"):
                child = self._child(trial)
                if child.active:
                    self._complete(child, trial)
        except Exception:
            broken.set()
            raise

    def _child(self, trial: TrialUpdate) -> _Child:
        """Return the trial's run, made now if there is none."""
        number = trial.number
        if number not in self._children and number in self._doubtful:
            condition = f"{self._condition} AND tags.`{NUMBER_TAG}` = '{number}'"
            self._children |= self._one_each(self._search(condition))
        if number not in self._children:
            self._doubtful.add(number)
            run = self._client.create_run(
                self._experiment_id,
                start_time=_milliseconds(trial.started),
                tags=self._common_tags | {NUMBER_TAG: str(number)},
                run_name=f"trial-{number:05d}",
            )
            self._children[number] = _Child(
                run_id=run.info.run_id, number=number, status="RUNNING", active=True
            )
        self._doubtful.discard(number)
        return self._children[number]

    def _complete(self, child: _Child, trial: TrialUpdate) -> None:
        """Log what is said of a trial, at most as much at once as MLflow takes."""
        points = [
            Metric(p.name, float(p.value), _milliseconds(p.time), p.step) for p in trial.metrics
        ]
        params = [Param(*pair) for pair in parameter_texts(trial.parameters).items()]
        notes = [RunTag(*pair) for pair in tag_texts(trial.tags).items()]
        parts = (
            chunks(points, _METRICS_BESIDE_OTHERS),
            chunks(params, MAX_PARAMS_TAGS_PER_BATCH),
            chunks(notes, MAX_PARAMS_TAGS_PER_BATCH),
        )
        try:
            for metrics, parameters, tags in zip_longest(*parts, fillvalue=()):
                self._client.log_batch(child.run_id, metrics, parameters, tags)
            if trial.status != child.status:
                if trial.ended is None:
                    self._client.update_run(child.run_id, status=trial.status)
                else:
                    self._client.set_terminated(
                        child.run_id, trial.status, _milliseconds(trial.ended)
                    )
                child.status = trial.status
        except MlflowException as error:
            if error.error_code not in _REFUSALS:
                raise
            # Somebody deleted the run, say. To ask again would hold up all other trials.
            _log.warning("Trial %d is left as it is: %s", trial.number, error.message)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)

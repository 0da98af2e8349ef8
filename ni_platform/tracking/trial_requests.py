"""Trials written one by one, each with a few calls to a tracking store.

Nothing is made before it is known to be missing: what a process finds is asked once, and again
where the answer to a call was lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

from mlflow.entities import Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME
from mlflow.utils.validation import MAX_ENTITIES_PER_BATCH, MAX_PARAMS_TAGS_PER_BATCH

from ni_platform.tracking.limits import chunks
from ni_platform.tracking.store import store_errors
from ni_platform.tracking.trial_calls import Calls, Child
from ni_platform.tracking.trial_update import NUMBER_TAG, Trial

_METRICS_BESIDE_OTHERS = MAX_ENTITIES_PER_BATCH - 2 * MAX_PARAMS_TAGS_PER_BATCH
_REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")

_log = logging.getLogger(__name__)


class TrialRequests:
    """The runs of one sweep's trials, through `calls`."""

    def __init__(self, calls: Calls, parent: Run, common_tags: Mapping[str, str]) -> None:
        self._calls = calls
        self._experiment_id: str = parent.info.experiment_id
        self._condition = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.info.run_id}'"
        self._common_tags = dict(common_tags)
        self._children: dict[int, Child] | None = None
        """What is known to be there; None before the first question."""
        self._doubtful: set[int] = set()
        """Trials that may have a run, for the answer to `create` did not arrive."""

    def write(self, trials: Sequence[Trial]) -> None:
        """Write the trials, several at a time.

        Raises:
            TrackingError: The server does not answer or refuses; all can be written again.
        """
        if self._children is None:
            self.run_ids()
        broken = threading.Event()
        with ThreadPoolExecutor(self._calls.threads) as pool:
            waiting = [pool.submit(self._write_unless, broken, trial) for trial in trials]
        for each in waiting:
            each.result()

    def run_ids(self) -> dict[int, str]:
        """Return the run id of every trial that stands in the store, and leave one run for each.

        Raises:
            TrackingError: The server does not answer.
        """
        with store_errors("list the trials"):
            found = self._calls.search(self._experiment_id, self._condition)
            self._children = self._one_each(found)
        self._doubtful.clear()
        return {child.number: child.run_id for child in self._children.values() if child.active}

    def _one_each(self, found: Sequence[Child]) -> dict[int, Child]:
        """Return one child for each number; delete a further run that a lost answer left."""
        # A copy at once: other threads add children meanwhile.
        known = {child.run_id for child in list((self._children or {}).values())}
        kept: dict[int, Child] = {}
        # The one that this process writes to comes first, then the fuller one.
        for child in sorted(
            found, key=lambda c: (not c.active, c.run_id not in known, -c.size, c.run_id)
        ):
            if child.number not in kept:
                kept[child.number] = child
            elif child.active:
                _log.warning("Trial %d had two runs; %s is deleted.", child.number, child.run_id)
                self._calls.delete(child.run_id)
        return kept

    def _write_unless(self, broken: threading.Event, trial: Trial) -> None:
        """Write one trial, or nothing when the server was lost: each request would wait for it."""
        if broken.is_set():
            return
        try:
            with store_errors(f"write trial {trial.number}"):
                self._write(trial)
        except Exception:
            broken.set()
            raise

    def _write(self, trial: Trial) -> None:
        child = self._child(trial)
        if not child.active:
            return
        try:
            self._complete(child, trial)
        except MlflowException as error:
            if error.error_code not in _REFUSALS:
                raise
            # Somebody deleted the run, say. To ask again would hold up all other trials.
            _log.warning("Trial %d is left as it is: %s", trial.number, error.message)

    def _child(self, trial: Trial) -> Child:
        """Return the trial's run, made now if there is none."""
        assert self._children is not None  # noqa: S101  (`write` has asked)
        number = trial.number
        if number not in self._children and number in self._doubtful:
            condition = f"{self._condition} AND tags.`{NUMBER_TAG}` = '{number}'"
            found = self._calls.search(self._experiment_id, condition)
            self._children |= self._one_each(found)
        if number not in self._children:
            self._doubtful.add(number)
            fixed = {NUMBER_TAG: str(number), MLFLOW_RUN_NAME: trial.name}
            run_id = self._calls.create(
                self._experiment_id, trial.started, self._common_tags | fixed
            )
            self._children[number] = Child(
                run_id=run_id, number=number, status="RUNNING", active=True
            )
        self._doubtful.discard(number)
        return self._children[number]

    def _complete(self, child: Child, trial: Trial) -> None:
        parameters = [Param(name, text) for name, text in trial.parameters.items()]
        tags = [RunTag(name, text) for name, text in trial.tags.items()]
        parts = (
            list(chunks(trial.metrics, _METRICS_BESIDE_OTHERS)),
            list(chunks(parameters, MAX_PARAMS_TAGS_PER_BATCH)),
            list(chunks(tags, MAX_PARAMS_TAGS_PER_BATCH)),
        )
        for metrics, some_parameters, some_tags in zip_longest(*parts, fillvalue=()):
            self._calls.log(child.run_id, metrics, some_parameters, some_tags)
        if trial.status != child.status:
            self._calls.set_status(child.run_id, trial.status, trial.ended)
            child.status = trial.status

"""From a sweep's log to MLflow: one thread beside the keeper that never holds it up.

The keeper tells it of every trial that the log says something new about. After a crash it is told
of all of them, and writes those that have not ended in MLflow. Writing twice changes nothing, so
each trial stands in MLflow exactly once, whenever this process or the tracking server dies.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Literal

from ni_platform.errors import in_words
from ni_platform.tracking.store import open_store
from ni_platform.tracking.trial_records import TrialMetric, TrialRecords, TrialUpdate
from ni_platform.tuning.config import SweepFolder
from ni_platform.tuning.files.trial_log import TrialRecord

_log = logging.getLogger(__name__)

SECONDS_BETWEEN_BATCHES = 1.0
TRIALS_PER_BATCH = 200
LONGEST_PAUSE = 30.0
"""Seconds between attempts to reach a store that does not answer."""

_STATUS: dict[str, Literal["RUNNING", "FINISHED", "FAILED"]] = {
    "running": "RUNNING",
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
}
"""MLflow has no word for a trial that was stopped early; the tag ni.status tells it apart."""


class Recorder:
    """Writes a sweep's trials to MLflow; `start` and `finish` run it as a thread."""

    def __init__(
        self,
        folder: SweepFolder,
        run_id: str,
        store: str | None = None,
        on_trouble: Callable[[str], None] = _log.warning,
        until: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """Know of no trial yet.

        Args:
            folder: the sweep's.
            run_id: its run in MLflow.
            store: address of the run's store, as `open_store` takes it; opened by the thread.
            on_trouble: told once when the store stops to answer, and when it answers again.
            until: how many bytes of the log survive this machine; MLflow learns no more.
        """
        self._folder = folder
        self._run_id = run_id
        self._store = store
        self._on_trouble = on_trouble
        self._until = until
        self._records: TrialRecords | None = None
        self._changed: dict[int, TrialRecord] = {}
        """Trials that the keeper told of since they were last taken out."""
        self._lock = threading.Lock()
        """Held while `_changed` is looked at."""
        self._pending: dict[int, TrialRecord] = {}
        """Trials that are being written."""
        self._pending_bytes = 0
        """Of the log, when they were taken out."""
        self._epochs_written: dict[int, int] = {}
        """Of trials that have not ended in MLflow."""
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def note(self, trial: TrialRecord) -> None:
        """Write this trial as it is now, sooner or later."""
        with self._lock:
            self._changed[trial.number] = trial

    def start(self) -> None:
        """Begin to write, in a thread."""
        self._thread.start()

    def finish(self, seconds: float) -> bool:
        """Write what is left and end the thread; whether all is written within `seconds`."""
        self._finishing.set()
        self._thread.join(seconds)
        return self.is_done()

    def is_done(self) -> bool:
        """Whether all trials that it was told of are written."""
        with self._lock:
            return not self._changed and not self._pending

    def write_batch(self) -> int:
        """Write the next trials; returns how many there were that may be written.

        Raises:
            TrackingError: The store does not answer. Nothing is lost: call it again.
        """
        if not self._pending:
            with self._lock:
                for number in list(islice(self._changed, TRIALS_PER_BATCH)):
                    self._pending[number] = self._changed.pop(number)
            if not self._pending:
                return 0
            self._pending_bytes = self._folder.log.stat().st_size
        if self._until() < self._pending_bytes:
            return 0
        if self._records is None:
            self._records = TrialRecords.of(open_store(self._store), self._run_id)
            self._records.run_ids()
        self._records.write(
            [
                self._update(self._records, trial)
                for trial in self._pending.values()
                if not self._records.has_ended(trial.number)
            ]
        )
        for trial in self._pending.values():
            before = self._epochs_written.get(trial.number, 0)
            self._epochs_written[trial.number] = max(before, len(trial.epochs))
            if trial.status != "running":
                del self._epochs_written[trial.number]
        written, self._pending = len(self._pending), {}
        return written

    def _run(self) -> None:
        pause = SECONDS_BETWEEN_BATCHES
        while True:
            finishing = self._finishing.is_set()
            try:
                written = self.write_batch()
            except Exception as error:  # noqa: BLE001  # a full disk, say: this thread must live
                if pause == SECONDS_BETWEEN_BATCHES:
                    self._on_trouble(f"results wait in {self._folder.log}: {in_words(error)}")
                pause = min(2 * pause, LONGEST_PAUSE)
                self._records = None  # opens the store anew
                self._finishing.wait(pause)
                if finishing:
                    time.sleep(SECONDS_BETWEEN_BATCHES)
                continue
            if pause > SECONDS_BETWEEN_BATCHES:
                self._on_trouble("results are written to the tracking store again")
                pause = SECONDS_BETWEEN_BATCHES
            if finishing and not written:
                return
            if written < TRIALS_PER_BATCH:
                self._finishing.wait(pause)

    def _update(self, records: TrialRecords, trial: TrialRecord) -> TrialUpdate:
        """What is new about a trial. Begun again it repeats itself: its points stand there."""
        written = self._epochs_written.get(trial.number)
        if written is None:
            written = records.last_step(trial.number, "epoch/objective")
        metrics: list[TrialMetric] = []
        for epoch in range(written, len(trial.epochs)):
            figures = trial.epochs[epoch] | {"objective": trial.values[epoch]}
            metrics += _points("epoch/", figures, epoch + 1, trial.times[epoch])
        tags = {"ni.status": trial.status}
        return TrialUpdate(
            number=trial.number,
            started=trial.started,
            parameters=trial.parameters | trial.overrides,
            metrics=metrics + _summary(trial),
            tags=tags if trial.reason is None else tags | {"ni.error": trial.reason},
            status=_STATUS[trial.status],
            ended=trial.ended,
        )


def _points(prefix: str, values: Mapping[str, float], step: int, at: float) -> list[TrialMetric]:
    return [
        TrialMetric(name=f"{prefix}{name}", value=value, step=step, time=at)
        for name, value in values.items()
        if name != "epoch"
    ]


def _summary(trial: TrialRecord) -> list[TrialMetric]:
    """Metrics of the kept epoch, under the names that other runs have."""
    if trial.best_epoch is None or trial.value is None or trial.ended is None:
        return []
    figures = {f"validation/{name}": value for name, value in trial.metrics.items()}
    for name in ("epoch", "train_loss", "samples_per_second"):
        figures.pop(f"validation/{name}", None)
    figures |= {
        "objective": trial.value,
        "best_epoch": float(trial.best_epoch),
        "seconds": trial.ended - trial.started,
    }
    return _points("", figures, 0, trial.ended)

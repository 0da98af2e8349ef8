"""From the journal to MLflow: one thread per sweep, beside the keeper, that never holds it up.

It reads what the journal has grown by and writes it in batches. Where it stands is noted after
each batch; as writing a batch twice changes nothing, each trial stands in MLflow exactly once,
whenever this process or the tracking server dies.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from itertools import islice, takewhile
from typing import Literal

from ni_platform.data.storage import write_bytes
from ni_platform.errors import in_words
from ni_platform.tracking.trial_records import TrialMetric, TrialRecords, TrialUpdate
from ni_platform.tuning.definition import SweepFolder
from ni_platform.tuning.files.journal import Event, TrialRecord, apply, read_events

_log = logging.getLogger(__name__)

SECONDS_BETWEEN_BATCHES = 1.0
EVENTS_PER_BATCH = 4000
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
    """Writes a sweep's journal to MLflow; `start` and `finish` run it as a thread."""

    def __init__(
        self,
        folder: SweepFolder,
        run_id: str,
        on_trouble: Callable[[str], None] = _log.warning,
        until: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """Go on behind what was written before.

        Args:
            folder: the sweep's.
            run_id: its run in MLflow.
            on_trouble: told once when the store stops to answer, and when it answers again.
            until: how many bytes of the journal may be written: those that survive this machine.
        """
        self._folder = folder
        self._run_id = run_id
        self._on_trouble = on_trouble
        self._until = until
        self._records: TrialRecords | None = None
        self._trials: dict[int, TrialRecord] = {}
        """Trials that have not ended."""
        self._epochs_written: dict[int, int] = {}
        self._pending: tuple[list[TrialUpdate], int] | None = None
        """What is being written, and where the journal stands behind it."""
        self._offset = self._read_offset()
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        for event, offset in read_events(folder.journal):
            if offset > self._offset:
                break
            self._follow(event)

    def start(self) -> None:
        """Begin to write, in a thread."""
        self._thread.start()

    def finish(self, seconds: float) -> bool:
        """Write what is left and end the thread; whether all is written within `seconds`."""
        self._finishing.set()
        self._thread.join(seconds)
        return self.is_done()

    def is_done(self) -> bool:
        """Whether all of the journal is written."""
        journal = self._folder.journal
        return not journal.exists() or self._offset >= journal.stat().st_size

    def write_batch(self) -> bool:
        """Write the next events of the journal; whether there were any.

        Raises:
            TrackingError: The store does not answer. Nothing is lost: call it again.
        """
        if self._pending is None:
            safe = self._until()
            events = read_events(self._folder.journal, self._offset)
            batch = list(islice(takewhile(lambda e: e[1] <= safe, events), EVENTS_PER_BATCH))
            if not batch:
                return False
            self._pending = self._updates([event for event, _ in batch]), batch[-1][1]
        updates, offset = self._pending
        if self._records is None:
            self._records = TrialRecords.of(self._run_id)
            self._records.run_ids()  # through a server: a trial whose answer was lost stands once
        self._records.write(updates)
        self._pending, self._offset = None, offset
        self._write_offset()
        return True

    def _run(self) -> None:
        pause = SECONDS_BETWEEN_BATCHES
        while True:
            finishing = self._finishing.is_set()
            try:
                wrote = self.write_batch()
            except Exception as error:  # noqa: BLE001  # a full disk, say: this thread must live
                if pause == SECONDS_BETWEEN_BATCHES:
                    self._on_trouble(f"results wait in {self._folder.journal}: {in_words(error)}")
                pause = min(2 * pause, LONGEST_PAUSE)
                self._records = None  # connects anew
                self._finishing.wait(pause)
                if finishing:
                    time.sleep(SECONDS_BETWEEN_BATCHES)
                continue
            if pause > SECONDS_BETWEEN_BATCHES:
                self._on_trouble("results are written to the tracking store again")
                pause = SECONDS_BETWEEN_BATCHES
            if finishing and not wrote:
                return
            if not wrote or not finishing:
                self._finishing.wait(pause)

    def _updates(self, events: list[Event]) -> list[TrialUpdate]:
        """What the events change, one update per trial."""
        metrics: dict[int, list[TrialMetric]] = {}
        trials: dict[int, TrialRecord] = {}
        for event in events:
            trial, points = self._follow(event)
            trials[trial.number] = trial
            metrics.setdefault(trial.number, []).extend(points)
        return [_update(trial, metrics[number]) for number, trial in trials.items()]

    def _follow(self, event: Event) -> tuple[TrialRecord, list[TrialMetric]]:
        """Bring what is known up to date; returns the trial and the event's points of curves."""
        number = event["trial"]
        apply(self._trials, event)
        trial = self._trials[number]
        if event["event"] == "ended":
            del self._trials[number]
            self._epochs_written.pop(number, None)
            return trial, _summary(trial)
        epoch = len(trial.epochs)
        if event["event"] == "started" or epoch <= self._epochs_written.get(number, 0):
            return trial, []  # begun again, a trial repeats itself: its points stand there
        self._epochs_written[number] = epoch
        points = trial.epochs[-1] | {"objective": trial.values[-1]}
        return trial, _points("epoch/", points, epoch, event["time"])

    def _read_offset(self) -> int:
        path = self._folder.written
        return int(json.loads(path.read_text(encoding="utf-8"))["bytes"]) if path.exists() else 0

    def _write_offset(self) -> None:
        write_bytes(self._folder.written, json.dumps({"bytes": self._offset}).encode())


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


def _update(trial: TrialRecord, metrics: list[TrialMetric]) -> TrialUpdate:
    tags = {"ni.status": trial.status}
    return TrialUpdate(
        number=trial.number,
        started=trial.started,
        parameters=trial.parameters | trial.overrides,
        metrics=metrics,
        tags=tags if trial.reason is None else tags | {"ni.error": trial.reason},
        status=_STATUS[trial.status],
        ended=trial.ended,
    )

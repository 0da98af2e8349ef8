"""The append-only account of a sweep: what its driver knows, and all that it needs to go on.

One JSON object a line. A trial that is started again, because its process or the driver died,
begins anew in the journal; as trials repeat themselves exactly, the later account replaces the
earlier one. The last line may be torn by a crash; it is cut off when the journal is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

Status = Literal["running", "complete", "pruned", "failed"]
Event = dict[str, Any]


@dataclass(kw_only=True)
class TrialRecord:
    """What the journal says of one trial."""

    number: int
    parameters: dict[str, Any]
    """Optuna's names and values."""
    overrides: dict[str, Any]
    """Changes to the experiment's config, by path."""
    started: float
    """Unix seconds."""
    survived: int = 0
    """Epochs after which it went on in an earlier life: as it repeats itself, so does that."""
    status: Status = "running"
    """complete: trained to its end; pruned: stopped by the scheduler."""
    ended: float | None = None
    epochs: list[dict[str, float]] = field(default_factory=list)
    """Training loss and validation metrics after each epoch, from the first."""
    values: list[float] = field(default_factory=list)
    """The objective after each epoch, at the best epoch so far."""
    best_epoch: int | None = None
    """Epoch whose weights are kept, from one."""
    reason: str | None = None
    """Why it failed."""

    @property
    def value(self) -> float | None:
        """The objective; None before the first epoch, and for a trial that failed."""
        return self.values[-1] if self.values and self.status != "failed" else None

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the kept epoch; empty before the first."""
        return self.epochs[self.best_epoch - 1] if self.best_epoch else {}


def started(
    number: int, time: float, parameters: Mapping, overrides: Mapping, survived: int = 0
) -> Event:
    """Return the event that a trial begins, or begins again after it `survived` some epochs."""
    event = {
        "event": "started",
        "trial": number,
        "time": time,
        "parameters": dict(parameters),
        "overrides": dict(overrides),
    }
    return event | {"survived": survived} if survived else event


def epoch_done(
    number: int, time: float, metrics: Mapping[str, float], value: float, best_epoch: int
) -> Event:
    """Return the event that an epoch is over; `value` is the objective of `best_epoch`."""
    return {
        "event": "epoch",
        "trial": number,
        "time": time,
        "metrics": dict(metrics),
        "value": value,
        "best_epoch": best_epoch,
    }


def ended(number: int, time: float, status: Status, reason: str | None = None) -> Event:
    """Return the event that a trial is over."""
    event = {"event": "ended", "trial": number, "time": time, "status": status}
    return event if reason is None else event | {"reason": reason}


class Journal:
    """A journal opened for writing by the one driver of the sweep."""

    def __init__(self, path: Path) -> None:
        """Open the journal; a last line that a crash tore is cut off."""
        self._file = path.open("ab")
        whole = whole_bytes(path)
        if whole < self._file.tell():
            self._file.truncate(whole)

    def append(self, event: Event) -> None:
        """Write an event down; it survives the death of this process."""
        self._file.write(json.dumps(event).encode() + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """Let what was appended survive a loss of power."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sync()
        self._file.close()


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Yield each whole event from byte `offset` on, and the offset behind it.

    May be called while the journal grows. Without a journal there are no events.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield json.loads(line), offset


def apply(trials: dict[int, TrialRecord], event: Event) -> None:
    """Bring what is known of the trials up to date with an event."""
    if event["event"] == "started":
        trials[event["trial"]] = TrialRecord(
            number=event["trial"],
            parameters=event["parameters"],
            overrides=event["overrides"],
            started=event["time"],
            survived=event.get("survived", 0),
        )
        return
    trial = trials[event["trial"]]
    if event["event"] == "epoch":
        trial.epochs.append(event["metrics"])
        trial.values.append(event["value"])
        trial.best_epoch = event["best_epoch"]
    else:
        trial.status, trial.ended = event["status"], event["time"]
        trial.reason = event.get("reason")


def read_trials(path: Path) -> dict[int, TrialRecord]:
    """Return all trials of a journal by number."""
    trials: dict[int, TrialRecord] = {}
    for event, _ in read_events(path):
        apply(trials, event)
    return trials


def ranked(trials: Mapping[int, TrialRecord], lower_is_better: bool) -> list[TrialRecord]:
    """Trials that ended with a value, the best first; of equals the earliest."""
    sign = 1 if lower_is_better else -1
    scored = [trial for trial in trials.values() if trial.status in ("complete", "pruned")]
    return sorted(
        (trial for trial in scored if trial.value is not None),
        key=lambda trial: (sign * (trial.value or 0.0), trial.number),
    )


def whole_bytes(path: Path) -> int:
    """Return the bytes of a file up to and including its last line break."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        while position:
            start = max(0, position - 65536)
            file.seek(start)
            found = file.read(position - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            position = start
    return 0

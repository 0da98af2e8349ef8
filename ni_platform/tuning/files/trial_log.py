"""The one account of a sweep: an Optuna study, and in it all that is known of each trial.

Everything else follows from it: what is suggested next, what stands in MLflow, reports. A trial
that is begun again, because its process or the driver died, repeats itself; its later attempt
replaces the earlier one, epoch by epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ni_platform.errors import ConfigError
from ni_platform.tuning.files.log_file import LogFile, whole_bytes
from ni_platform.tuning.search.quiet import quiet
from ni_platform.tuning.search.suggestions import OVERRIDES

Status = Literal["running", "complete", "pruned", "failed"]

_STATUS: dict[TrialState, Status] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_STATE = {status: state for state, status in _STATUS.items()}

# User attributes of a trial in the study, beside OVERRIDES.
_ATTEMPT = "ni.attempt"
_EPOCH = "ni.epoch."
_ENDED = "ni.ended"
_REASON = "ni.reason"


@dataclass(kw_only=True)
class TrialRecord:
    """What is known of one trial."""

    number: int
    parameters: dict[str, Any]
    """Optuna's names and values."""
    overrides: dict[str, Any]
    """Changes to the experiment's config, by path."""
    started: float
    """Unix seconds, of this attempt."""
    attempt: int = 1
    """How often it was begun."""
    reached: int = 0
    """Epochs that it came to in any attempt."""
    status: Status = "running"
    """complete: trained to its end; pruned: stopped by the scheduler."""
    ended: float | None = None
    epochs: list[dict[str, float]] = field(default_factory=list)
    """Training loss and validation metrics after each epoch, from the first."""
    values: list[float] = field(default_factory=list)
    """The objective after each epoch, at the best epoch so far."""
    times: list[float] = field(default_factory=list)
    """Unix seconds at the end of each epoch."""
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


_START = b'{"op_code":'
"""Of each line."""


class TrialLog:
    """A sweep's log, opened for writing by the one keeper of the sweep."""

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        lower_is_better: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the log, or make it with a study of this name.

        Args:
            path: The file.
            name: Of a study that is made.
            lower_is_better: Whether its objective is minimised.
            clock: What time it is, in Unix seconds.

        Raises:
            ConfigError: The file cannot be read.
        """
        self._clock = clock
        _require_log(path)
        self._file = LogFile(path, writable=True)
        self._storage = _storage(path, self._file)
        studies = self._storage.get_all_studies()
        with quiet():
            self.study = optuna.create_study(
                storage=self._storage,
                study_name=studies[0].study_name if studies else name,
                direction=(StudyDirection.MINIMIZE if lower_is_better else StudyDirection.MAXIMIZE),
                load_if_exists=True,
            )
        self._study_id = self._storage.get_study_id_from_name(self.study.study_name)

    def trials(self) -> Iterator[TrialRecord]:
        """Yield all trials that were begun."""
        return _records(self.study.get_trials(deepcopy=False))

    def trial_id(self, number: int) -> int:
        """Return Optuna's id of a trial."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def begin(self, number: int) -> TrialRecord:
        """Note that a trial begins, or begins again."""
        trial_id = self.trial_id(number)
        before = self._storage.get_trial(trial_id).user_attrs.get(_ATTEMPT, {"number": 0})
        attempt = {"number": before["number"] + 1, "time": self._clock()}
        self._storage.set_trial_user_attr(trial_id, _ATTEMPT, attempt)
        return self._record(trial_id)

    def epoch(
        self, number: int, metrics: Mapping[str, float], value: float, best_epoch: int
    ) -> TrialRecord:
        """Note an epoch of a trial that was begun; `value` is the objective of `best_epoch`."""
        trial_id = self.trial_id(number)
        record = self._record(trial_id)
        epoch = len(record.epochs) + 1
        account = {
            "attempt": record.attempt,
            "time": self._clock(),
            "best_epoch": best_epoch,
            "metrics": dict(metrics),
        }
        self._storage.set_trial_intermediate_value(trial_id, epoch, value)
        self._storage.set_trial_user_attr(trial_id, f"{_EPOCH}{epoch}", account)
        return self._record(trial_id)

    def end(self, number: int, status: Status, reason: str | None = None) -> TrialRecord:
        """Note that a trial is over. One that is complete without a finite objective has failed."""
        trial_id = self.trial_id(number)
        value = self._record(trial_id).value
        if status == "complete" and (value is None or not math.isfinite(value)):
            status, reason = "failed", f"its objective is {value}"
        if reason is not None:
            self._storage.set_trial_user_attr(trial_id, _REASON, reason)
        self._storage.set_trial_user_attr(trial_id, _ENDED, self._clock())
        self.study.tell(number, value if status == "complete" else None, _STATE[status])
        return self._record(trial_id)

    def close(self) -> None:
        """Let what was written survive a loss of power, and close the file."""
        self._file.close()

    def _record(self, trial_id: int) -> TrialRecord:
        return _record(self._storage.get_trial(trial_id))


def _require_log(path: Path) -> None:
    """Refuse a file without any line break that is not the beginning of a log's first line."""
    if path.exists() and not whole_bytes(path):
        with path.open("rb") as file:
            start = file.read(len(_START)).rstrip(b"\0")  # zeros of a power cut
        if not _START.startswith(start):
            raise ConfigError(
                f"each line of a sweep's log begins with {_START.decode()}, but {path} begins with "
                f"{start!r}; move that file away"
            )


def read_trials(path: Path) -> dict[int, TrialRecord]:
    """Return all trials of a log by number, none without the file; it may grow meanwhile.

    Raises:
        ConfigError: The file cannot be read.
    """
    study = read_study(path)
    trials = [] if study is None else study.get_trials(deepcopy=False)
    return {trial.number: trial for trial in _records(trials)}


def read_study(path: Path) -> optuna.Study | None:
    """Return the Optuna study of a log, to be read alone; None without the file.

    Raises:
        ConfigError: The file cannot be read.
    """
    storage = _storage(path, LogFile(path))
    names = [study.study_name for study in storage.get_all_studies()]
    return optuna.load_study(study_name=names[0], storage=storage) if names else None


def ranked(trials: Mapping[int, TrialRecord], lower_is_better: bool) -> list[TrialRecord]:
    """Trials that ended with a value, the best first; of equals the earliest."""
    sign = 1 if lower_is_better else -1
    scored = [trial for trial in trials.values() if trial.status in ("complete", "pruned")]
    return sorted(
        (trial for trial in scored if trial.value is not None),
        key=lambda trial: (sign * (trial.value or 0.0), trial.number),
    )


def _storage(path: Path, file: LogFile) -> JournalStorage:
    try:
        return JournalStorage(file)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"a sweep's log is a journal of Optuna's, but {path} is not "
            f"({type(error).__name__}: {error}); restore the file from a copy, or start the sweep "
            "again under another name"
        ) from error


def _records(trials: list[FrozenTrial]) -> Iterator[TrialRecord]:
    return (_record(trial) for trial in trials if _ATTEMPT in trial.user_attrs)


def _record(trial: FrozenTrial) -> TrialRecord:
    notes = trial.user_attrs
    attempt = notes[_ATTEMPT]
    record = TrialRecord(
        number=trial.number,
        parameters=trial.params,
        overrides=notes[OVERRIDES],
        started=attempt["time"],
        attempt=attempt["number"],
        status=_STATUS[trial.state],
        ended=notes[_ENDED] if trial.state.is_finished() else None,
        reason=notes.get(_REASON),
    )
    while (account := notes.get(f"{_EPOCH}{record.reached + 1}")) is not None:
        record.reached += 1
        if account["attempt"] == record.attempt:
            record.epochs.append(account["metrics"])
            record.values.append(trial.intermediate_values[record.reached])
            record.times.append(account["time"])
            record.best_epoch = account["best_epoch"]
    return record

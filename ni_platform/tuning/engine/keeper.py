"""The keeper of a sweep: decides what is tried next and what goes on, and writes all of it down.

One per sweep, on the driver's machine. Lanes (`lane.py`) ask it for trials and tell it of epochs;
it knows neither Ray's actors nor MLflow. Everything it knows is in the sweep's log, so that another
one goes on where it stopped.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from optuna.trial import TrialState

from ni_platform.errors import ConfigError
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.engine.scheduler import Scheduler
from ni_platform.tuning.files.locks import claim
from ni_platform.tuning.files.trial_log import Status, TrialLog, TrialRecord
from ni_platform.tuning.files.validation_predictions import ValidationPredictions
from ni_platform.tuning.search.samplers import load_sampler
from ni_platform.tuning.search.spaces import load_space
from ni_platform.tuning.search.suggestions import Search

MOST_DEATHS = 5
"""How often in a row a lane may die before it asks for a trial, while none trains."""

Decision = Literal["go on", "stop", "drop"]
"""drop: the trial is not this lane's any more, or the sweep is being stopped."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial for a lane."""

    number: int
    attempt: int
    """Which attempt this is, from one."""
    overrides: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SweepProgress:
    """How far a sweep is."""

    trials: int
    counts: dict[Status, int]
    best: TrialRecord | None
    running: tuple[TrialRecord, ...]
    last: tuple[TrialRecord, ...]
    """Trials that ended most recently, the latest first."""
    gave_up: str | None = None
    """Why the sweep cannot go on."""

    @property
    def ended(self) -> int:
        """Trials that are over, however they ended."""
        return sum(count for status, count in self.counts.items() if status != "running")


class Keeper:
    """The one writer of a sweep's log."""

    def __init__(
        self,
        config: SweepConfig,
        folder: SweepFolder,
        on_change: Callable[[TrialRecord], None] = lambda trial: None,
    ) -> None:
        """Open the sweep's folder and go on from what is written there.

        Args:
            config: The sweep's.
            folder: The sweep's.
            on_change: Told of a trial whenever the log has grown by what happened to it, and of
                those that are in the log already.

        Raises:
            ConfigError: Another process keeps this sweep.

        """
        self._config = config
        self._folder = folder
        self._on_change = on_change
        self._lock = claim(folder)
        self._log = TrialLog(folder.log, name=config.name, lower_is_better=config.lower_is_better)
        self._study = self._log.study
        self._study.sampler = load_sampler(config.sampler)(config.seed, self._suggested)
        self._search = Search(load_space(config.space, config.space_source), self._study)
        self._scheduler = Scheduler(config)
        self._predictions = ValidationPredictions(path=folder.predictions)
        self._running: dict[int, TrialRecord] = {}
        self._died: Counter[int] = Counter()
        """How often a process died that trained a trial."""
        self._lanes: dict[str, int] = {}
        self._waiting: deque[int] = deque()
        """Trials that were suggested and have not ended: they are begun before any new one."""
        self._counts: dict[Status, int] = {"complete": 0, "pruned": 0, "failed": 0}
        self._best: list[TrialRecord] = []
        """Of the complete trials the best, the best first: those whose weights are kept."""
        self._leader: TrialRecord | None = None
        """Of all trials that ended with a value the best."""
        self._last: deque[TrialRecord] = deque(maxlen=8)
        self._deaths: Counter[str] = Counter()
        """Of lanes, since one of them last asked for a trial."""
        self._stopping = False
        self._gave_up: str | None = None
        self._go_on()

    # What lanes ask

    def next(self, lane: str) -> Assignment | None:
        """Return the next trial of a lane; None when there is nothing left to begin.

        A trial that the lane had not ended died with its process: it is tried again.
        """
        self._take_back(lane)
        self._deaths.clear()
        if self._stopping:
            return None
        number = self._suggested
        if not self._waiting and number >= self._config.trials:
            return None
        try:
            if self._waiting:
                number = self._waiting[0]
                suggestion = self._search.again(number, self._log.trial_id(number))
                self._waiting.popleft()
            else:
                suggestion = self._search.ask()
        except ConfigError as error:
            self.give_up(f"there is no trial {number}: {error}")
            return None
        return self._begin(lane, suggestion.number, suggestion.overrides)

    def epoch(
        self,
        number: int,
        attempt: int,
        metrics: Mapping[str, float],
        value: float,
        best_epoch: int,
    ) -> Decision:
        """Note an epoch of a trial and say whether it goes on."""
        if not self._is_current(number, attempt):
            return "drop"
        trial = self._change(self._log.epoch(number, metrics, value, best_epoch))
        epoch = len(trial.values)
        stops = self._scheduler.stops(number, epoch, value)
        # After an epoch that an earlier attempt went on from, this one does so again.
        return "stop" if stops and epoch == trial.reached else "go on"

    def wants_weights(self, number: int, value: float) -> bool:
        """Whether a trial that ends with this value would be among those that are kept."""
        kept = self._best
        if len(kept) < self._config.keep:
            return self._config.keep > 0
        return bool(kept) and self._rank(number, value) < self._rank_of(kept[-1])

    def end(
        self,
        number: int,
        attempt: int,
        status: Status,
        reason: str | None = None,
        predictions: np.ndarray | None = None,
    ) -> bool:
        """Note the end of a trial; False where it is not this lane's any more."""
        if not self._is_current(number, attempt):
            return False
        if predictions is not None:
            self._predictions.append(number, predictions)
        self._end(number, status, reason)
        return True

    def lane_died(self, lane: str) -> None:
        """Take back the trial of a lane that is started again.

        The trial is tried again, or has failed if this was too often. Where no lane trains, one
        that dies again and again without asking for a trial ends the sweep.
        """
        if lane in self._lanes or self._running:
            self._take_back(lane)
            return
        self._deaths[lane] += 1
        if self._deaths[lane] == MOST_DEATHS:
            self.give_up(
                f"a process that is to train died {MOST_DEATHS} times in a row before it asked "
                "for a trial, of too little memory perhaps"
            )

    def _take_back(self, lane: str) -> None:
        number = self._lanes.pop(lane, None)
        if number is None or number not in self._running:
            return
        self._died[number] += 1
        if self._died[number] > self._config.retries and not self._stopping:
            died = self._died[number]
            self._end(number, "failed", f"the process that trained it died, {died} times")
        else:
            del self._running[number]
            self._waiting.append(number)

    # What the driver asks

    def progress(self) -> SweepProgress:
        """Return how far the sweep is."""
        return SweepProgress(
            trials=self._config.trials,
            counts={**self._counts, "running": len(self._running)},
            best=self._leader,
            running=tuple(self._running.values()),
            last=tuple(self._last),
            gave_up=self._gave_up,
        )

    def give_up(self, reason: str) -> None:
        """Stop because a lane cannot work, for a reason that would meet every trial."""
        self._gave_up = self._gave_up or reason
        self._stopping = True

    def stop(self) -> None:
        """Begin no more trials; those under way are dropped after their epoch, to be resumed."""
        self._stopping = True

    def close(self) -> None:
        """Let what was written survive a loss of power, and let another keeper in."""
        self._stopping = True
        self._log.close()
        os.close(self._lock)

    # How it keeps account

    def _begin(self, lane: str, number: int, overrides: dict[str, Any]) -> Assignment:
        self._lanes[lane] = number
        trial = self._change(self._log.begin(number))
        self._scheduler.add(number)
        return Assignment(number=number, attempt=trial.attempt, overrides=overrides)

    def _is_current(self, number: int, attempt: int) -> bool:
        trial = self._running.get(number)
        return not self._stopping and trial is not None and trial.attempt == attempt

    def _change(self, trial: TrialRecord) -> TrialRecord:
        """Take in what became of a trial."""
        self._running[trial.number] = trial
        self._on_change(trial)
        return trial

    def _end(self, number: int, status: Status, reason: str | None) -> None:
        trial = self._change(self._log.end(number, status, reason))
        del self._running[number]
        self._died.pop(number, None)
        self._book(trial)

    def _book(self, trial: TrialRecord) -> None:
        """Count a trial that ended, and keep the weights of the best only."""
        self._counts[trial.status] += 1
        self._last.appendleft(trial)
        if trial.value is not None and (
            self._leader is None
            or self._config.is_better(trial.value, than=self._leader.values[-1])
        ):
            self._leader = trial
        self._scheduler.remove(trial.number)
        if trial.status == "complete" and self._config.keep:
            self._best.append(trial)
            self._best.sort(key=self._rank_of)
            for dropped in self._best[self._config.keep :]:
                shutil.rmtree(self._folder.weights(dropped.number), ignore_errors=True)
            del self._best[self._config.keep :]

    def _rank(self, number: int, value: float) -> tuple[float, int]:
        """Order of complete trials, the best first; of equals the earliest, as in `ranked`."""
        return (value if self._config.lower_is_better else -value, number)

    def _rank_of(self, trial: TrialRecord) -> tuple[float, int]:
        return self._rank(trial.number, trial.values[-1])

    @property
    def _suggested(self) -> int:
        """How many trials were suggested."""
        return len(self._study.get_trials(deepcopy=False))

    def _go_on(self) -> None:
        """Bring counts and scheduler to where the log is."""
        for trial in self._log.trials():
            self._on_change(trial)
            if trial.status == "running":
                continue
            self._scheduler.add(trial.number)
            for epoch, value in enumerate(trial.values, start=1):
                self._scheduler.stops(trial.number, epoch, value)
            self._book(trial)
        unfinished = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        self._waiting.extend(trial.number for trial in unfinished)

"""The keeper of a sweep: decides what is tried next and what goes on, and writes all of it down.

One per sweep, on the driver's machine. Lanes (`lane.py`) ask it for trials and tell it of epochs;
it knows neither Ray's actors nor MLflow. Everything it knows is in the journal and in the Optuna
study, so that another one goes on where it stopped.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ni_platform.errors import ConfigError
from ni_platform.tuning.definition import SweepConfig, SweepFolder
from ni_platform.tuning.engine.scheduler import Scheduler
from ni_platform.tuning.files import journal as events
from ni_platform.tuning.files.journal import Journal, Status, TrialRecord, read_trials
from ni_platform.tuning.files.locks import claim
from ni_platform.tuning.files.validation_predictions import ValidationPredictions
from ni_platform.tuning.search.spaces import load_space
from ni_platform.tuning.search.suggestions import Search, Suggestion

MOST_DEATHS = 5
"""How often in a row a lane may die before it asks for a trial, while none trains."""

Decision = Literal["go on", "stop", "drop"]
"""drop: the trial is not this lane's any more, or the sweep is being stopped."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial for a lane."""

    number: int
    attempt: int
    """How often the trial was begun before."""
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
    """The one writer of a sweep's journal and study."""

    def __init__(self, config: SweepConfig, folder: SweepFolder) -> None:
        """Open the sweep's folder and go on from what is written there.

        Raises:
            ConfigError: Another process keeps this sweep.

        """
        self._config = config
        self._folder = folder
        self._lock = claim(folder)
        begun = read_trials(folder.journal)
        self._search = Search(
            load_space(config.space),
            study=folder.study,
            name=config.name,
            lower_is_better=config.lower_is_better,
            sampler=config.sampler,
            seed=config.seed,
            begun=len(begun),
        )
        self._scheduler = Scheduler(config)
        self._journal = Journal(folder.journal)
        self._predictions = ValidationPredictions(path=folder.predictions)
        self._running: dict[int, TrialRecord] = {}
        self._suggestions: dict[int, Suggestion] = {}
        self._attempts: dict[int, int] = {}
        self._survived: dict[int, int] = {}
        """Epochs of trials that are begun again which went on before, and do so again."""
        self._lanes: dict[str, int] = {}
        self._waiting: deque[Suggestion] = deque()
        """Trials that were begun and not ended: they are begun again, before any new one."""
        self._counts: dict[Status, int] = {"complete": 0, "pruned": 0, "failed": 0}
        self._best: list[TrialRecord] = []
        """Of the complete trials the best, the best first: those whose weights are kept."""
        self._leader: TrialRecord | None = None
        """Of all trials that ended with a value the best."""
        self._last: deque[TrialRecord] = deque(maxlen=8)
        self._next = 0
        self._deaths: Counter[str] = Counter()
        """Of lanes, since one of them last asked for a trial."""
        self._stopping = False
        self._gave_up: str | None = None
        self._go_on_from(begun)

    # What lanes ask

    def next(self, lane: str) -> Assignment | None:
        """Return the next trial of a lane; None when there is nothing left to begin.

        A trial that the lane had not ended died with its process: it is tried again.
        """
        self._take_back(lane)
        self._deaths.clear()
        if self._stopping:
            return None
        if self._waiting:
            return self._begin(lane, self._waiting.popleft())
        if self._next >= self._config.trials:
            return None
        try:
            suggestion = self._search.ask()
        except ConfigError as error:
            self.give_up(f"there is no trial {self._next}: {error}")
            return None
        self._next += 1
        return self._begin(lane, suggestion)

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
        trial = self._running[number]
        self._write(events.epoch_done(number, time.time(), metrics, value, best_epoch))
        epoch = len(trial.values)
        stops = self._scheduler.stops(number, epoch, value)
        return "stop" if stops and epoch > self._survived.get(number, 0) else "go on"

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
        if self._attempts[number] > self._config.retries and not self._stopping:
            died = self._attempts[number]
            self._end(number, "failed", f"the process that trained it died, {died} times")
        else:
            self._note_survived(self._running.pop(number))
            self._waiting.append(self._suggestions[number])

    def _note_survived(self, trial: TrialRecord) -> None:
        """What was decided after the last of its epochs may not have reached the trial."""
        self._survived[trial.number] = max(trial.survived, len(trial.values) - 1)

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
        self._journal.__exit__(None, None, None)
        self._search.close()
        os.close(self._lock)

    # How it keeps account

    def _begin(self, lane: str, suggestion: Suggestion) -> Assignment:
        number = suggestion.number
        self._suggestions[number] = suggestion
        self._attempts[number] = self._attempts.get(number, 0) + 1
        self._lanes[lane] = number
        self._write(
            events.started(
                number,
                time.time(),
                suggestion.parameters,
                suggestion.overrides,
                self._survived.get(number, 0),
            )
        )
        self._scheduler.add(number)
        return Assignment(
            number=number, attempt=self._attempts[number], overrides=suggestion.overrides
        )

    def _is_current(self, number: int, attempt: int) -> bool:
        return not self._stopping and number in self._running and self._attempts[number] == attempt

    def _write(self, event: events.Event) -> None:
        self._journal.append(event)
        events.apply(self._running, event)

    def _end(self, number: int, status: Status, reason: str | None) -> None:
        self._write(events.ended(number, time.time(), status, reason))
        trial = self._running.pop(number)
        self._book(trial)
        del self._suggestions[number], self._attempts[number]
        self._survived.pop(number, None)
        self._tell(trial)

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

    def _tell(self, trial: TrialRecord) -> None:
        assert trial.status != "running"  # noqa: S101
        self._search.tell(
            trial.number,
            state=trial.status,
            value=trial.value,
            curve=trial.values,
            attributes={} if trial.reason is None else {"reason": trial.reason},
        )

    def _go_on_from(self, begun: Mapping[int, TrialRecord]) -> None:
        """Bring counts, scheduler and study to where the journal is."""
        for number, trial in sorted(begun.items()):
            self._next = number + 1
            suggestion = self._search.again(number, trial.parameters)
            if trial.status == "running":
                assert suggestion is not None  # noqa: S101  # the journal is written first
                self._note_survived(trial)
                self._waiting.append(suggestion)
                continue
            self._scheduler.add(number)
            for epoch, value in enumerate(trial.values, start=1):
                self._scheduler.stops(number, epoch, value)
            self._book(trial)
            if suggestion is not None:
                self._tell(trial)

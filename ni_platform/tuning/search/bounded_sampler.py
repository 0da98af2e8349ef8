"""Any sampler of Optuna's on a bounded history: asking costs the same at trial 20,000 as at 1,000.

TPE divides the ended trials into the best few, at most 25, and the rest. The best are kept
exactly; of the rest it needs only their density, for which a fair sample does as well as all.
"""

from __future__ import annotations

import copy
import math
import threading
import warnings
from bisect import insort
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ni_platform.tuning.search.quiet import quiet

BEST = 25
"""The most that TPE ever counts among the best."""
OTHERS = 500

MakeSampler = Callable[[int], BaseSampler]
"""Called with a seed."""


def tpe(seed: int) -> BaseSampler:
    """Return Optuna's TPE that draws parameters together, those of a branch among themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, group=True)


class BoundedSampler(BaseSampler):
    """Lets another sampler see the best trials, a sample of the others and those that run.

    What is suggested follows from the seed, the trial's number and the trials that ended, so a
    search that was interrupted goes on as if it had not been. A failed trial counts as a bad one,
    where Optuna's samplers forget it: where trials fail, the search goes less often.

    Args:
        make: Makes the sampler that suggests one trial.
        seed: Decides, with a trial's number, its sampler's seed and which others are seen.
        best: How many of the best trials are seen.
        others: How many of the other ended ones.
    """

    def __init__(
        self, make: MakeSampler = tpe, *, seed: int = 0, best: int = BEST, others: int = OTHERS
    ) -> None:
        self._make, self._seed = make, seed
        self._best, self._others = best, others
        self._histories: dict[str, _History] = {}
        """By the study's name; threads of one study share its history."""
        self._lock = threading.Lock()
        self._asked = threading.local()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As Optuna's samplers; called once a trial, before any value of it is drawn."""
        with self._lock:
            name = study.study_name
            if name not in self._histories:
                self._histories[name] = _History(study, self._seed, self._best, self._others)
            seen = self._histories[name].seen(study.get_trials(deepcopy=False))
        own_seed = np.random.SeedSequence((self._seed, trial.number)).generate_state(1)[0]
        self._asked.number = trial.number
        self._asked.sampler = self._make(int(own_seed))
        self._asked.view = _view(study, seen)
        space: dict[str, BaseDistribution] = self._asked.sampler.infer_relative_search_space(
            self._asked.view, trial
        )
        return space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As Optuna's samplers."""
        sampler = self._sampler(study, trial)
        return sampler.sample_relative(self._asked.view, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As Optuna's samplers."""
        sampler = self._sampler(study, trial)
        return sampler.sample_independent(self._asked.view, trial, param_name, param_distribution)

    def _sampler(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        """Return the sampler of a trial; made again where another was asked for in between."""
        if getattr(self._asked, "number", None) != trial.number:
            self.infer_relative_search_space(study, trial)
        sampler: BaseSampler = self._asked.sampler
        return sampler


class _History:
    """What is remembered of one study."""

    def __init__(self, study: Study, seed: int, best: int, others: int) -> None:
        if len(study.directions) > 1:
            raise ValueError("a bounded history has one order of trials, but there are objectives")
        self._sign = 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0
        self._seed, self._most_best, self._most_others = seed, best, others
        self._best: list[tuple[tuple[float, ...], FrozenTrial]] = []
        """By rank, the best first."""
        self._others: list[tuple[float, int, FrozenTrial]] = []
        """By a random number of each, of which the smallest are kept."""
        self._taken: set[int] = set()
        """Ended trials from `_first` on that were taken in."""
        self._first = 0
        """All trials before this one have ended and were taken in."""

    def seen(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Take in what has ended; return what the sampler sees, in the order of numbers."""
        running = []
        for trial in trials[self._first :]:
            if trial.state == TrialState.RUNNING:
                running.append(trial)
            elif trial.state.is_finished() and trial.number not in self._taken:
                self._taken.add(trial.number)
                self._take(trial)
        while self._first in self._taken:
            self._taken.remove(self._first)
            self._first += 1
        kept = [trial for _, trial in self._best] + [trial for *_, trial in self._others]
        return sorted([*kept, *running], key=lambda trial: trial.number)

    def _take(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.FAIL:
            trial = copy.copy(trial)
            trial.state, trial.values, trial.intermediate_values = TrialState.PRUNED, None, {}
        else:
            insort(self._best, (self._rank(trial), trial))
            if len(self._best) <= self._most_best:
                return
            trial = self._best.pop()[1]
        key = float(np.random.default_rng((self._seed, trial.number)).random())
        insort(self._others, (key, trial.number, trial))
        del self._others[self._most_others :]

    def _rank(self, trial: FrozenTrial) -> tuple[float, ...]:
        """Optuna's order: complete trials by value, then pruned ones by how far they came."""
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            return (0, 0, self._sign * trial.value, trial.number)
        if not trial.intermediate_values:
            return (1, 1, 0.0, trial.number)
        step, value = max(trial.intermediate_values.items())
        return (1, -step, math.inf if math.isnan(value) else self._sign * value, trial.number)


class _Seen(InMemoryStorage):
    """A storage that holds the trials that are seen, and takes no more."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._seen = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Any = None
    ) -> list[FrozenTrial]:
        found = [trial for trial in self._seen if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Forget it: a sampler's notes for others, who are not here."""


def _view(study: Study, trials: Sequence[FrozenTrial]) -> Study:
    """Return a study of the same direction in which only these trials stand."""
    storage = _Seen(trials)
    with quiet():
        storage.create_new_study(study.directions, study.study_name)
    return optuna.load_study(study_name=study.study_name, storage=storage)

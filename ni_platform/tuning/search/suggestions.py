"""Which trial to run next: an Optuna study that is asked and told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import BaseTrial, Trial, TrialState

from ni_platform.tuning.search.checked_trial import NUMBER, CheckedTrial
from ni_platform.tuning.search.quiet import quiet
from ni_platform.tuning.search.samplers import load_sampler
from ni_platform.tuning.search.study_file import StudyFile

# A search space: called with a trial, it suggests parameters and returns overrides of an
# experiment's config, by path.
Space = Callable[[BaseTrial], Mapping[str, Any]]
State = Literal["complete", "pruned", "failed"]

_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One point of a space: parameters under the space's names, and what they mean."""

    number: int
    parameters: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    overrides: dict[str, Any]


class Search:
    """Suggests trials of a space, and keeps each ended one in the file of an Optuna study.

    Made again on the same file it goes on where the last one ended: `again` gives it, in the
    order of their numbers, the trials that were begun before. Calls come from one thread.

    Args:
        space: Called once per suggestion. A parameter keeps its distribution.
        study: The file of the study (Optuna's journal), made where it does not exist.
        name: The study's name.
        lower_is_better: Whether the objective is minimised.
        sampler: A name, see `load_sampler`.
        seed: Decides, with a trial's number and what has ended, what is suggested.
        begun: How many trials `again` will be called with.

    Raises:
        ConfigError: The file holds another study or is open elsewhere, or there is no such sampler.
    """

    def __init__(
        self,
        space: Space,
        *,
        study: Path,
        name: str,
        lower_is_better: bool,
        sampler: str = "tpe",
        seed: int = 0,
        begun: int = 0,
    ) -> None:
        self._space = space
        self._study = new_study(load_sampler(sampler)(seed, begun), lower_is_better)
        self._distributions: dict[str, BaseDistribution] = {}
        self._asked: dict[int, Trial] = {}
        self._file = StudyFile(study, name=name, lower_is_better=lower_is_better)
        self._ended = {
            trial.user_attrs[NUMBER]: trial
            for trial in self._file.trials()
            if NUMBER in trial.user_attrs and trial.state.is_finished()
        }

    def ask(self) -> Suggestion:
        """Suggest the next trial; it counts as running until it is told of.

        Raises:
            ConfigError: The space failed, or gave a parameter another distribution than before.
        """
        return self._suggest()

    def again(self, number: int, parameters: Mapping[str, Any]) -> Suggestion | None:
        """Return trial `number` as it was suggested before; None if the study knows its end.

        Raises:
            ConfigError: The space asks for a parameter, or for values, that it did not before.
        """
        if number != len(self._study.get_trials(deepcopy=False)):
            raise ValueError(f"trials come again in the order of their numbers, but got {number}")
        ended = self._ended.pop(number, None)
        if ended is not None:
            self._distributions |= ended.distributions
            self._study.add_trial(ended)
            return None
        self._study.enqueue_trial(dict(parameters))
        return self._suggest(parameters)

    def tell(
        self,
        number: int,
        *,
        state: State,
        value: float | None = None,
        curve: Sequence[float] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Record how a trial ended: once in the study's file, and for what is suggested next.

        Args:
            number: Of a trial that `ask` or `again` returned.
            state: How it ended. A complete trial without a finite value has failed.
            value: The objective of a complete trial; of a pruned one the study keeps its last.
            curve: The objective after each epoch, from epoch 1.
            attributes: What else the study is to keep, such as `reason`; written as JSON.
        """
        trial = self._asked.pop(number)
        notes = {NUMBER: number, **(attributes or {})}
        if state == "complete" and (value is None or not math.isfinite(value)):
            notes.setdefault("reason", f"the objective is {value}")
            state = "failed"
        for key, note in notes.items():
            trial.set_user_attr(key, note)
        for epoch, reached in enumerate(curve, start=1):
            trial.report(reached, epoch)
        self._study.tell(trial, value if state == "complete" else None, _STATES[state])
        self._file.append(self._study.get_trials(deepcopy=False)[number])

    def close(self) -> None:
        """Flush, and close the study's file."""
        self._file.close()

    def _suggest(self, repeated: Mapping[str, Any] | None = None) -> Suggestion:
        trial = self._study.ask()
        overrides = suggest(self._space, trial, self._distributions, repeated)
        self._asked[trial.number] = trial
        return Suggestion(
            number=trial.number,
            parameters=trial.params,
            distributions=trial.distributions,
            overrides=overrides,
        )


def new_study(sampler: BaseSampler, lower_is_better: bool = True) -> optuna.Study:
    """Return an Optuna study in memory."""
    direction = StudyDirection.MINIMIZE if lower_is_better else StudyDirection.MAXIMIZE
    with quiet():
        return optuna.create_study(direction=direction, sampler=sampler)


def suggest(
    space: Space,
    trial: Trial,
    known: dict[str, BaseDistribution],
    repeated: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Call a space with a trial as `CheckedTrial` holds it; return overrides."""
    return dict(space(CheckedTrial(trial, known, repeated)))  # type: ignore[arg-type]

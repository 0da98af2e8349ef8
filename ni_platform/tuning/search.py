"""Which trial to run next, at the same cost at trial 20,000 as at trial 100."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from ni_platform.errors import ConfigError
from ni_platform.tuning.asked_trial import NUMBER, AskedTrial, Choose
from ni_platform.tuning.columns import Column
from ni_platform.tuning.history import BEST, History
from ni_platform.tuning.parzen import Mixture
from ni_platform.tuning.study_file import StudyFile

# A search space: called with a trial, it suggests parameters and returns overrides of an
# experiment's config, by path.
Space = Callable[[BaseTrial], Mapping[str, Any]]
State = Literal["complete", "pruned", "failed"]

# As in Optuna's TPE.
_RANDOM_AT_FIRST = 10
_CANDIDATES = 24
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
    attributes: dict[str, Any]
    asked_at: datetime


class Search:
    """Suggests trials of a space, and keeps each ended one in an Optuna study.

    Made again on the same file it goes on where the last one ended: it has learned from every
    trial in the study, and `ended` says which they are. A trial that had not ended is given
    again by `again`. Calls come from one thread, except `flush`.

    Args:
        space: Called once per suggestion. A parameter keeps its distribution.
        study: The file of the study (Optuna's journal), made where it does not exist.
        name: The study's name.
        lower_is_better: Whether the objective is minimised.
        sampler: "tpe" (see parzen.py) or "random".
        seed: Decides, with a trial's number and what has ended, what is suggested.
        history: The most ended trials that the sampler remembers, at least 250.

    Raises:
        ConfigError: `history` is too small, or the file holds another study or is open elsewhere.
    """

    def __init__(
        self,
        space: Space,
        *,
        study: Path,
        name: str,
        lower_is_better: bool,
        sampler: Literal["tpe", "random"] = "tpe",
        seed: int = 0,
        history: int = 500,
    ) -> None:
        if history < 10 * BEST:
            raise ConfigError(
                f"A search remembers at least {10 * BEST} trials, {BEST} of them the best, but "
                f"history is {history}. Leave it at its default."
            )
        self._space, self._sampler, self._seed = space, sampler, seed
        self._history = History(size=history, seed=seed, lower_is_better=lower_is_better)
        self._asked: dict[int, Suggestion] = {}
        self.ended: set[int] = set()
        self._file = StudyFile(study, name=name, lower_is_better=lower_is_better)
        for trial in self._file.trials():
            if NUMBER in trial.user_attrs and trial.state.is_finished():
                number = trial.user_attrs[NUMBER]
                self._history.start(number, trial.params, trial.distributions)
                self._learn(number, trial)

    def ask(self, number: int) -> Suggestion:
        """Suggest trial `number`; it counts as running until it is told of.

        Raises:
            ConfigError: The space gave a parameter another distribution than before.
        """
        return self._suggest(number, self._chooser(np.random.default_rng((self._seed, number, 1))))

    def again(self, number: int, parameters: Mapping[str, Any]) -> Suggestion:
        """Return trial `number` as it was suggested before, from its parameters.

        Raises:
            ConfigError: The space asks for a parameter, or for values, that it did not before.
        """

        def choose(name: str, distribution: BaseDistribution) -> Any:
            if name in parameters and self._history.column(name, distribution).holds(
                parameters[name]
            ):
                return parameters[name]
            raise ConfigError(
                f"Trial {number} can only be repeated in the space that it came from, but "
                f"its {name!r} is {parameters.get(name)!r} where the space has {distribution}. "
                "Take back the change of the space, or begin a search under another name."
            )

        return self._suggest(number, choose)

    def tell(
        self,
        number: int,
        *,
        state: State,
        value: float | None = None,
        curve: Sequence[float] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Record how a trial ended: once in the study, and in what the next ones learn from.

        Args:
            number: A trial that `ask` or `again` returned.
            state: How it ended. A complete trial without a finite value has failed.
            value: The objective of a complete trial; of a pruned one the study keeps its last.
            curve: The objective after each epoch, from epoch 1.
            attributes: What else the study is to keep, such as `reason`; written as JSON.
        """
        suggestion = self._asked.pop(number)
        notes = {NUMBER: number, **suggestion.attributes, **(attributes or {})}
        last = curve[-1] if curve else math.nan
        objective = {"complete": value, "pruned": last, "failed": None}[state]
        if objective is not None and math.isnan(objective):
            objective = None
        if state == "complete" and (objective is None or math.isinf(objective)):
            notes.setdefault("reason", f"the objective is {value}")
            state, objective = "failed", None
        trial = FrozenTrial(
            number=number,
            trial_id=number,
            state=_STATES[state],
            value=objective,
            datetime_start=suggestion.asked_at,
            datetime_complete=datetime.now(),
            params=suggestion.parameters,
            distributions=suggestion.distributions,
            user_attrs=notes,
            system_attrs={},
            intermediate_values=dict(enumerate(curve, start=1)),
        )
        self._file.append(trial)
        self._learn(number, trial)

    def flush(self) -> None:
        """Return when all that was told is on disk; any thread may call it."""
        self._file.flush()

    def close(self) -> None:
        """Flush, and close the study's file."""
        self._file.close()

    def _learn(self, number: int, trial: FrozenTrial) -> None:
        self._history.end(number, trial)
        self.ended.add(number)

    def _suggest(self, number: int, choose: Choose) -> Suggestion:
        if number in self.ended or number in self._asked:
            raise ValueError(f"A trial is suggested once, but {number} already was.")
        trial = AskedTrial(number, choose)
        overrides = dict(self._space(trial))
        suggestion = Suggestion(
            number=number,
            parameters=trial.params,
            distributions=trial.distributions,
            overrides=overrides,
            attributes=trial.user_attrs,
            asked_at=trial.datetime_start,
        )
        self._history.start(number, trial.params, trial.distributions)
        self._asked[number] = suggestion
        return suggestion

    def _chooser(self, rng: np.random.Generator) -> Choose:
        history = self._history
        if self._sampler == "random" or history.judged < _RANDOM_AT_FIRST:
            return at_random(history, rng)
        columns = dict(history.columns)
        best, others = history.split(n_best(history.judged))
        drawn = propose(best, others, list(columns.values()), rng)
        places = {name: drawn[i] for i, name in enumerate(columns) if not math.isnan(drawn[i])}

        def likely(name: str, distribution: BaseDistribution) -> Any:
            column = history.column(name, distribution)
            if name not in places:
                # The trial entered another branch than the one that it was drawn from.
                known = list(columns).index(name) if name in columns else None
                places[name] = propose(_of(best, known), _of(others, known), [column], rng)[0]
            return column.from_unit(places[name])

        return likely


def at_random(history: History, rng: np.random.Generator) -> Choose:
    """Return what draws each parameter uniformly; the history holds it to its distribution."""

    def choose(name: str, distribution: BaseDistribution) -> Any:
        column = history.column(name, distribution)
        return column.from_unit(column.draw(rng))

    return choose


def n_best(judged: int) -> int:
    """Return how many of the judged trials are the best that TPE learns from."""
    return min(math.ceil(0.1 * judged), BEST)


def propose(
    best: np.ndarray, others: np.ndarray, columns: Sequence[Column], rng: np.random.Generator
) -> np.ndarray:
    """Draw rows as the best are distributed; return the one that is rarest among the others."""
    likely, unlikely = Mixture(best, columns), Mixture(others, columns)
    candidates = likely.draw(_CANDIDATES, rng)
    gain = likely.log_density(candidates) - unlikely.log_density(candidates)
    return candidates[np.argmax(gain)]


def _of(rows: np.ndarray, column: int | None) -> np.ndarray:
    """The one column, of the rows that have it."""
    if column is None:
        return np.empty((0, 1))
    one = rows[:, [column]]
    return one[~np.isnan(one[:, 0])]

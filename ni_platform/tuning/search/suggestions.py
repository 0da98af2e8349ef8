"""Which trial to run next: an Optuna study that is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import BaseTrial, Trial

from ni_platform.tuning.search.checked_trial import CheckedTrial

# A search space: called with a trial, it suggests parameters and returns overrides of an
# experiment's config, by path.
Space = Callable[[BaseTrial], Mapping[str, Any]]

OVERRIDES = "ni.overrides"
"""The user attribute of a suggested trial that holds what its space returned."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One point of a space: parameters under the space's names, and what they mean."""

    number: int
    parameters: dict[str, Any]
    overrides: dict[str, Any]


class Search:
    """Suggests trials of a space by asking an Optuna study, in which they stand from then on.

    Whoever trains them tells the study how they end. Calls come from one thread.

    Args:
        space: Called once per suggestion. A parameter keeps its distribution.
        study: With the sampler that suggests. It may have trials already.
    """

    def __init__(self, space: Space, study: Study) -> None:
        self._space, self._study = space, study
        self._distributions: dict[str, BaseDistribution] = {}
        for trial in study.get_trials(deepcopy=False):
            self._distributions |= trial.distributions

    def ask(self) -> Suggestion:
        """Suggest the next trial; it counts as running until the study is told of its end.

        Raises:
            ConfigError: The space failed, or gave a parameter another distribution than before.
        """
        return self._suggest(self._study.ask())

    def again(self, number: int, trial_id: int) -> Suggestion:
        """Return running trial `number` as it was suggested before, whatever the space is now.

        Where the process died while its space was drawing, it draws the rest.

        Raises:
            ConfigError: As `ask`, where something was left to draw.
        """
        trial = self._study.get_trials(deepcopy=False)[number]
        if OVERRIDES not in trial.user_attrs:
            return self._suggest(Trial(self._study, trial_id))
        return Suggestion(
            number=number, parameters=trial.params, overrides=trial.user_attrs[OVERRIDES]
        )

    def _suggest(self, trial: Trial) -> Suggestion:
        checked = CheckedTrial(trial, self._distributions)
        overrides = dict(self._space(checked))  # type: ignore[arg-type]
        trial.set_user_attr(OVERRIDES, overrides)
        return Suggestion(number=trial.number, parameters=trial.params, overrides=overrides)

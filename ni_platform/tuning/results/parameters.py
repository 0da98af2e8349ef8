"""Sampled parameters as axes, and how much each bears on the objective."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ni_platform.tuning.files.journal import TrialRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LOG_FROM = 30.0
"""Positive numbers are shown on a log scale whose largest is so many times the smallest, if they
also crowd towards the small end, as numbers do that were drawn on such a scale."""
FEWEST_TRIALS = 50
MOST_TRIALS = 2000
EVALUATOR = "PED-ANOVA of Optuna: what the best tenth of the completed trials has in common"


@dataclass(frozen=True, kw_only=True)
class ParameterAxis:
    """One parameter as an axis from 0 to 1."""

    name: str
    levels: tuple[str, ...] | None
    """Of a parameter that is not a number; else None."""
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    @classmethod
    def of(cls, name: str, trials: Iterable[TrialRecord]) -> ParameterAxis:
        """Return the axis that holds all values of a parameter that at least one trial has."""
        values = [trial.parameters[name] for trial in trials if name in trial.parameters]
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            return cls(name=name, levels=tuple(sorted({as_level(value) for value in values})))
        low, high = float(min(values)), float(max(values))
        log = low > 0 and high / low >= LOG_FROM and float(np.median(values)) < 0.3 * high
        return cls(name=name, levels=None, low=low, high=high, log=log)

    def places(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Return where values lie on the axis, [N] in [0, 1]."""
        if self.levels is not None:
            place = {level: number for number, level in enumerate(self.levels)}
            numbers = np.array([place[as_level(value)] for value in values], dtype=np.float64)
            return numbers / (len(self.levels) - 1) if len(self.levels) > 1 else numbers + 0.5
        numbers = np.asarray(values, dtype=np.float64)
        if self.high == self.low:
            return np.full(len(numbers), 0.5)
        if self.log:
            return np.log(numbers / self.low) / np.log(self.high / self.low)
        return (numbers - self.low) / (self.high - self.low)


def parameter_axes(trials: Sequence[TrialRecord]) -> list[ParameterAxis]:
    """Return an axis per parameter, in the order in which they first appear."""
    names = dict.fromkeys(name for trial in trials for name in trial.parameters)
    return [ParameterAxis.of(name, trials) for name in names]


def as_level(value: Any) -> str:
    """Return a value that is not a number as text."""
    return value if isinstance(value, str) else json.dumps(value)


def importances(
    trials: Sequence[TrialRecord], axes: Sequence[ParameterAxis], *, lower_is_better: bool
) -> dict[str, float] | None:
    """Return each parameter's share in what makes completed trials good, the largest first.

    At most 2,000 trials, drawn at random; shares add up to 1. Parameters that only some trials
    have count for as far as they are there. None with fewer than 50 completed trials.
    """
    # Optuna takes a second to import.
    import optuna

    completed = [t for t in trials if t.status == "complete" and t.value is not None]
    finite = [trial for trial in completed if np.isfinite(trial.value or 0.0)]
    if len(finite) < FEWEST_TRIALS or not axes:
        return None
    if len(finite) > MOST_TRIALS:
        drawn = np.random.default_rng(0).choice(len(finite), MOST_TRIALS, replace=False)
        finite = [finite[place] for place in np.sort(drawn)]
    distributions = {axis.name: _distribution(axis) for axis in axes}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize" if lower_is_better else "maximize")
    optuna.logging.set_verbosity(verbosity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of experimental parts, and of none that a user chose
        study.add_trials([_as_optuna(trial, axes, distributions) for trial in finite])
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _as_optuna(
    trial: TrialRecord,
    axes: Sequence[ParameterAxis],
    distributions: dict[str, BaseDistribution],
) -> Any:
    import optuna

    own = {
        axis.name: trial.parameters[axis.name]
        if axis.levels is None
        else as_level(trial.parameters[axis.name])
        for axis in axes
        if axis.name in trial.parameters
    }
    return optuna.trial.create_trial(
        params=own,
        distributions={name: distributions[name] for name in own},
        value=trial.value,
    )


def _distribution(axis: ParameterAxis) -> BaseDistribution:
    """Where the parameter was drawn from, as far as its values tell."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if axis.levels is not None:
        return CategoricalDistribution(axis.levels)
    return FloatDistribution(axis.low, axis.high, log=axis.log)

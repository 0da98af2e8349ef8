"""The trial that a space is called with: Optuna's own, whose every call is looked at."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from ni_platform.errors import ConfigError
from ni_platform.user_code import shown

_OURS = "ni."
"""How names of user attributes begin that the sweep itself sets."""


class CheckedTrial:
    """An Optuna trial that refuses what a search cannot draw or keep, with a remedy.

    Optuna would let a parameter change its range between trials, cut off what stands behind the
    point of a whole number, and find out when a study is written that a choice is no JSON.
    Reports and pruning are not a space's business, as in Optuna's `FixedTrial`.

    Args:
        trial: Draws the values.
        known: Distributions that parameters had in earlier trials; this one's are added.
    """

    def __init__(self, trial: Trial, known: dict[str, BaseDistribution]) -> None:
        self._trial, self._known = trial, known
        self._drawn: dict[str, BaseDistribution] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def suggest_float(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float | None = None,
        log: bool = False,
    ) -> float:
        """Suggest a number."""
        self._check(
            name, lambda: FloatDistribution(**_finite(low=low, high=high, step=step), log=log)
        )
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggest a whole number."""
        self._check(name, lambda: IntDistribution(**_whole(low=low, high=high, step=step), log=log))
        return self._trial.suggest_int(name, int(low), int(high), step=int(step), log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of `choices`, which JSON gives back as they were."""
        self._check(name, lambda: CategoricalDistribution(_kept(choices)))
        return self._trial.suggest_categorical(name, choices)

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """Suggest a number; Optuna's old name."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """Suggest a number by its logarithm; Optuna's old name."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """Suggest a number with steps; Optuna's old name."""
        return self.suggest_float(name, low, high, step=q)

    def report(self, value: float, step: int) -> None:
        """Do nothing."""

    def should_prune(self) -> bool:
        """Return False."""
        return False

    def set_user_attr(self, key: str, value: Any) -> None:
        """Note something; it becomes a user attribute of the trial in the study."""
        if not isinstance(key, str) or key.startswith(_OURS) or not is_kept(value):
            raise ConfigError(
                f"a note has a name that is a text and does not begin with {_OURS!r}, and a value "
                f"that JSON gives back as it was, but got {shown(key)} = {shown(value)}; change it"
            )
        self._trial.set_user_attr(key, value)

    def _check(self, name: str, make: Callable[[], BaseDistribution]) -> None:
        """Refuse a name or a distribution that is none, or another one than before.

        Raises:
            ConfigError: Says which rule is broken, and what to change.

        """
        if not isinstance(name, str):
            raise ConfigError(
                f"a parameter's name is a text, but got {shown(name)}; put it in quotes"
            )
        try:
            distribution = make()
        except (ValueError, TypeError, OverflowError) as error:
            raise ConfigError(
                f"the parameter {name!r} cannot be drawn: {error}; mend it"
            ) from error
        before = self._drawn.setdefault(name, distribution)
        if before != distribution:
            raise ConfigError(
                f"a name is that of one parameter, drawn from one distribution, but {name!r} was "
                f"{before} and in the same trial is {distribution}; give the second a name of its "
                "own"
            )
        before = self._known.setdefault(name, distribution)
        if before != distribution:
            raise ConfigError(
                "a parameter keeps its distribution, that is its range or choices, through all "
                f"trials of a search, but {name!r} was {before} and is now {distribution}; where "
                "it depends on another parameter, put that one's value into the name"
            )


def is_kept(value: Any) -> bool:
    """Whether JSON, in which a log is written, gives a value back as it was."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
        return bool(json.loads(text) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _finite(**numbers: Any) -> dict[str, Any]:
    for name, number in numbers.items():
        if number is not None and not math.isfinite(number):
            raise ValueError(f"`{name}` must be a finite number, but is {number!r}")
    if not math.isfinite(numbers["high"] - numbers["low"]):
        raise ValueError("`high - low` must be a finite number, but is infinite")
    return numbers


def _whole(**numbers: Any) -> dict[str, Any]:
    """Optuna would cut off what stands behind the point."""
    for name, number in _finite(**numbers).items():
        if number != int(number):
            raise ValueError(f"`{name}` must be a whole number, but is {number!r}")
    return numbers


def _kept(choices: Sequence[Any]) -> Sequence[Any]:
    if isinstance(choices, str):
        raise ValueError(f"choices are a list, but got the text {choices!r}")
    for choice in choices:
        if not is_kept(choice):
            raise ValueError(
                "a choice must be a text, a finite number, True, False, None or a list of them, "
                f"but one is {shown(choice)}; choose by a name, and look the value up by it"
            )
    return choices

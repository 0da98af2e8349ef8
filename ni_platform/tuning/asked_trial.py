"""The trial that a space is called with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from ni_platform.definitions import shown
from ni_platform.errors import ConfigError

NUMBER = "trial"
"""The user attribute that holds a trial's own number: the study counts ends."""

Choose = Callable[[str, BaseDistribution], Any]


class AskedTrial(BaseTrial):
    """An Optuna trial whose values come from a function, without a storage behind it.

    Optuna's own copies the whole trial in its storage for every parameter. Reports and pruning
    are not the space's business: `report` is ignored and `should_prune` is False, as in Optuna's
    `FixedTrial`.

    Args:
        number: The trial's number.
        choose: Called once per parameter with its name and distribution; returns the value.
    """

    def __init__(self, number: int, choose: Choose) -> None:
        self._number, self._choose = number, choose
        self._params: dict[str, Any] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._user_attrs: dict[str, Any] = {}
        self._constraints: dict[str, float] = {}
        self._start = datetime.now()

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
        return self._suggest(
            name, lambda: FloatDistribution(**_finite(low=low, high=high, step=step), log=log)
        )

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggest a whole number."""
        return self._suggest(
            name, lambda: IntDistribution(**_whole(low=low, high=high, step=step), log=log)
        )

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of `choices`, which JSON gives back as they were."""
        return self._suggest(name, lambda: CategoricalDistribution(_kept(choices)))

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
        if not isinstance(key, str) or key == NUMBER or not is_kept(value):
            raise ConfigError(
                f"a note has a text other than {NUMBER!r} for a name, and a value that JSON gives "
                f"back as it was, but got {shown(key)} = {shown(value)}; change it"
            )
        self._user_attrs[key] = value

    def set_constraint(self, key: str, value: float) -> None:
        """Note a constraint."""
        self._constraints[key] = value

    @property
    def params(self) -> dict[str, Any]:
        """Values by name, in the order in which they were suggested."""
        return self._params

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions by name."""
        return self._distributions

    @property
    def user_attrs(self) -> dict[str, Any]:
        """What the space noted."""
        return self._user_attrs

    @property
    def constraints(self) -> dict[str, float]:
        """Constraints by name."""
        return self._constraints

    @property
    def datetime_start(self) -> datetime:
        """When the trial was asked for."""
        return self._start

    @property
    def number(self) -> int:
        """The trial's number."""
        return self._number

    def _suggest(self, name: str, make: Callable[[], BaseDistribution]) -> Any:
        """Return the value of a parameter: the same if it is asked for again.

        Raises:
            ConfigError: The name or the distribution is none, or the name has another one already.

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
        if name not in self._distributions:
            self._params[name] = self._choose(name, distribution)
            self._distributions[name] = distribution
        elif self._distributions[name] != distribution:
            raise ConfigError(
                f"a name is that of one parameter, drawn from one distribution, but {name!r} was "
                f"{self._distributions[name]} and in the same trial is {distribution}; give the "
                "second a name of its own"
            )
        return self._params[name]


def is_kept(value: Any) -> bool:
    """Whether JSON, in which journal and study are written, gives a value back as it was."""
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

"""The trial that a space is called with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import BaseTrial

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
        return self._suggest(name, FloatDistribution(low, high, log=log, step=step))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggest a whole number."""
        return self._suggest(name, IntDistribution(low, high, log=log, step=step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of `choices`."""
        return self._suggest(name, CategoricalDistribution(choices))

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

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._distributions:
            check_distribution_compatibility(self._distributions[name], distribution)
            return self._params[name]
        value = self._choose(name, distribution)
        self._params[name] = value
        self._distributions[name] = distribution
        return value

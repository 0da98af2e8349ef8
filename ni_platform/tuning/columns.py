"""A parameter on the unit scale, where the sampler measures distances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)


class Column:
    """One parameter's place in the sampler's tables: numbers in [0, 1], choices as their index.

    A number is scaled linearly, or by its logarithm where the distribution says so. A number
    with a step owns a cell of the scale that is one step wide, so the scale begins half a step
    below `low` and ends half a step above `high`.
    """

    def __init__(self, distribution: BaseDistribution) -> None:
        self.distribution = distribution
        self.choices = 0
        if isinstance(distribution, CategoricalDistribution):
            self.choices = len(distribution.choices)
        elif isinstance(distribution, (FloatDistribution, IntDistribution)):
            self._lowest, self._highest = distribution.low, distribution.high
            self._step = distribution.step or 0
            self._log = distribution.log
            self._start = self._scale(distribution.low - self._step / 2)
            # A range of one number has no width: any will do.
            self._width = (self._scale(distribution.high + self._step / 2) - self._start) or 1.0
        else:
            raise TypeError(f"A distribution is of floats, ints or choices, not {distribution}.")

    def to_unit(self, value: Any) -> float:
        """Return where `value` lies: in [0, 1], or the index of a choice."""
        if self.choices:
            return float(self.distribution.to_internal_repr(value))
        return (self._scale(value) - self._start) / self._width

    def from_unit(self, place: float) -> Any:
        """Return the value at `place`, one that the distribution contains."""
        if self.choices:
            return self.distribution.to_external_repr(int(place))
        return self.distribution.to_external_repr(float(self._values(np.float64(place))))

    def holds(self, value: Any) -> bool:
        """Return whether the distribution contains `value`."""
        try:
            place = self.to_unit(value)
            return self.choices > 0 or math.isclose(self.from_unit(place), value, abs_tol=1e-12)
        except (ValueError, TypeError):
            return False

    def snap(self, places: np.ndarray) -> np.ndarray:
        """Move numbers in [0, 1] to where the nearest values lie that can be taken."""
        if not self._step:
            return places
        values = self._values(places)
        return ((np.log(values) if self._log else values) - self._start) / self._width

    def cells(self, places: np.ndarray) -> np.ndarray | float:
        """Return how wide the cells around `places` are; 0 where every number can be taken."""
        if not self._step:
            return 0.0
        if not self._log:
            return self._step / self._width
        values = self._values(places)
        half = self._step / 2
        return np.log((values + half) / (values - half)) / self._width

    def draw(self, rng: np.random.Generator) -> float:
        """Return a place drawn uniformly."""
        if self.choices:
            return float(rng.integers(self.choices))
        return float(self.snap(np.asarray(rng.random())))

    def _scale(self, value: float) -> float:
        return math.log(value) if self._log else value

    def _values(self, places: np.ndarray | np.float64) -> np.ndarray:
        values = self._start + places * self._width
        if self._log:
            values = np.exp(values)
        if self._step:
            values = self._lowest + np.round((values - self._lowest) / self._step) * self._step
        return np.clip(values, self._lowest, self._highest)

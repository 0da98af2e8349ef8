"""The trials that a search remembers: the best ones, and a fair sample of the others.

TPE divides the ended trials into the best few, at most 25, and the rest. The best are kept
exactly. Of the rest it needs only their density, for which a uniform sample does as well as all
of them. So memory and the cost of asking stay the same however many trials have ended.
"""

from __future__ import annotations

import heapq
import math
from bisect import insort
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from ni_platform.errors import ConfigError
from ni_platform.tuning.columns import Column

BEST = 25
# A branch of a conditional space that few trials took keeps this many of its own.
_OF_EACH_BRANCH = 10


class History:
    """Trials as rows of places (see `Column`), NaN where a trial lacks the parameter.

    A running trial is a row too: it counts among the rest, so that trials asked for at the same
    time keep away from each other. A failed trial stays among the rest, and is never one of the
    best: where trials fail, the search goes less often.

    Args:
        size: The most ended trials that are kept.
        seed: Decides, with a trial's number, which of the rest are kept.
        lower_is_better: Whether the smallest value is the best one.
    """

    def __init__(self, *, size: int, seed: int, lower_is_better: bool) -> None:
        self.columns: dict[str, Column] = {}
        self.judged = 0  # ended trials that did not fail
        self._sign = 1.0 if lower_is_better else -1.0
        self._size, self._seed = size, seed
        self._rows = np.full((64, 0), np.nan)
        self._numbers = np.zeros(64, dtype=np.int64)
        self._free = list(range(64))
        self._running: dict[int, int] = {}  # number -> row
        self._best: list[tuple[tuple[float, ...], int]] = []  # (rank, row), best first
        self._rest: dict[bytes, list[tuple[float, int]]] = {}  # branch -> heap of (-key, row)
        self._kept = 0

    def column(self, name: str, distribution: BaseDistribution) -> Column:
        """Return the column of a parameter.

        Raises:
            ConfigError: The parameter had another distribution in an earlier trial.
        """
        column = self.columns.get(name)
        if column is None:
            column = self.columns[name] = Column(distribution)
            self._rows = np.pad(self._rows, ((0, 0), (0, 1)), constant_values=np.nan)
        elif column.distribution != distribution:
            raise ConfigError(
                "a parameter keeps its distribution, that is its range or choices, through all "
                f"trials of a search, but {name!r} was {column.distribution} and is now "
                f"{distribution}; where it depends on another parameter, put that one's value "
                "into the name"
            )
        return column

    def start(
        self,
        number: int,
        parameters: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
    ) -> None:
        """Take in a trial that runs from now on."""
        places = {name: self.column(name, d) for name, d in distributions.items()}
        row = self._free_row()
        index = {name: i for i, name in enumerate(self.columns)}
        self._rows[row] = np.nan
        for name, column in places.items():
            self._rows[row, index[name]] = column.to_unit(parameters[name])
        self._numbers[row] = number
        self._running[number] = row

    def end(self, number: int, trial: FrozenTrial) -> None:
        """Take in how trial `number`, which was running, has ended."""
        row = self._running.pop(number)
        if trial.state != TrialState.FAIL:
            self.judged += 1
            insort(self._best, (self._rank(number, trial), row))
            if len(self._best) <= BEST:
                return
            row = self._best.pop()[1]
        self._sample(row)

    def split(self, n_best: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the `n_best` best trials and of all others, oldest first."""
        best = [row for _, row in self._best]
        rest = [row for heap in self._rest.values() for _, row in heap]
        others = [*best[n_best:], *rest, *self._running.values()]
        return self._by_age(best[:n_best]), self._by_age(others)

    @property
    def numbers(self) -> set[int]:
        """The numbers of the ended trials that are kept."""
        rows = [row for _, row in self._best]
        rows += [row for heap in self._rest.values() for _, row in heap]
        return set(self._numbers[rows].tolist())

    def _rank(self, number: int, trial: FrozenTrial) -> tuple[float, ...]:
        """Optuna's order: complete trials by value, then pruned ones by how far they came."""
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            return (0, 0, self._sign * trial.value, number)
        if not trial.intermediate_values:
            return (1, 1, 0.0, number)
        epoch, value = max(trial.intermediate_values.items())
        return (1, -epoch, math.inf if math.isnan(value) else self._sign * value, number)

    def _sample(self, row: int) -> None:
        """Keep the rows with the smallest keys: a uniform sample, whatever the order of ends."""
        key = np.random.default_rng((self._seed, int(self._numbers[row]))).random()
        branch = np.flatnonzero(~np.isnan(self._rows[row])).tobytes()
        heapq.heappush(self._rest.setdefault(branch, []), (-key, row))
        self._kept += 1
        if self._kept + BEST > self._size:
            large = [heap for heap in self._rest.values() if len(heap) > _OF_EACH_BRANCH]
            heap = min(large or self._rest.values(), key=lambda heap: heap[0] if heap else (0.0, 0))
            self._free.append(heapq.heappop(heap)[1])
            self._kept -= 1

    def _free_row(self) -> int:
        if not self._free:
            n = len(self._rows)
            self._rows = np.pad(self._rows, ((0, n), (0, 0)), constant_values=np.nan)
            self._numbers = np.pad(self._numbers, (0, n))
            self._free = list(range(n, 2 * n))
        return self._free.pop()

    def _by_age(self, rows: list[int]) -> np.ndarray:
        chosen = np.asarray(rows, dtype=np.intp)
        return self._rows[chosen[np.argsort(self._numbers[chosen])]]

"""Has a mean changed? A test that may be looked at every day, without crying wolf.

A stream are observations in [0, 1], each of a day. It is promised that their mean, given the past,
is at most a bound. Who bets a part of a capital on each day's mean against the promise cannot
expect to gain while it holds (Waudby-Smith and Ramdas, "Estimating means of bounded random
variables by betting", JRSS B 2024). As nobody knows the day of a change, an equal part of the
capital begins to bet on each day of a year (e-detectors: Shin, Ramdas and Rinaldo 2023). The whole
starts at 1 and is a martingale at best, so while the promise holds it reaches 1 / alpha within the
year with a probability of at most alpha, however often anyone looks (Ville's inequality). Nothing
is taken for independent: those of a day may all agree, so each day is one bet. Each year begins
anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ni_platform.metrics.scored import EvaluationError, Floats

YEAR = 365
"""Days after which the capital is 1 again."""
_STAKES = np.array([1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.9])
"""Parts of what may be lost in a bet, mixed equally: small ones find small changes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Alarm:
    """A promise that was broken."""

    day: np.datetime64
    """The first day on whose evening it was known."""
    since: np.datetime64
    """The day from which a bet would have gained most: about when the change began."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """The capital over time, on the days that have observations."""

    days: NDArray[np.datetime64]
    """Ascending [D]."""
    log_capital: Floats
    """Natural logarithm of the capital on the evening of each day [D]: log(e-value)."""
    growth: Floats
    """Logarithm of the factor of each day and stake [D, stakes]."""

    def alarm(self, alpha: float) -> Alarm | None:
        """Return the first alarm at level `alpha` a year, if there is one."""
        over = np.flatnonzero(self.log_capital >= -np.log(alpha))
        if not len(over):
            return None
        end = over[0]
        first = np.searchsorted(_years(self.days), _years(self.days)[end])
        # Of each start: what its bets have gained up to the evening of the alarm.
        gains = np.cumsum(self.growth[first : end + 1][::-1], axis=0)[::-1]
        since = first + int(np.argmax(logsumexp(gains, axis=1)))
        return Alarm(day=self.days[end], since=self.days[since])


def course(values: Any, days: Any, bound: float, *, above: bool = True) -> Course:
    """Bet against the promise that the mean of a stream, given the past, keeps to a bound.

    Args:
        values: N observations in [0, 1].
        days: The day of each, datetime64[D] [N], in any order; days without any may lie between.
        bound: In (0, 1).
        above: Whether means above the bound break the promise, else those below it.

    Raises:
        EvaluationError: A value or the bound lies elsewhere.
    """
    observed = np.asarray(values, dtype=np.float64)
    if not 0 < bound < 1:
        raise EvaluationError(f"0 < bound < 1 must hold, but got {bound}: promise something.")
    if not ((observed >= 0) & (observed <= 1)).all():
        raise EvaluationError(
            "Observations must lie in [0, 1], but got "
            f"{observed[~((observed >= 0) & (observed <= 1))][0]}: give shares or ranks."
        )
    if not above:
        observed, bound = 1 - observed, 1 - bound
    dates = np.asarray(days, dtype="datetime64[D]")
    looks, day = np.unique(dates, return_inverse=True)
    mean = np.bincount(day, observed, minlength=len(looks)) / np.bincount(day)
    growth = np.log1p(_STAKES * (mean[:, None] - bound) / bound)
    return Course(days=looks, log_capital=_capital(looks, growth), growth=growth)


def _capital(days: NDArray[np.datetime64], growth: Floats) -> Floats:
    """Logarithm of the capital on the evening of each day [D]."""
    today, years = _since_first(days) % YEAR, _years(days)
    found = np.empty(len(days))
    for year in np.unique(years):
        mine = np.flatnonzero(years == year)
        # Who began on days without observations bets on the next one.
        begun = np.log(np.diff(today[mine], prepend=-1) / YEAR)[:, None]
        gained = np.cumsum(growth[mine], axis=0)
        # All bet alike from when they begin, so a start's gain is that of the whole less that
        # until then.
        betting = gained + np.logaddexp.accumulate(begun - (gained - growth[mine]), axis=0)
        with np.errstate(divide="ignore"):  # on the year's last day nobody waits
            waiting = np.log((YEAR - 1 - today[mine]) / YEAR)
        mixed = logsumexp(betting, axis=1) - np.log(len(_STAKES))
        found[mine] = np.logaddexp(mixed, waiting)
    return found


def _since_first(days: NDArray[np.datetime64]) -> NDArray[np.int64]:
    return (days - days[:1]).astype(np.int64)


def _years(days: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Number of the year of each day from the first one on."""
    return _since_first(days) // YEAR

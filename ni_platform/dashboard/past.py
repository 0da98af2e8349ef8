"""Past contents: where a prediction stands among them, and what became of those like it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEIGHBOURS = 200
"""Most past contents that an interval rests on."""
FEWEST = 20
"""Past contents with an outcome below which there is no interval."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Rates that 95 % of the past contents with similar predictions had."""

    low: float
    high: float
    contents: int
    unseen: bool
    """Whether the model learned from none of them."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a prediction stands among those of past contents."""

    share: float
    """Of past contents with a lower prediction, those with an equal one counted half; in [0, 1]."""
    contents: int
    domain: str | None
    """None: among the contents of all domains."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PastContents:
    """Predictions and outcomes of N past contents."""

    rows: np.ndarray
    """Dataset rows, int64 [N]."""
    predictions: np.ndarray
    """Success rates, float64 [N]."""
    rates: np.ndarray
    """Observed success rates, float64 [N]; NaN of contents that were never shown."""
    domains: np.ndarray
    """Object [N]; None where unknown."""
    learned: np.ndarray | None
    """Whether the model learned from each, bool [N]; None where that is not known."""

    def interval(self, prediction: float, *, without: int | None = None) -> Interval | None:
        """What became of past contents that were predicted alike.

        The interval runs from the 2.5 % to the 97.5 % quantile of the observed success rates of
        the past contents whose predictions are nearest to this one: 200, or a fifth of them where
        that is less, and 20 at least. Only contents that the model did not learn from count, if it
        is known which those are and there are at least 20; predictions for the others are too
        good. Chance in the observed rates widens it: it says what one may observe, not how well
        the mean is known.

        Args:
            prediction: success rate.
            without: dataset row that does not count: the content itself.

        Returns:
            None where fewer than 20 past contents have an outcome, or the prediction lies outside
            of theirs, so that none was predicted alike.
        """
        usable = np.isfinite(self.rates)
        if without is not None:
            usable &= self.rows != without
        unseen = self.learned is not None and int((usable & ~self.learned).sum()) >= FEWEST
        if unseen and self.learned is not None:
            usable &= ~self.learned
        found = np.flatnonzero(usable)
        if len(found) < FEWEST:
            return None
        past = self.predictions[found]
        if not past.min() <= prediction <= past.max():
            return None
        distance = np.abs(self.predictions[found] - prediction)
        alike = min(NEIGHBOURS, max(FEWEST, len(found) // 5))
        nearest = found[np.argsort(distance, kind="stable")[:alike]]
        low, high = np.quantile(self.rates[nearest], (0.025, 0.975))
        return Interval(low=float(low), high=float(high), contents=len(nearest), unseen=unseen)

    def place(self, prediction: float, domain: str, *, without: int | None = None) -> Place | None:
        """Where a prediction stands among past contents of its domain, or of all if it is new.

        Predictions are compared with predictions: outcomes of single contents are mostly noise.
        None where there are no past contents.
        """
        others = np.ones(len(self.rows), dtype=bool)
        if without is not None:
            others &= self.rows != without
        same = others & self.of_domain(domain)
        inside = bool(domain) and bool(same.any())
        found = self.predictions[same if inside else others]
        if not len(found):
            return None
        lower = (found < prediction).mean() + (found == prediction).mean() / 2
        return Place(share=float(lower), contents=len(found), domain=domain if inside else None)

    def of_domain(self, domain: str) -> np.ndarray:
        """Which contents are of a domain, bool [N]."""
        return np.array([found == domain for found in self.domains], dtype=bool)

    def histogram(self, domain: str | None, bins: int = 30) -> tuple[np.ndarray, float, float]:
        """Counts [bins] of predictions in a domain (None: all), and the rates they span."""
        low, high = float(self.predictions.min()), float(self.predictions.max())
        if high <= low:
            high = low + 1e-6
        chosen = self.predictions
        if domain is not None:
            chosen = chosen[self.of_domain(domain)]
        return np.histogram(chosen, bins=bins, range=(low, high))[0], low, high

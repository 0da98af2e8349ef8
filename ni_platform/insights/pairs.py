"""Pairs of contents of one A/B test, and the tests that they are from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ni_platform.metrics.pairs import within_test_pairs


@dataclass(frozen=True, eq=False)
class Arms:
    """The contents of A/B tests with what was observed of them, and all pairs within tests."""

    rate: np.ndarray
    """Observed success rates, float64 [N]."""
    test: np.ndarray
    """Number of each content's A/B test, int64 [N]; -1 for a content that is not from one."""
    control: np.ndarray
    """Whether it is its test's control, bool [N]; nowhere true where no control is declared."""
    first: np.ndarray
    """Of each pair the first content, int64 [P]; the control, where one of the two is it."""
    second: np.ndarray

    @classmethod
    def of(cls, rate: np.ndarray, ab_test: pd.Series | None, arm: pd.Series | None) -> Arms:
        """Pair the contents that were shown; those without a rate (NaN) are in no pair.

        Args:
            rate: observed success rates [N].
            ab_test: label of each content's A/B test, null for none.
            arm: `control` or `treatment`, if the dataset says so. A test with several controls
                counts as one without.
        """
        labels = pd.Series([None] * len(rate)) if ab_test is None else ab_test
        test = pd.factorize(labels, use_na_sentinel=True)[0].astype(np.int64)
        shown = np.where(np.isfinite(rate), test, -1)
        control = np.zeros(len(rate), dtype=bool)
        if arm is not None:
            control = (arm.astype(str).str.lower() == "control").to_numpy() & (shown >= 0)
            # One more than there are tests: contents outside of all look up the last place.
            several = np.bincount(shown[control], minlength=test.max(initial=-1) + 2) > 1
            control &= ~several[shown]
        batches = list(within_test_pairs(shown))
        first = np.concatenate([np.empty(0, np.int64), *(batch[0] for batch in batches)])
        second = np.concatenate([np.empty(0, np.int64), *(batch[1] for batch in batches)])
        swap = control[second]
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        return cls(rate, shown, control, first, second)

    @property
    def clusters(self) -> np.ndarray:
        """The A/B test of each content, int64 [N]; one outside of tests stands for itself."""
        own = self.test.max(initial=0) + 1 + np.arange(len(self.test))
        return np.where(self.test >= 0, self.test, own)

    def ranked_right(self, predictions: np.ndarray, counted: np.ndarray) -> tuple[float, int]:
        """Of how many pairs of `counted` contents, bool [N], the better one is predicted.

        Equal predictions count half. The second number is that of the pairs with different rates.
        """
        inside = counted[self.first] & counted[self.second]
        first, second = self.first[inside], self.second[inside]
        won = np.sign(self.rate[second] - self.rate[first])
        agrees = won * np.sign(predictions[second] - predictions[first])
        decided = won != 0
        return float(((1 + agrees[decided]) / 2).sum()), int(decided.sum())

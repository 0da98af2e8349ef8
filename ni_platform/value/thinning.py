"""Replays of A/B tests: viewers split into those on whom it is decided and those who judge.

Of an arm's n impressions with c clicks, m are drawn without replacement: the clicks among them are
hypergeometric, and given the arm's true rate they are independent binomial counts in both parts. So
what is decided on one part is judged by the other without its own noise, and the judge's rate is
unbiased for the arm's rate among the people who saw that test.

Shapes: see `arms.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ni_platform.metrics.scored import Codes, Floats
from ni_platform.value.arms import SizedTests


class Pool:
    """Impressions of P times A arms from which viewers are drawn without replacement."""

    def __init__(self, clicks_PA: Codes, impressions_PA: Codes, rng: Generator) -> None:
        self.clicks_PA = clicks_PA
        self.impressions_PA = impressions_PA
        self._rng = rng

    def draw(self, size_PA: Codes) -> Codes:
        """Clicks [P, A] of `size_PA` further impressions of each arm, at most those left."""
        drawn_PA = self._rng.hypergeometric(
            self.clicks_PA, self.impressions_PA - self.clicks_PA, size_PA
        )
        self.clicks_PA = self.clicks_PA - drawn_PA
        self.impressions_PA = self.impressions_PA - size_PA
        return drawn_PA

    def copy(self) -> Pool:
        """The same impressions once more, for another policy."""
        return Pool(self.clicks_PA, self.impressions_PA, self._rng)


class Plays:
    """P replays of tests with A arms each."""

    def __init__(self, tests: SizedTests, share: float, rng: Generator) -> None:
        """Let a share of each arm's impressions judge: see `judging`."""
        self.tests = tests
        self.rng = rng
        self.deciding = Pool(tests.clicks_TA, tests.impressions_TA, rng)
        size_PA = judging(tests.impressions_TA, share)
        self.judged_PA = self.deciding.draw(size_PA) / size_PA
        """The judge's rates."""
        self.even_P = self.judged_PA.mean(1)
        """The judge's rate of all arms alike."""

    def worth(self, shares_PA: Floats) -> Floats:
        """Judged rate of arms shown in these shares, which add up to 1, less that of all alike."""
        return np.asarray((shares_PA * self.judged_PA).sum(1) - self.even_P)


def judging(impressions: Codes, share: float) -> Codes:
    """Impressions of each arm that judge: at least 1."""
    return np.maximum(1, np.round(share * impressions)).astype(np.int64)


def best(score_PA: Floats) -> Floats:
    """Which arm is shown, as shares [P, A]: the highest score, equal ones alike."""
    highest_PA = score_PA == score_PA.max(1, keepdims=True)
    return highest_PA / highest_PA.sum(1, keepdims=True)

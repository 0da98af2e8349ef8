"""Replays of A/B tests: viewers split into those on whom it is decided and those who judge.

Of an arm's n impressions with c clicks, m are drawn without replacement: the clicks among them are
hypergeometric, and given the arm's rate they are independent binomial counts in both parts. So what
is decided on one part is judged by the other without its own noise, and the judge's rate is
unbiased for the arm's rate.

Where clicks scatter by more than that (twins: `data/overdispersion.py`), the surplus of an arm is
in both parts, and a decision would be judged on noise that it has seen. It is taken for a sum of
small shocks, of variance (φ - 1) p (1 - p) per impression, that come one after the other: a
Brownian motion of which the n impressions show the end, so that what falls to m of them is drawn
from a Brownian bridge. Both parts then scatter by φ times the binomial variance, independently, as
two tests would (data fission: Leiner, Duan, Wasserman and Ramdas 2023, "Data fission: splitting a
single data point", section 2, with normal noise of known variance). Counts become fractions then.

Shapes: see `arms.py`.
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.random import Generator

from ni_platform.beliefs.arms import SizedTests
from ni_platform.metrics.scored import Codes, Floats


class Pool:
    """Impressions of P times A arms from which viewers are drawn without replacement."""

    def __init__(
        self,
        clicks_PA: Codes,
        impressions_PA: Codes,
        rng: Generator,
        overdispersion: float = 1.0,
    ) -> None:
        self.impressions_PA = impressions_PA
        """Those that are left."""
        self._clicks_PA = clicks_PA
        self._surplus_PA = np.zeros(clicks_PA.shape)
        self._rng = rng
        rate_PA = (clicks_PA + 0.5) / (impressions_PA + 1)
        self._variance_PA = (overdispersion - 1) * rate_PA * (1 - rate_PA)
        """Of the surplus, per impression."""

    def rate(self) -> Floats:
        """Rate [P, A] of the impressions that are left, 0 where there are none."""
        left_PA = self._clicks_PA + self._surplus_PA
        return np.asarray(left_PA / np.maximum(self.impressions_PA, 1))

    def draw(self, size_PA: Codes) -> Floats:
        """Clicks [P, A] of `size_PA` further impressions of each arm, at most those left."""
        others_PA = self.impressions_PA - self._clicks_PA
        drawn_PA = self._rng.hypergeometric(self._clicks_PA, others_PA, size_PA)
        part_PA = size_PA / np.maximum(self.impressions_PA, 1)
        self._clicks_PA = self._clicks_PA - drawn_PA
        self.impressions_PA = self.impressions_PA - size_PA
        if not self._variance_PA.any():
            return np.asarray(drawn_PA.astype(np.float64))
        deviation_PA = np.sqrt(self._variance_PA * size_PA * (1 - part_PA))
        shock_PA = part_PA * self._surplus_PA
        shock_PA = shock_PA + deviation_PA * self._rng.standard_normal(size_PA.shape)
        self._surplus_PA = self._surplus_PA - shock_PA
        return np.asarray(drawn_PA + shock_PA)

    def copy(self) -> Pool:
        """The same impressions once more, for another policy."""
        return copy.copy(self)  # what it holds is replaced, never changed


class Plays:
    """P replays of tests with A arms each."""

    def __init__(
        self, tests: SizedTests, share: float, rng: Generator, overdispersion: float = 1.0
    ) -> None:
        """Let a share of each arm's impressions judge: see `judging`."""
        self.tests = tests
        self.rng = rng
        self.deciding = Pool(tests.clicks_TA, tests.impressions_TA, rng, overdispersion)
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

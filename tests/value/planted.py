"""Planted A/B tests whose true rates are known."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from ni_platform.beliefs.arms import gathered


@dataclass
class World:
    """Arms of A/B tests: counts, what a model predicts, and the truth."""

    test: np.ndarray
    clicks: np.ndarray
    impressions: np.ndarray
    logit: np.ndarray
    rate: np.ndarray

    def tests(self, covariance=None):
        """As the replay takes them."""
        return gathered(self.test, self.clicks, self.impressions, self.logit, covariance or {})


def world(
    seed,
    tests,
    *,
    slope=1.0,
    noise=0.15,
    spread=0.3,
    arms=(2, 6),
    impressions=(2000, 6000),
    overdispersion=1.0,
):
    """True logits scatter by `spread` about a test's level; a model sees `slope` times that."""
    rng = np.random.default_rng(seed)
    test = np.repeat(np.arange(tests), rng.integers(arms[0], arms[1] + 1, tests))
    effect = rng.normal(0, spread, len(test))
    rate = expit(rng.normal(-3.5, 0.4, tests)[test] + effect)
    shown = rng.integers(*impressions, len(test))
    surplus = np.sqrt((overdispersion - 1) * rate * (1 - rate) / shown)
    in_test = rate + surplus * rng.standard_normal(len(test))
    clicks = rng.binomial(shown, np.clip(in_test, 0, 1)).astype(float)
    predicted = slope * effect + rng.normal(0, noise, len(test))
    return World(test, clicks, shown.astype(float), predicted, rate)

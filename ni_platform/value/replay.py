"""Every policy on every A/B test, many times over; shapes as in `arms.py`, L a number of looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ni_platform.beliefs.arms import SizedTests
from ni_platform.beliefs.prior import Prior
from ni_platform.errors import ConfigError
from ni_platform.metrics.scored import Codes, Floats
from ni_platform.value.policies import (
    DRAWS,
    LOOKS,
    thompson,
    top_of_model,
    uniform_test,
    without_test,
)
from ni_platform.value.thinning import Plays, best, judging

SERIES = (
    "uniform",
    "model",
    "winner",
    "combined",
    "thompson",
    "thompson_prior",
    "thompson_during",
    "thompson_prior_during",
    "thompson_ran_out",
    "thompson_prior_ran_out",
    "best_at_least",
    "best_at_most",
)
"""What is found of each test and look: clicks per 1,000 impressions of the arm that is shown after
the test, less those of all arms alike. But `uniform` is these themselves, `_during` is what the
test's own impressions got, and `_ran_out` the share of replays in which an arm ran out."""
MOST_TOP = 10
"""The most arms that a test of the model's highest predictions has."""
_CELLS = 1_000_000
"""Numbers in one array, about, at most: bounds memory."""


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """How tests are replayed."""

    replicates: int = 200
    """Replays of each test."""
    judge: float = 0.2
    """Share of each arm's impressions that judges."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replicates < 1:
            raise ConfigError(f"replicates must be at least 1, but got {self.replicates}: raise it")
        if not 0 < self.judge < 1:
            raise ConfigError(f"judge must lie between 0 and 1, but got {self.judge:g}: correct it")


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """Means over the replays of each of T tests."""

    arms: Codes
    """[T]"""
    at_once: Mapping[str, Floats]
    """`uniform`, `model` and `best_at_most` [T], which need no test, on all impressions."""
    worth: Mapping[str, Floats]
    """Each of `SERIES` [T, L]; nan where a test has fewer impressions than the look."""
    top_share: Floats
    """How often the arm with the highest observed rate is among the model's k highest predictions
    [T, k]; nan where a test has no more than k arms."""
    top_lost: Floats
    """Clicks per 1,000 that a test of these k arms alone gives away [T, k]."""


def replay(
    tests: Sequence[SizedTests], prior: Prior | None, without: Prior, config: ReplayConfig
) -> Replay:
    """Replay A/B tests, numbered from 0 to T - 1.

    Args:
        tests: what happened, and what the model predicted.
        prior: what the model believes; what needs it is nan if it is None.
        without: what is believed without the model, and how far clicks scatter.
        config: how.
    """
    count = sum(len(some.number_T) for some in tests)
    worth = {name: np.full((count, len(LOOKS)), np.nan) for name in SERIES}
    top = {name: np.full((count, MOST_TOP), np.nan) for name in ("top_share", "top_lost")}
    at_once = {name: np.zeros(count) for name in ("uniform", "model", "best_at_most")}
    arms = np.zeros(count, dtype=np.int64)
    rng = np.random.default_rng(config.seed)
    for some, looks in _by_looks(tests, config.judge):
        rows = some.number_T
        arms[rows] = some.arms
        for name, values in _at_once(some).items():
            at_once[name][rows] = values
        worth["best_at_most"][rows, :looks] = at_once["best_at_most"][rows, None] / 1000
        for play_P in _chunks(some, config.replicates):
            plays = Plays(some.rows(play_P), config.judge, rng, without.overdispersion)
            found = dict(zip(top, top_of_model(plays, MOST_TOP)))
            if looks:
                found |= without_test(plays, looks) | uniform_test(plays, looks, prior)
                found |= thompson(plays, looks, without, "thompson")
                if prior is not None:
                    found |= thompson(plays, looks, prior, "thompson_prior")
            for name, values in found.items():
                _add((top | worth)[name], rows, play_P, values / config.replicates)
    for name in SERIES:
        worth[name] *= 1 if name.endswith("_ran_out") else 1000
    return Replay(
        arms=arms,
        at_once=at_once,
        worth=worth,
        top_share=top["top_share"],
        top_lost=1000 * top["top_lost"],
    )


def _at_once(tests: SizedTests) -> dict[str, Floats]:
    """Clicks per 1,000 [T] of what needs no test. The model chose without looking at these clicks.

    The highest of noisy rates is too high, more than any policy can get (winner's curse): its mean
    is an upper bound of the worth of knowing the best arm.
    """
    rate_TA = 1000 * tests.clicks_TA / tests.impressions_TA
    even_T = rate_TA.mean(1)
    chosen_T = (best(tests.logit_TA) * rate_TA).sum(1)
    return {
        "uniform": even_T,
        "model": chosen_T - even_T,
        "best_at_most": rate_TA.max(1) - even_T,
    }


def _by_looks(tests: Sequence[SizedTests], judge: float) -> Iterator[tuple[SizedTests, int]]:
    """Tests for which the same number of looks has enough impressions of each arm."""
    for some in tests:
        deciding_T = (some.impressions_TA - judging(some.impressions_TA, judge)).min(1)
        each = np.array(LOOKS) // some.arms
        looks_T = ((deciding_T[:, None] >= each) & (each > 0)).sum(1)
        # A test of more arms than a look has impressions has no first looks, so it has none.
        looks_T = np.where(each[0] > 0, looks_T, 0)
        for looks in np.unique(looks_T).tolist():
            yield some.rows(looks_T == looks), looks


def _chunks(tests: SizedTests, replicates: int) -> Iterator[Codes]:
    """Positions of the tests, each as often as it is replayed, some at a time."""
    plays = np.repeat(np.arange(len(tests.number_T)), replicates)
    size = max(1, _CELLS // (tests.arms * max(tests.arms, DRAWS)))
    for start in range(0, len(plays), size):
        yield plays[start : start + size]


def _add(total: Floats, rows: Codes, play_P: Codes, values: Floats) -> None:
    """Add values [P, ...] to the rows of their tests."""
    width = values.shape[1]
    sums = np.zeros((len(rows), width))
    np.add.at(sums, play_P, values)
    touched = np.unique(play_P)
    before = np.nan_to_num(total[rows[touched], :width])
    total[rows[touched], :width] = before + sums[touched]

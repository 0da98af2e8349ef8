"""From replays to figures with 95 % intervals, for which whole A/B tests are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ni_platform.metrics.intervals import Draws, Resampling, ratio
from ni_platform.metrics.scored import Floats
from ni_platform.value.policies import LOOKS
from ni_platform.value.replay import Replay

TRAFFIC = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
"""Impressions of a test, in all its arms, by which figures are shown."""
MOST_OUT = 0.5
"""Share of replays in which an arm ran out, above which Thompson sampling's figure is not given."""
_REPLICATES = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Figures:
    """What comes out of a replay."""

    by_traffic: pd.DataFrame
    """A row per traffic and policy: traffic, policy, value, low, high, tests. `policy` is one of
    `SERIES`, or `combined_less_winner`. A traffic of 0 is what needs no test, of all tests."""
    saved: pd.DataFrame
    """A row per traffic: traffic, tests, needed (impressions that a test needs to reach the same
    without the prior), saved, low, high, most. `saved` is needed less traffic; a value of `most`
    says: at least."""
    top: pd.DataFrame
    """A row per k: k, tests (of more than k arms), share, share_low, share_high, by_chance, lost,
    lost_low, lost_high."""


def figures(found: Replay) -> Figures:
    """Compute them."""
    return Figures(by_traffic=_by_traffic(found), saved=_saved(found), top=_top(found))


def _by_traffic(found: Replay) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    every = _resampling(len(found.arms))
    for name, values in found.at_once.items():
        estimate = every.mean(values).estimate()
        rows.append((0, name, estimate.value, estimate.low, estimate.high, len(values)))
    difference = found.worth["combined"] - found.worth["winner"]
    for traffic in TRAFFIC:
        look = LOOKS.index(traffic)
        had = np.isfinite(found.worth["winner"][:, look])
        if not had.any():
            continue
        resampling = _resampling(int(had.sum()))
        for name, values in {**found.worth, "combined_less_winner": difference}.items():
            own = values[had, look]
            ran_out = found.worth.get(f"{name.removesuffix('_during')}_ran_out")
            if ran_out is not None and not ran_out[had, look].mean() <= MOST_OUT:
                own = np.full_like(own, np.nan)
            found_mean = resampling.mean(own).estimate()
            rows.append(
                (traffic, name, found_mean.value, found_mean.low, found_mean.high, len(own))
            )
    return pd.DataFrame(rows, columns=["traffic", "policy", "value", "low", "high", "tests"])


def _saved(found: Replay) -> pd.DataFrame:
    """Both curves are of the same tests, those that have the largest traffic that half of all have.

    A curve is the mean worth by traffic, 0 at 0 and linear between looks. Without the prior, as
    many impressions are needed as it takes to reach, for the first time, what the prior reaches.
    """
    columns = ["traffic", "tests", "needed", "saved", "low", "high", "most"]
    winner, combined = found.worth["winner"], found.worth["combined"]
    have = np.isfinite(winner).sum(0)
    long = [look for look in range(len(LOOKS)) if 2 * have[look] >= max(have[0], 1)]
    if len(long) < 2 or not np.isfinite(combined).any():
        return pd.DataFrame(columns=columns).astype(float)
    common = np.isfinite(winner[:, long[-1]])
    resampling = _resampling(int(common.sum()))
    curve = np.stack([resampling.mean(winner[common, look]).values for look in long], axis=1)
    last = LOOKS[long[-1]]
    rows = []
    for traffic in (0, *(t for t in TRAFFIC if t < last)):
        reached = found.worth["model"][:, 0] if not traffic else combined[:, LOOKS.index(traffic)]
        draws = resampling.mean(reached[common])
        needed = impressions_needed(curve, draws.values, np.array([LOOKS[look] for look in long]))
        saved = Draws(needed - traffic, draws.clusters).estimate()
        most = last - traffic
        rows.append(
            (traffic, int(common.sum()), needed[0], saved.value, saved.low, saved.high, most)
        )
    return pd.DataFrame(rows, columns=columns)


def impressions_needed(curve_RL: Floats, reached_R: Floats, traffic_L: np.ndarray) -> Floats:
    """At which traffic each curve first reaches a value [R]; the last traffic where it never does.

    Curves start at 0 without traffic and are linear between looks.
    """
    value_RL = np.concatenate([np.zeros((len(curve_RL), 1)), curve_RL], axis=1)
    at_L = np.concatenate([[0], traffic_L]).astype(np.float64)
    above_RL = value_RL >= reached_R[:, None]
    first_R = np.where(above_RL.any(1), above_RL.argmax(1), len(at_L) - 1)
    before_R = np.maximum(first_R - 1, 0)
    rows = np.arange(len(curve_RL))
    low_R, high_R = value_RL[rows, before_R], value_RL[rows, first_R]
    part_R = np.clip(ratio(reached_R - low_R, high_R - low_R), 0, 1)
    inside_R = at_L[before_R] + np.nan_to_num(part_R) * (at_L[first_R] - at_L[before_R])
    return np.where(above_RL.any(1), np.where(first_R > 0, inside_R, 0.0), at_L[-1])


def _top(found: Replay) -> pd.DataFrame:
    rows = []
    for k in range(1, found.top_share.shape[1] + 1):
        had = found.arms > k
        if not had.any():
            break
        resampling = _resampling(int(had.sum()))
        share = resampling.mean(found.top_share[had, k - 1]).estimate()
        lost = resampling.mean(found.top_lost[had, k - 1]).estimate()
        chance = float((k / found.arms[had]).mean())
        shares = (share.value, share.low, share.high)
        rows.append((k, int(had.sum()), *shares, chance, lost.value, lost.low, lost.high))
    columns = ["k", "tests", "share", "share_low", "share_high", "by_chance"]
    return pd.DataFrame(rows, columns=[*columns, "lost", "lost_low", "lost_high"])


def _resampling(tests: int) -> Resampling:
    return Resampling.of(np.arange(tests), replicates=_REPLICATES, seed=0)

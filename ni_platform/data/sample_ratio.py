"""Sample ratio mismatch: arms of A/B tests without the planned shares of people.

Where chance assigns people, arms' impressions differ from the planned shares as chance allows. More
than that betrays a fault: of the assignment, or of what was counted (Fabijan et al., "Diagnosing
Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019). What such a test says of its
contents cannot be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import gammaln
from scipy.stats import chi2

MISMATCH_P = 0.001
"""p-value below which an A/B test fails: many are checked, and a fault shows far below it."""
LEAST_EXPECTED = 5.0
"""Impressions that an arm must be expected to have for the chi-square test to hold."""
CONCENTRATION = 100.0
"""Of the prior over an arm's true share in the sequential test, in people.

Shares then differ from the planned ones by some 5 points (standard deviation, of two equal arms). A
fault of that size is found soonest; smaller ones need only a little longer, as the Bayes factor
pays the logarithm of what the prior is too wide.
"""
HOLDS, MISMATCH = "holds", "mismatch"
FEW, ONE_ARM, UNKNOWN = "too few impressions", "one arm", "shares unknown"
OUTCOMES = (HOLDS, MISMATCH, FEW, ONE_ARM, UNKNOWN)
"""What the check says of a randomised A/B test; those after the second were not checked."""


@dataclass(frozen=True, eq=False)
class SampleRatios:
    """What the check found."""

    table: pd.DataFrame
    """A row per randomised A/B test: ab_test, arms, impressions (of all arms), p (nan where it was
    not checked), method (chi-square or sequential) and outcome, one of `OUTCOMES`."""
    arms: pd.DataFrame
    """A row per arm of those that fail: ab_test, content_id, impressions, share (planned, of 1)."""

    @property
    def failing(self) -> pd.DataFrame:
        """The A/B tests that fail, the smallest p first: ab_test, arms, impressions, shares, p.

        Impressions and planned shares are lists, in the order of the contents.
        """
        by_test = self.arms.groupby("ab_test", sort=False)
        listed = pd.DataFrame(
            {
                "arms": by_test["content_id"].agg(list),
                "impressions": by_test["impressions"].agg(list),
                "shares": by_test["share"].agg(list),
            }
        )
        failed = self.table[self.table["outcome"] == MISMATCH].set_index("ab_test")
        found = listed.join(failed[["p"]]).sort_values("p", kind="stable")
        return found.rename_axis("ab_test").reset_index()

    def counted(self, outcome: str) -> int:
        """How many A/B tests came out so."""
        return int((self.table["outcome"] == outcome).sum())

    def __str__(self) -> str:
        checked = self.counted(HOLDS) + self.counted(MISMATCH)
        said = (
            f"{self.counted(MISMATCH):,} of {checked:,} randomised A/B tests do not have the "
            f"planned shares of impressions (p < {MISMATCH_P:g})"
        )
        unchecked = [f"{n:,} {word}" for word in OUTCOMES[2:] if (n := self.counted(word))]
        return f"{said}; not checked: {', '.join(unchecked)}" if unchecked else said


def sample_ratios(
    ab_test: pd.Series,
    content_id: pd.Series,
    impressions: np.ndarray,
    weight: np.ndarray | None,
    daily: pd.DataFrame | None = None,
) -> SampleRatios:
    """Check N contents, each of which is an arm of a randomised A/B test.

    Args:
        ab_test: its label [N].
        content_id: label [N].
        impressions: float64 [N].
        weight: planned shares within each test [N], in any unit, nan where unknown; None if no
            share is known. Ones where arms are equal.
        daily: counts per content and day: content_id, day, impressions. A test of which they hold
            every impression is checked sequentially, so that it may be looked at each day.
    """
    test, labels = pd.factorize(ab_test)
    count = np.nan_to_num(impressions)
    arms = np.bincount(test, minlength=len(labels))
    total = np.bincount(test, count, minlength=len(labels))
    share = (
        np.full(len(test), np.nan) if weight is None else weight / np.bincount(test, weight)[test]
    )
    p, least = chi_square(test, count, share, len(labels))
    sequential = np.zeros(len(labels), dtype=bool)
    if daily is not None:
        found = _daily(test, content_id, count, share, daily, len(labels))
        sequential = ~np.isnan(found)
        p = np.where(sequential, found, p)
    outcome = np.select(
        [arms < 2, np.isnan(least), ~sequential & (least < LEAST_EXPECTED), p < MISMATCH_P],
        [ONE_ARM, UNKNOWN, FEW, MISMATCH],
        HOLDS,
    )
    table = pd.DataFrame(
        {
            "ab_test": labels,
            "arms": arms,
            "impressions": total,
            "p": np.where(np.isin(outcome, (HOLDS, MISMATCH)), p, np.nan),
            "method": np.where(sequential, "sequential", "chi-square"),
            "outcome": outcome,
        }
    )
    bad = outcome[test] == MISMATCH
    of_failing = {
        "ab_test": ab_test.to_numpy()[bad],
        "content_id": content_id.to_numpy()[bad],
        "impressions": count[bad],
        "share": share[bad],
    }
    return SampleRatios(table, pd.DataFrame(of_failing))


def chi_square(
    test: np.ndarray, count: np.ndarray, share: np.ndarray, tests: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's chi-square test of each A/B test's counts against its planned shares.

    Args:
        test: number of each arm's A/B test, int64 [N].
        count: its impressions [N].
        share: its planned share of its test [N]; nan where unknown.
        tests: how many there are, T.

    Returns:
        The p-value (nan where nothing is expected) and the smallest expected count, two [T].
    """
    arms = np.bincount(test, minlength=tests)
    expected = share * np.bincount(test, count, minlength=tests)[test]
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.bincount(test, (count - expected) ** 2 / expected, minlength=tests)
    least = np.full(tests, np.inf)
    with np.errstate(invalid="ignore"):  # unknown shares stay nan
        np.minimum.at(least, test, expected)
    return chi2.sf(statistic, np.maximum(arms - 1, 1)), least


def sequential_p(cumulative: np.ndarray, shares: np.ndarray) -> float:
    """p-value of one A/B test that holds however often, and whenever, it is looked at.

    Under the planned shares it is below a with probability at most a, over all days together:
    the smallest 1 / Bayes factor so far (Lindon and Malek, "Anytime-valid inference for multinomial
    count data", NeurIPS 2022; see `log_bayes_factor`).

    Args:
        cumulative: impressions of each arm up to each day [days, arms].
        shares: planned shares [arms], which add up to 1.
    """
    return float(np.exp(-max(0.0, log_bayes_factor(cumulative, shares).max(initial=0.0))))


def log_bayes_factor(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Logarithm of how much likelier counts are where shares are others than planned [...].

    Other shares have the prior Dirichlet(`CONCENTRATION` * planned shares), so that counts are
    Dirichlet-multinomial; under the plan they are multinomial. What both have in common, the number
    of orders in which people may come, cancels.

    Args:
        counts: impressions of each arm [..., arms].
        shares: planned shares [arms] or [..., arms].
    """
    prior, people = CONCENTRATION * shares, counts.sum(axis=-1)
    other = gammaln(prior + counts) - gammaln(prior) - counts * np.log(shares)
    return np.asarray(other.sum(axis=-1) + gammaln(CONCENTRATION) - gammaln(CONCENTRATION + people))


def _daily(
    test: np.ndarray,
    content_id: pd.Series,
    count: np.ndarray,
    share: np.ndarray,
    daily: pd.DataFrame,
    tests: int,
) -> np.ndarray:
    """`sequential_p` of each A/B test [T], nan of those whose days or shares are not all known."""
    row = pd.Index(content_id).get_indexer(pd.Index(daily["content_id"]))
    daily, row = daily[row >= 0], row[row >= 0]
    shown = daily["impressions"].to_numpy(dtype=np.float64)
    day = pd.factorize(daily["day"], sort=True)[0]
    whole = np.bincount(row, shown, minlength=len(test)) == count
    usable = np.bincount(test, whole & ~np.isnan(share), minlength=tests) == np.bincount(test)
    usable &= np.bincount(test[row], minlength=tests) > 0
    arm = pd.Series(test).groupby(test).cumcount().to_numpy()
    arms = np.bincount(test, minlength=tests)
    p = np.full(tests, np.nan)
    for size in np.unique(arms[usable & (arms > 1)]):
        mine = np.flatnonzero((usable & (arms == size))[test[row]])
        key = pd.MultiIndex.from_arrays([test[row[mine]], day[mine]])
        place, looks = pd.factorize(key, sort=True)
        cell = place * size + arm[row[mine]]
        counts = np.bincount(cell, shown[mine], minlength=len(looks) * size).reshape(-1, size)
        of_test = looks.get_level_values(0).to_numpy()
        start = np.flatnonzero(np.diff(of_test, prepend=-1))
        running = np.cumsum(counts, axis=0)
        before = (running - counts)[start]
        number = np.cumsum(np.diff(of_test, prepend=-1) != 0) - 1
        planned = np.zeros((tests, size))
        inside = arms[test] == size
        planned[test[inside], arm[inside]] = share[inside]
        factor = log_bayes_factor(running - before[number], planned[of_test])
        p[of_test[start]] = np.exp(-np.maximum(np.maximum.reduceat(factor, start), 0.0))
    return p

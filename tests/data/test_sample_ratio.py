import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare, dirichlet_multinomial, multinomial

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.sample_ratio import CONCENTRATION, MISMATCH_P, sample_ratios, sequential_p


def checked(tests, weights=None, daily=None):
    """Check A/B tests given as lists of their arms' impressions."""
    frame = pd.DataFrame(
        [(f"t{t}", f"t{t}-{a}", n) for t, arms in enumerate(tests) for a, n in enumerate(arms)],
        columns=["ab_test", "content_id", "n"],
    )
    weight = np.ones(len(frame)) if weights is None else np.concatenate(weights).astype(float)
    return sample_ratios(
        frame["ab_test"], frame["content_id"], frame["n"].to_numpy(float), weight, daily
    )


def test_p_values_are_those_of_scipy():
    """Equal shares, and planned ones in any unit; 100 against 144 is the textbook's 0.00485."""
    found = checked([[100, 144], [300, 320, 280], [100, 290]], [[1, 1], [2, 2, 2], [25, 75]])
    assert found.table["p"].tolist() == pytest.approx(
        [0.0048503, chisquare([300, 320, 280]).pvalue, chisquare([100, 290], [97.5, 292.5]).pvalue],
        rel=1e-4,
    )
    assert found.table["outcome"].tolist() == ["holds"] * 3


def test_failing_tests_are_listed_with_arms_and_shares():
    """The smallest p first; what was not checked is counted."""
    unknown = [np.nan, np.nan]
    weights = [[1, 1], [1, 3], [1, 1], [1], [1, 99], unknown]
    found = checked([[1000, 1200], [500, 500], [1000, 1010], [9], [3, 400], [5, 900]], weights)
    failing = found.failing
    assert failing["ab_test"].tolist() == ["t1", "t0"]
    assert failing["arms"].tolist() == [["t1-0", "t1-1"], ["t0-0", "t0-1"]]
    assert failing["impressions"].tolist() == [[500, 500], [1000, 1200]]
    assert failing["shares"].tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert (failing["p"] < MISMATCH_P).all()
    assert str(found) == (
        "2 of 3 randomised A/B tests do not have the planned shares of impressions (p < 0.001); "
        "not checked: 1 too few impressions, 1 one arm, 1 shares unknown"
    )


def test_one_share_unknown_leaves_the_others_known():
    """Without any share no A/B test is checked, and none fails."""
    found = sample_ratios(
        pd.Series(["t", "t"]), pd.Series(["a", "b"]), np.array([1.0, 900.0]), weight=None
    )
    assert found.table["outcome"].tolist() == ["shares unknown"]
    assert found.failing.empty


def test_the_sequential_p_is_the_smallest_inverse_bayes_factor():
    """Against SciPy's distributions, and never rising from day to day."""
    shares = np.array([0.2, 0.3, 0.5])
    counts = np.array([[30, 20, 50], [90, 55, 100], [130, 140, 250]])
    factors = [
        dirichlet_multinomial.pmf(day, CONCENTRATION * shares, day.sum())
        / multinomial.pmf(day, day.sum(), shares)
        for day in counts
    ]
    expected = np.minimum.accumulate(1 / np.maximum(factors, 1))
    found = [sequential_p(counts[: days + 1], shares) for days in range(3)]
    assert found == pytest.approx(expected)
    assert found[1] == found[2] < 1  # the third day looks better, and does not take it back


def test_looking_each_day_raises_few_false_alarms():
    """Of 4,000 fair A/B tests looked at on 30 days at most 1 % come below 0.01; chi-square: 5 %."""
    rng, shares = np.random.default_rng(3), np.array([0.5, 0.25, 0.25])
    daily = rng.multinomial(rng.integers(50, 400, size=(4000, 30)), shares)
    running = daily.cumsum(axis=1)
    alarms = np.mean([sequential_p(test, shares) < 0.01 for test in running])
    assert alarms <= 0.01
    fixed = chisquare(running, running.sum(axis=2, keepdims=True) * shares, axis=2).pvalue
    assert (fixed.min(axis=1) < 0.01).mean() > 0.05


def test_a_fault_is_found_on_the_way():
    """55 of 100 people in one of two equal arms, 300 a day: found within ten days."""
    fair = np.array([0.5, 0.5])
    running = np.cumsum([[165, 135]] * 10, axis=0)
    assert sequential_p(running[:2], fair) > MISMATCH_P
    assert sequential_p(running, fair) < MISMATCH_P


def days(content, shown):
    """Counts of one content on consecutive days."""
    return pd.DataFrame(
        {
            "content_id": content,
            "day": pd.date_range("2024-01-01", periods=len(shown)).strftime("%Y-%m-%d"),
            "impressions": shown,
        }
    )


def test_daily_counts_are_checked_day_by_day():
    """Tests of 2 and 3 arms at once, in any order of rows, each as `sequential_p` says."""
    a = [[200, 160, 90], [100, 140, 210]]
    b = [[50, 60], [55, 45], [45, 61]]
    daily = pd.concat(
        [days(f"t0-{i}", shown) for i, shown in enumerate(a)]
        + [days(f"t2-{i}", shown) for i, shown in enumerate(b)]
        + [days("t1-0", [500])]  # the other arm's days are not known
    ).sample(frac=1, random_state=0)
    found = checked([[450, 450], [500, 520], [110, 100, 106]], daily=daily).table
    assert found["method"].tolist() == ["sequential", "chi-square", "sequential"]
    expected = [
        sequential_p(np.cumsum(np.transpose(a), axis=0), np.full(2, 1 / 2)),
        chisquare([500, 520]).pvalue,
        sequential_p(np.cumsum(np.transpose(b), axis=0), np.full(3, 1 / 3)),
    ]
    assert found["p"].tolist() == pytest.approx(expected)
    # The totals are equal, but the second day was not.
    assert found["outcome"].tolist() == ["mismatch", "holds", "holds"]


MANIFEST = Manifest(
    name="x",
    columns=Columns(content_id="id", ab_test="test", assignment="how"),
    target=Target(impressions="n", clicks="c"),
)
FRAME = pd.DataFrame(
    {
        "id": list("abcdefg"),
        "test": ["good", "good", "bad", "bad", "ads", "ads", None],
        "how": ["randomised"] * 4 + ["platform"] * 2 + [None],
        "n": [100, 110, 1000, 1300, 10, 9000, 5],
        "c": 1,
    }
)


def test_a_dataset_knows_what_each_content_can_prove():
    """Only arms of the randomised A/B test that holds count within A/B tests."""
    dataset = Dataset("memory", MANIFEST, FRAME)
    assert dataset.evidence.tolist() == (
        ["randomised"] * 2 + ["mismatched"] * 2 + ["platform"] * 2 + ["observational"]
    )
    assert dataset.randomised_test.tolist() == ["good", "good"] + [None] * 5
    assert dataset.platform_test.tolist() == [None] * 4 + ["ads", "ads", None]
    columns = replace(MANIFEST.columns, assignment=None)
    unknown = replace(MANIFEST, columns=columns, assignment="randomised", shares="unknown")
    assert (Dataset("memory", unknown, FRAME).evidence[:6] == "randomised").all()


def test_planned_shares_of_ratings_are_checked():
    """Impressions are the sum of ratings; 300 against 900 fit weights of 1 to 3."""
    manifest = Manifest(
        name="r",
        columns=Columns(content_id="id", ab_test="test", share="w"),
        target=Target(ratings=("n1", "n2")),
        assignment="randomised",
    )
    frame = pd.DataFrame(
        {"id": ["a", "b"], "test": "t", "w": [1.0, 3.0], "n1": [100, 300], "n2": [200, 600]}
    )
    assert Dataset("memory", manifest, frame).sample_ratio.table["p"].tolist() == [1.0]
    equal = Dataset("memory", manifest, frame.assign(w=1.0))
    assert equal.sample_ratio.failing["shares"].tolist() == [[0.5, 0.5]]


def test_a_folder_with_daily_counts_is_checked_sequentially(tmp_path):
    """`counts.parquet` beside the contents."""
    dataset = write_dataset(tmp_path / "data", MANIFEST, FRAME)
    assert dataset.sample_ratio.table["method"].tolist() == ["chi-square"] * 2
    daily = pd.concat([days("a", [40, 60]), days("b", [60, 50])]).assign(clicks=0)
    daily.to_parquet(tmp_path / "data" / "counts.parquet")
    again = Dataset.open(tmp_path / "data").sample_ratio.table
    assert again["method"].tolist() == ["sequential", "chi-square"]


def test_two_hundred_thousand_ab_tests_take_seconds():
    """Two million arms."""
    rng = np.random.default_rng(0)
    tests = np.repeat(np.arange(200_000), 10)
    count = rng.poisson(1000, len(tests)).astype(float)
    ids = pd.Series(np.arange(len(tests)))
    began = time.perf_counter()
    found = sample_ratios(pd.Series(tests), ids, count, np.ones(len(tests)))
    assert time.perf_counter() - began < 30
    assert 100 < found.counted("mismatch") < 320  # 200 by chance

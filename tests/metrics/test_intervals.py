import numpy as np
import pytest
from scipy.stats import norm, spearmanr, t

from ni_platform.metrics.error import error_metrics
from ni_platform.metrics.intervals import MAX_BLOCKS, Draws, Resampling
from ni_platform.metrics.pairwise import pairwise_accuracy
from tests.metrics.columns import evaluate, scored_contents


def brute_force_interval(statistic, data, replicates=600):
    """Percentiles of the statistic over replicates that draw whole tests and copy their rows."""
    rng = np.random.default_rng(7)
    tests = np.unique(data["ab_test"])
    rows = {test: np.flatnonzero(data["ab_test"] == test) for test in tests}
    values = []
    for _ in range(replicates):
        drawn = np.concatenate([rows[test] for test in rng.choice(tests, len(tests))])
        values.append(statistic(drawn))
    tail = norm.cdf(np.sqrt(len(tests) / (len(tests) - 1)) * t.ppf(0.025, len(tests) - 1))
    return np.quantile(values, [tail, 1 - tail])


@pytest.mark.parametrize("metric", ["mae", "pearson", "spearman", "pairwise_accuracy"])
def test_intervals_agree_with_copying_whole_tests(planted_tests, metric):
    """Each end is that of a brute-force cluster bootstrap within 12 % of the interval's width."""
    data = planted_tests(tests=60, arms=4)
    truth = data["clicks"] / data["impressions"]
    p = data["prediction"]
    statistic = {
        "mae": lambda rows: np.abs(p[rows] - truth[rows]).mean(),
        "pearson": lambda rows: np.corrcoef(p[rows], truth[rows])[0, 1],
        "spearman": lambda rows: spearmanr(p[rows], truth[rows]).statistic,
        "pairwise_accuracy": lambda rows: pairwise_accuracy(p[rows], truth[rows]),
    }[metric]
    low, high = brute_force_interval(statistic, data)
    found = evaluate(
        p, data["clicks"], data["impressions"], ab_test=data["ab_test"], replicates=2000
    )[metric]
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.12 * (high - low))


def test_intervals_resample_tests_not_rows():
    """Copying every content 5 times within its test leaves the interval as it is."""
    rng = np.random.default_rng(0)
    clicks, prediction = rng.integers(0, 50, 40), rng.uniform(0, 0.5, 40)
    single = evaluate(prediction, clicks, np.full(40, 100), ab_test=np.arange(40))["mae"]
    copied = evaluate(
        np.repeat(prediction, 5),
        np.repeat(clicks, 5),
        np.full(200, 100),
        ab_test=np.repeat(np.arange(40), 5),
    )["mae"]
    assert [copied.low, copied.high] == pytest.approx([single.low, single.high])


def test_groups_are_the_clusters_outside_tests():
    """Without tests the group is drawn as a whole, and without a group the content."""
    rng = np.random.default_rng(0)
    picture = np.repeat(np.arange(30), 10)
    error = np.repeat(rng.uniform(0, 0.2, 30), 10)
    outcome = {"clicks": np.full(300, 50), "impressions": np.full(300, 100)}
    grouped = evaluate(0.5 + error, **outcome, group=picture)["mae"]
    alone = evaluate(0.5 + error, **outcome)["mae"]
    assert grouped.high - grouped.low > 2.5 * (alone.high - alone.low)


def test_many_clusters_are_drawn_in_blocks():
    """Beyond 4,096 clusters the interval of a mean is still mean ± 1.96 σ / √N."""
    error = np.random.default_rng(0).uniform(0, 0.2, 40_000)
    found = evaluate(0.5 + error, np.full(40_000, 50), np.full(40_000, 100))["mae"]
    half = 1.96 * error.std() / 200
    assert found.value == pytest.approx(error.mean())
    expected = [error.mean() - half, error.mean() + half]
    assert [found.low, found.high] == pytest.approx(expected, abs=0.12 * half)
    assert Resampling.of(np.arange(40_000), replicates=1, seed=0).weights.shape == (2, MAX_BLOCKS)


def test_intervals_cover_the_truth():
    """Of 200 planted experiments of 30 tests, 90 to 99 % of intervals hold the expected MAE."""
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        test = np.repeat(np.arange(30), 5)
        error = np.abs(rng.normal(0, 0.05, 30)[test] + rng.normal(0, 0.03, 150))
        scored = scored_contents(0.5 + error, np.full(150, 5), np.full(150, 10), ab_test=test)
        resampling = Resampling.of(scored.cluster_codes, replicates=500, seed=seed)
        found = error_metrics(scored, resampling)["mae"].estimate()
        expected = np.sqrt(0.05**2 + 0.03**2) * np.sqrt(2 / np.pi)
        covered += found.low <= expected <= found.high
    assert 180 <= covered <= 198


def test_one_cluster_has_no_interval():
    """A metric that rests on a single test has a value and no interval."""
    found = evaluate([0.1, 0.2], [1, 3], [10, 10], ab_test=["a", "a"])["mae"]
    assert found.value == pytest.approx(0.05)
    assert np.isnan([found.low, found.high]).all()


def test_no_replicates_give_values_alone():
    """With replicates=0 every value is that with replicates, and every interval NaN."""
    columns = {"prediction": [0.1, 0.3, 0.2], "clicks": [1, 2, 4], "impressions": [10, 10, 10]}
    quick, full = evaluate(**columns, replicates=0), evaluate(**columns, replicates=50)
    for name, estimate in quick.items():
        assert estimate.value == pytest.approx(full[name].value, nan_ok=True)
        assert np.isnan([estimate.low, estimate.high]).all()


def test_same_seed_gives_the_same_interval():
    """Intervals depend on the seed alone."""
    columns = {"prediction": [0.1, 0.3, 0.2], "clicks": [1, 2, 4], "impressions": [10, 10, 10]}
    assert evaluate(**columns, seed=3)["mae"] == evaluate(**columns, seed=3)["mae"]


def test_reversed_interval_corrects_upward_noise():
    """Replicates 1 above the value put the reversed interval 1 below it, cut at the minimum."""
    values = np.array([2.0, *np.linspace(2.9, 3.1, 201)])
    estimate = Draws(values, 1000).reversed_estimate(minimum=0.95)
    assert estimate.low == 0.95
    assert estimate.high == 2.0

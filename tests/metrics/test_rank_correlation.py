import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from ni_platform.metrics.rank_correlation import spearman_influence
from tests.metrics.columns import evaluate


@pytest.mark.parametrize("levels", [3, 10, 10_000])
def test_correlations_agree_with_scipy(levels):
    """Spearman (mid-ranks for ties) and Pearson are scipy's, with few and with many ties."""
    rng = np.random.default_rng(levels)
    clicks = rng.integers(0, levels, 300)
    prediction = (clicks + rng.integers(0, levels, 300)) / (2 * levels)
    found = evaluate(prediction, clicks, np.full(300, levels), replicates=0)
    assert found["spearman"].value == pytest.approx(spearmanr(prediction, clicks).statistic)
    assert found["pearson"].value == pytest.approx(pearsonr(prediction, clicks).statistic)


def test_spearman_influence_is_the_derivative_in_a_weight():
    """Repeating one row among 2,000 changes scipy's correlation by that row's influence / N."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 40, 2000).astype(float)
    y = x + rng.integers(0, 40, 2000)
    value, influence = spearman_influence(x, y)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    for row in (0, 7, 99, 1500):
        repeated = spearmanr(np.append(x, x[row]), np.append(y, y[row])).statistic
        assert (repeated - value) * 2000 == pytest.approx(influence[row], rel=0.02, abs=0.005)


def test_constant_prediction_has_no_correlation():
    """A constant prediction has neither correlation, and no interval."""
    found = evaluate([0.1, 0.1, 0.1], [1, 2, 3], [10, 10, 10])
    for name in ("spearman", "pearson"):
        assert np.isnan([found[name].value, found[name].low, found[name].high]).all()


def test_perfect_order_is_one():
    """A prediction in exactly the observed order has rank correlation 1 in every replicate."""
    found = evaluate([0.1, 0.2, 0.4], [1, 2, 3], [10, 10, 10])["spearman"]
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))

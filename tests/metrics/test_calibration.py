import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from ni_platform.metrics.calibration import calibration_curve, calibration_metrics
from ni_platform.metrics.intervals import Resampling
from tests.metrics.columns import evaluate, scored_contents


def test_slope_of_an_exact_curve():
    """Rates that are exactly expit(0.3 + 0.8 logit(prediction)) have slope 0.8."""
    prediction = np.linspace(0.01, 0.3, 50)
    rate = expit(0.3 + 0.8 * logit(prediction))
    found = evaluate(prediction, rate * 1e6, np.full(50, 1e6))
    assert found["calibration_slope"].value == pytest.approx(0.8)
    assert found["calibration_slope"].high - found["calibration_slope"].low < 1e-6


def test_intercept_of_a_shifted_prediction():
    """Rates whose log-odds lie 0.4 above the prediction's have intercept 0.4 and slope 1."""
    prediction = np.linspace(0.01, 0.3, 50)
    rate = expit(0.4 + logit(prediction))
    found = evaluate(prediction, rate * 1e6, np.full(50, 1e6))
    assert found["calibration_intercept"].value == pytest.approx(0.4)
    assert found["calibration_slope"].value == pytest.approx(1.0)


def test_slope_agrees_with_logistic_regression(planted_tests):
    """The slope is scikit-learn's unpenalised fit with a row per outcome, weighted by share."""
    data = planted_tests()
    truth = data["clicks"] / data["impressions"]
    x = logit(data["prediction"])[:, None]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    outcome = np.repeat([1, 0], len(x))
    model.fit(np.vstack([x, x]), outcome, sample_weight=np.concatenate([truth, 1 - truth]))
    found = evaluate(data["prediction"], data["clicks"], data["impressions"], replicates=0)
    assert found["calibration_slope"].value == pytest.approx(model.coef_[0, 0], rel=1e-4)


def test_slope_interval_agrees_with_refitting(planted_tests):
    """One Newton step per replicate gives the interval of refitting each of 300 replicates."""
    data = planted_tests(tests=80)
    tests = data["ab_test"]
    rng = np.random.default_rng(0)
    slopes = []
    for _ in range(300):
        rows = np.concatenate([np.flatnonzero(tests == k) for k in rng.integers(0, 80, 80)])
        drawn = {key: data[key][rows] for key in ("prediction", "clicks", "impressions")}
        scored = scored_contents(**drawn)
        whole = Resampling.of(scored.cluster_codes, replicates=0, seed=0)
        slopes.append(calibration_metrics(scored, whole)["calibration_slope"].value)
    low, high = np.quantile(slopes, [0.0235, 0.9765])
    columns = {key: data[key] for key in ("prediction", "clicks", "impressions", "ab_test")}
    found = evaluate(**columns)["calibration_slope"]
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.15 * (high - low))


def test_calibration_error_by_hand():
    """Two levels of prediction, 0.1 too low and 0.05 too high, have error 0.075."""
    prediction = np.repeat([0.2, 0.4], 10)
    clicks = np.repeat([30, 35], 10)
    found = evaluate(prediction, clicks, np.full(20, 100))["calibration_error"]
    assert found.value == pytest.approx(0.075)


def test_calibration_curve_by_hand():
    """Twenty predictions fall into ten bins of two, each with its means."""
    prediction = np.arange(20) / 100
    predicted, observed = calibration_curve(prediction, prediction * 2)
    assert predicted == pytest.approx(np.arange(10) / 50 + 0.005)
    assert observed == pytest.approx(2 * predicted)


def test_undefined_calibration_is_nan():
    """Predictions outside [0, 1], and outcomes without a click, have no logistic fit."""
    outside = evaluate([-0.1, 0.2, 0.3], [1, 2, 3], [10, 10, 10])
    clickless = evaluate([0.1, 0.2, 0.3], [0, 0, 0], [10, 10, 10])
    for found in (outside, clickless):
        assert np.isnan(found["calibration_slope"].value)
        assert np.isnan(found["calibration_intercept"].value)
        assert np.isfinite(found["calibration_error"].value)

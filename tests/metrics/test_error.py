import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from ni_platform.metrics.error import mae, rmse
from tests.metrics.columns import evaluate


def test_errors_by_hand():
    """Two errors of 0.3 and 0.1 have RMSE √0.05 and MAE 0.2."""
    prediction, truth = np.array([0.5, 0.5]), np.array([0.2, 0.6])
    assert rmse(prediction, truth) == pytest.approx(np.sqrt(0.05))
    assert mae(prediction, truth) == pytest.approx(0.2)


def test_errors_agree_with_scikit_learn(planted_tests):
    """RMSE, MAE and R² are scikit-learn's."""
    data = planted_tests()
    truth = data["clicks"] / data["impressions"]
    found = evaluate(data["prediction"], data["clicks"], data["impressions"], replicates=0)
    assert found["rmse"].value == pytest.approx(
        np.sqrt(mean_squared_error(truth, data["prediction"]))
    )
    assert found["mae"].value == pytest.approx(mean_absolute_error(truth, data["prediction"]))
    assert found["r2"].value == pytest.approx(r2_score(truth, data["prediction"]))


def test_r2_of_equal_outcomes_is_undefined():
    """Without any spread of the observed rates R² is NaN."""
    assert np.isnan(evaluate([0.1, 0.2, 0.3], [1, 1, 1], [10, 10, 10])["r2"].value)

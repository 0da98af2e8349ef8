import numpy as np
import pytest

from ni_platform.metrics.plots import (
    calibration_figure,
    pairwise_figure,
    predicted_observed_figure,
)
from tests.metrics.columns import evaluate


def test_calibration_figure_draws_the_curve(tmp_path):
    """The calibration figure holds the diagonal and a point per tenth, and can be saved."""
    prediction = np.arange(1, 101) / 200
    figure = calibration_figure(prediction, prediction / 2)
    diagonal, curve = figure.axes[0].lines
    assert len(curve.get_xdata()) == 10
    assert curve.get_ydata() == pytest.approx(curve.get_xdata() / 2)
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    figure.savefig(tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").stat().st_size > 1000


def test_predicted_observed_figure_draws_a_point_per_content():
    """Each content is one point."""
    figure = predicted_observed_figure([0.1, 0.2, 0.3], [0.2, 0.1, 0.4])
    points = figure.axes[0].collections[0].get_offsets()
    assert np.asarray(points) == pytest.approx(np.array([[0.1, 0.2], [0.2, 0.1], [0.3, 0.4]]))


def test_pairwise_figure_draws_a_bar_per_model_and_form(planted_tests, tmp_path):
    """Two models and three forms make six bars of the estimated heights."""
    data = planted_tests()
    outcome = {key: data[key] for key in ("clicks", "impressions", "ab_test")}
    models = {
        "model": evaluate(data["prediction"], **outcome),
        "oracle": evaluate(data["rate"], **outcome),
    }
    figure = pairwise_figure(models)
    bars = figure.axes[0].patches
    assert len(bars) == 6
    assert bars[0].get_height() == pytest.approx(models["model"]["pairwise_accuracy"].value)
    figure.savefig(tmp_path / "pairwise.png")


def test_pairwise_figure_leaves_out_what_is_undefined():
    """Without A/B tests only the bar over all pairs is drawn."""
    figure = pairwise_figure({"model": evaluate([0.1, 0.3, 0.2], [1, 2, 3], [9, 9, 9])})
    assert len(figure.axes[0].patches) == 1

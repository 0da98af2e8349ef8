"""Runs side by side."""

import pytest
from mlflow import MlflowClient

from ni_platform.comparison import compare_runs, page_of
from ni_platform.errors import TrackingError
from ni_platform.evaluation_record import record_metrics
from ni_platform.metrics.intervals import Estimate
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from tests.command import ni


@pytest.fixture
def runs(ni_home):
    """Two runs of two experiments, the later one better."""
    found = []
    for name, value in (("planted.old", 0.4), ("planted.new", 0.2)):
        with RunRecord.start(open_store(), "planted", name, tags={"ni.experiment": name}) as record:
            estimates = {
                "rmse": Estimate(value, value - 0.1, value + 0.1),
                "mae": Estimate(value / 2),
                "n_contents": Estimate(30.0),
            }
            record_metrics(record, {"test": estimates})
        found.append(record.run_id)
    return found


def test_figures_stand_beside_their_intervals(runs):
    """Each figure has its bounds, whether MLflow shows it or not."""
    table = compare_runs(open_store(), runs).set_index("run_id")
    assert table.loc[runs[1], ["test/rmse", "test/rmse_low", "test/rmse_high"]].tolist() == [
        pytest.approx(0.2),
        pytest.approx(0.1),
        pytest.approx(0.3),
    ]
    assert table.loc[runs[0], "test/mae"] == 0.2
    shown = MlflowClient(open_store().uri).get_run(runs[0]).data.metrics
    assert shown == {"test/rmse": 0.4}


def test_a_run_is_named_by_its_experiment(runs):
    """The newest run of a name is meant; a name of nothing is one error."""
    table = compare_runs(open_store(), ["planted.old"], metrics=["test/rmse"])
    assert table["run_id"].tolist() == runs[:1]
    assert "test/mae" not in table
    with pytest.raises(TrackingError, match="no run 'absent'"):
        compare_runs(open_store(), ["planted.old", "absent"])


def test_the_command_links_mlflows_own_comparison(runs):
    """`ni compare` prints the address of the page that compares just these runs."""
    result = ni("compare", *runs)
    page = page_of(open_store(), compare_runs(open_store(), runs))
    assert page.startswith("http://127.0.0.1:5000/#/compare-runs?runs=")
    assert all(run in page for run in runs)
    assert page in result.stdout.replace("\n", "")
    assert ni("compare", "absent").code == 1

"""The table of a run's figures."""

import numpy as np
import pandas as pd
import pytest

from ni_platform.errors import TrackingError
from ni_platform.tracking.metric_table import COLUMNS, add_metrics, current_name, read_metrics
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store


def rows(*values: tuple) -> pd.DataFrame:
    """Make a table of figures."""
    return pd.DataFrame(values, columns=list(COLUMNS))


def test_figures_are_added_and_replaced(ni_home):
    """A later figure of the same slice and name takes the place of the earlier, others stay."""
    store = open_store()
    with RunRecord.start(store, "planted") as record:
        record.log_metrics({"fused/train_loss": 0.7}, step=1)  # a curve is no figure of the model
        add_metrics(record, rows(("test", "rmse", 0.1, 0.05, 0.2, 30), ("test", "mae", 1, 1, 1, 3)))
        later = ("insight/text", "p", 0.5, np.nan, np.nan, 7)
        add_metrics(record, rows(("test", "rmse", 0.3, 0.2, 0.4, 30), later))
    table = read_metrics(store, record.run_id)
    assert tuple(table.columns) == COLUMNS
    assert table[["slice", "metric", "value", "n"]].to_numpy().tolist() == [
        ["test", "mae", 1, 3],
        ["test", "rmse", 0.3, 30],
        ["insight/text", "p", 0.5, 7],
    ]


def test_figures_without_intervals_are_numbers_still(ni_home):
    """Where nothing has an interval the bounds are nan, not None."""
    with RunRecord.start(open_store(), "planted") as record:
        add_metrics(record, rows(("test", "rmse", 0.1, None, None, 3)))
    table = read_metrics(open_store(), record.run_id)
    assert table.dtypes[["value", "low", "high", "n"]].tolist() == [np.dtype(float)] * 4
    assert table["low"].isna().all()


def test_an_undefined_figure_is_left_out(ni_home):
    """A metric without a value would sort as a number."""
    with RunRecord.start(open_store(), "planted") as record:
        add_metrics(record, rows(("test", "r2", np.nan, np.nan, np.nan, 3)))
    assert read_metrics(open_store(), record.run_id).empty


def test_a_run_of_an_earlier_version_is_read(ni_home):
    """Its bounds stood as metrics, its metrics under longer names; insights are added to them."""
    store = open_store()
    with RunRecord.start(store, "planted") as record:
        record.log_metrics(
            {
                "test/pairwise_accuracy_within_tests_distinct": 0.6,
                "test/pairwise_accuracy_within_tests_distinct_low": 0.5,
                "test/pairwise_accuracy_within_tests_distinct_high": 0.7,
                "test/rmse_change_vs_glm": -3.0,
                "insight/text/grad_cam_pairwise": 0.55,
            }
        )
    table = read_metrics(store, record.run_id).set_index(["slice", "metric"])
    assert set(table.index) == {
        ("test", "pairwise_within_distinct"),
        ("test", "rmse_vs_glm"),
        ("insight/text", "grad_cam_pairwise"),
    }
    assert table.loc[("test", "pairwise_within_distinct"), ["value", "low", "high"]].tolist() == [
        0.6,
        0.5,
        0.7,
    ]
    add_metrics(RunRecord.existing(store, record.run_id), rows(("x", "y", 1, 1, 1, 1)))
    assert len(read_metrics(store, record.run_id)) == 4


def test_a_run_that_is_not_there(ni_home):
    """There is one message."""
    with pytest.raises(TrackingError, match="There is no run"):
        read_metrics(open_store(), "0" * 32)


def test_names_of_earlier_versions():
    """Each has one name now."""
    assert current_name("noise_ceiling_significant_distinct") == "ceiling_significant_distinct"
    assert current_name("pairwise_accuracy") == "pairwise_accuracy"

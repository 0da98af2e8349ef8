"""The file of what trials predicted."""

from __future__ import annotations

import numpy as np
import pytest

from ni_platform.errors import ConfigError
from ni_platform.tuning.files.validation_predictions import ValidationPredictions

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3) / 16  # exact in float32


@pytest.fixture
def predictions(tmp_path) -> ValidationPredictions:
    """The file beside a log."""
    return ValidationPredictions(path=tmp_path / "validation.predictions")


def test_rows_come_back_by_trial(predictions):
    """Nothing before the first; afterwards trials in ascending order with their own rows."""
    trials, rows = predictions.read()
    assert (trials.shape, rows.shape) == ((0,), (0, 0))
    for trial in (0, 2):
        predictions.append(trial, ROWS[trial])
    trials, rows = predictions.read()
    assert isinstance(rows, np.memmap)
    assert trials.tolist() == [0, 2]
    assert rows.tolist() == ROWS[[0, 2]].tolist()
    predictions.append(1, ROWS[1].astype(np.float64))
    trials, rows = predictions.read()
    assert trials.tolist() == [0, 1, 2]
    assert rows.tolist() == ROWS[:3].tolist()


def test_the_later_row_of_a_trial_counts(predictions):
    """A trial that was started again may have written its row before."""
    for trial, row in ((3, 0), (1, 1), (3, 3)):
        predictions.append(trial, ROWS[row])
    trials, rows = predictions.read()
    assert trials.tolist() == [1, 3]
    assert rows.tolist() == ROWS[[1, 3]].tolist()


@pytest.mark.parametrize("torn", [1, 8, 19])
def test_a_torn_last_row_is_passed_over_and_cut_off(predictions, torn):
    """A crash in the middle of a record (8 + 12 bytes) costs this record only."""
    predictions.append(0, ROWS[0])
    whole = predictions.path.stat().st_size
    predictions.append(1, ROWS[1])
    with predictions.path.open("r+b") as file:
        file.truncate(whole + torn)
    trials, rows = predictions.read()
    assert (trials.tolist(), rows.tolist()) == ([0], ROWS[:1].tolist())
    predictions.append(2, ROWS[2])
    trials, rows = predictions.read()
    assert trials.tolist() == [0, 2]
    assert rows.tolist() == ROWS[[0, 2]].tolist()


def test_a_torn_beginning_is_begun_anew(predictions):
    """A file whose first bytes a crash cut short holds nothing yet."""
    predictions.path.write_bytes(b"\x03\x00")
    assert predictions.read()[0].tolist() == []
    predictions.append(5, ROWS[0])
    assert predictions.read()[1].tolist() == ROWS[:1].tolist()


def test_rows_of_another_length_are_refused(predictions):
    """They would be of other contents."""
    predictions.append(0, ROWS[0])
    with pytest.raises(ConfigError, match="rows of 3, but trial 1 predicted 2"):
        predictions.append(1, ROWS[0, :2])

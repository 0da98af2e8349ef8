"""A saved model applied to a dataset."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ni_platform.data.importers.table import import_table
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.scoring import predict

RATES = {1: 0.02, 2: 0.04, 3: 0.06, 4: 0.08}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A GLM of a segment, learned from a table in which pandas made floats of the segments."""
    folder = tmp_path_factory.mktemp("segments")
    segments = np.tile([1, 2, 3, 4], 100).astype(float)
    frame = pd.DataFrame({"id": [f"a{i}" for i in range(400)], "segment": segments})
    frame["shown"] = 5000
    frame["clicked"] = [round(5000 * RATES[int(segment)]) for segment in segments]
    frame.loc[len(frame)] = ["none", np.nan, 5000, 250]
    dataset = imported(frame, folder / "train.csv")
    config = TabularConfig(estimator="glm")
    TabularRegressor.fit(config, dataset, np.arange(len(dataset))).save(folder / "model")
    return folder / "model"


def imported(frame, path):
    """A dataset of a frame, through a file."""
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return import_table(
        path,
        path.with_suffix(""),
        content_id="id",
        categorical=["segment"],
        impressions="shown",
        clicks="clicked",
    )


def predicted(model, segments, tmp_path, suffix):
    """Predictions for contents of these segments, and what was said of them."""
    frame = pa.table(
        {
            "id": [f"b{i}" for i in range(len(segments))],
            "segment": segments,
            "shown": pa.array([100] * len(segments)),
            "clicked": pa.array([1] * len(segments)),
        }
    ).to_pandas()
    dataset = imported(frame, tmp_path / f"new{suffix}")
    notes: list[str] = []
    predict(None, str(model), dataset.root, str(tmp_path / "p.parquet"), say=notes.append)
    return pd.read_parquet(tmp_path / "p.parquet")["prediction"].tolist(), notes


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string(), pa.decimal128(5, 2)])
def test_a_level_is_the_same_in_every_type(model, tmp_path, kind, suffix):
    """Learned from 1.0 in a CSV, known again as an integer, float, text or decimal."""
    segments = pa.array(["1", "2", "3", "4"]).cast(kind)
    rates, notes = predicted(model, segments, tmp_path, suffix)
    assert rates == pytest.approx(list(RATES.values()), abs=0.005)
    assert notes == []


def test_levels_that_the_model_does_not_know_are_said(model, tmp_path):
    """Some of them, or all: then the predictions rest on nothing of the column."""
    _, notes = predicted(model, pa.array(["1", "new", "other", None]), tmp_path, ".csv")
    assert len(notes) == 1
    assert "segment: 2 of 3 rows have levels" in notes[0]
    assert "['new', 'other']" in notes[0]
    (tmp_path / "all").mkdir()
    _, notes = predicted(model, pa.array(["new", "other"]), tmp_path / "all", ".csv")
    assert "segment: no row has a level that the model knows" in notes[0]

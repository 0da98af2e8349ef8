"""Vectors as attributes: encoded, fitted, saved, and read by every kind of model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import DatasetError
from ni_platform.experiment_config import load_experiment
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.inputs import InputEncoder
from ni_platform.models.modalities.attributes import AttributesEncoderConfig, AttributesReader
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.opened import fitted_to
from tests.models.conftest import make_dataset
from tests.models.test_neural_insights import SMALL
from tests.models.test_scorer import perturbed


@pytest.fixture
def with_vectors(tmp_path: Path) -> Dataset:
    """The tiny dataset with embeddings of five numbers, missing in every fourth row."""
    dataset = make_dataset(tmp_path / "tiny")
    rng = np.random.default_rng(1)
    vectors = [None if i % 4 == 3 else rng.normal(2, 3, 5).astype(np.float32) for i in range(24)]
    columns = replace(dataset.manifest.columns, vector=("embedding",))
    contents = dataset.contents.assign(embedding=pd.Series(vectors, dtype=object))
    return Dataset(dataset.root, replace(dataset.manifest, columns=columns), contents)


def test_vectors_by_hand():
    """A vector follows the other attributes, standardised by one scale; a null one is zeros."""
    reader = AttributesReader(
        categorical=(("day", ("mon", "tue")),),
        numeric=(("price", 10.0, 2.0),),
        vector=(("title", 2, 1.0, 0.5), ("ocr", 1, 0.0, 1.0)),
    )
    frame = pd.DataFrame(
        {"day": ["tue", None, None], "price": [14.0, np.nan, np.nan]},
    ).assign(
        title=pd.Series([[1.5, 0.0], None, [1.0, 1.0]], dtype=object),
        ocr=pd.Series([None, None, [3.0]], dtype=object),
    )
    inputs = InputEncoder({"attributes": reader}).encode(frame)
    assert reader.size.width == 6
    assert inputs.modalities["attributes"].tensors[0].tolist() == [
        [0, 1, 2.0, 1.0, -2.0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 3.0],
    ]
    assert inputs.modalities["attributes"].present_B.tolist() == [True, False, True]


def test_a_vector_of_another_length_is_refused():
    """The message names the column and both lengths."""
    reader = AttributesReader(vector=(("title", 2, 0.0, 1.0),))
    frame = pd.DataFrame({"title": pd.Series([[1.0, 2.0, 3.0]], dtype=object)})
    with pytest.raises(DatasetError, match=r"'title' must have 2 numbers, but row 0 has 3"):
        InputEncoder({"attributes": reader}).encode(frame)


def test_the_scale_is_that_of_training_rows(with_vectors: Dataset):
    """Mean and spread of all numbers of the given rows; the length also without any of them."""
    rows = np.array([0, 1, 3, 6])
    parts = {"attributes": AttributesEncoderConfig()}
    reader = InputEncoder.fit(parts, with_vectors, rows).readers["attributes"]
    ((name, width, mean, std),) = reader.vector
    numbers = np.concatenate([with_vectors.contents["embedding"][row] for row in (0, 1, 6)])
    assert (name, width) == ("embedding", 5)
    assert mean == pytest.approx(numbers.astype(float).mean())
    assert std == pytest.approx(numbers.astype(float).std())
    nothing = InputEncoder.fit(parts, with_vectors, [3, 7]).readers["attributes"]
    assert nothing.vector == (("embedding", 5, 0.0, 1.0),)


@pytest.mark.parametrize("kind", ["neural_insights", "m2fn"])
def test_a_regressor_reads_saves_and_loads_vectors(with_vectors: Dataset, tmp_path: Path, kind):
    """Rates follow the vectors and are bit-equal after a round trip."""
    config = SMALL if kind == "neural_insights" else load_experiment("m2fn.small").model
    if kind == "neural_insights":
        config = replace(config, image=None)
    scorer = perturbed(build_scorer(config, with_vectors, np.arange(12), seed=0))
    frame = with_vectors.inputs()
    rates = scorer.predict(frame)
    scorer.save(tmp_path / "model")
    loaded = Scorer.load(tmp_path / "model", "cpu")
    assert loaded.inputs.readers["attributes"] == scorer.inputs.readers["attributes"]
    assert np.array_equal(loaded.predict(frame), rates)
    as_lists = frame.assign(
        embedding=pd.Series(
            [None if v is None else [float(x) for x in v] for v in frame["embedding"]], dtype=object
        )
    )
    assert np.array_equal(loaded.predict(as_lists), rates)
    first = [None if v is None else v + 5 for v in frame["embedding"]]
    moved = loaded.predict(frame.assign(embedding=pd.Series(first, dtype=object)))
    has = frame["embedding"].notna().to_numpy()
    assert (moved[has] != rates[has]).all()
    assert np.array_equal(moved[~has], rates[~has])


def test_vectors_alone_are_attributes(tmp_path: Path):
    """A dataset whose only attributes are vectors keeps the modality, and the GLM learns it."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 3))
    rate = expit(-2 + vectors @ [0.8, -0.5, 0.0])
    frame = pd.DataFrame(
        {
            "id": range(400),
            "embedding": list(vectors),
            "shown": 5000,
            "clicks": rng.binomial(5000, rate),
        }
    )
    manifest = Manifest(
        name="v",
        columns=Columns(content_id="id", vector=("embedding",)),
        target=Target(impressions="shown", clicks="clicks"),
    )
    dataset = write_dataset(tmp_path / "data", manifest, frame)
    config = fitted_to(load_experiment("neural_insights.quickstart"), dataset)
    assert config.model.modalities == ("attributes",)
    model = TabularRegressor.fit(TabularConfig(), dataset, np.arange(300))
    predicted = model.predict(dataset.inputs(np.arange(300, 400)))
    assert np.abs(logit(predicted) - logit(rate[300:])).max() < 0.1

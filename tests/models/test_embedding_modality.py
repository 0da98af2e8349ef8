"""A fifth modality: embeddings that a user brings, trained, saved and explained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from ni_platform.attribution.config import AttributionConfig
from ni_platform.attribution.explain import explain
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.experiment_config import ExperimentConfig, Pretraining
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.modalities.embedding import EmbeddingEncoderConfig
from ni_platform.models.modalities.text import TextEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.opened import fitted_to
from ni_platform.training.config import TrainingConfig
from ni_platform.training.encoded import encodable
from ni_platform.training.loop import StageTraining
from ni_platform.training.shared_stage import SharedStage
from ni_platform.training.stage_data import StageData
from ni_platform.training.workers import WorkerGroup

MODEL = NeuralInsightsConfig(
    embedding=EmbeddingEncoderConfig(mlp=MLPConfig(hidden=(8,))),
    attributes=AttributesEncoderConfig(mlp=MLPConfig(hidden=(4,))),
    text=TextEncoderConfig(),
)
TRAIN, REST = np.arange(300), np.arange(300, 400)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Rates that follow the first number of an embedding; every tenth content has none."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 3))
    rate = expit(-2 + 1.5 * vectors[:, 0])
    frame = pd.DataFrame(
        {
            "id": range(400),
            "clip": [None if row % 10 == 9 else vector for row, vector in enumerate(vectors)],
            "price": rng.normal(size=400),
            "shown": 5000,
            "clicks": rng.binomial(5000, rate),
        }
    )
    columns = Columns(content_id="id", numeric=("price",), vector=("clip",))
    target = Target(impressions="shown", clicks="clicks")
    return write_dataset(tmp_path / "d", Manifest(name="d", columns=columns, target=target), frame)


def test_embeddings_are_a_modality_of_their_own(dataset, tmp_path):
    """They are learned, and not read as attributes as well; a saved model predicts the same."""
    config = fitted_to(ExperimentConfig(name="e.e", model=MODEL), dataset)
    assert config.model.modalities == ("embedding", "attributes")
    scorer = build_scorer(config.model, dataset, TRAIN, seed=0)
    assert scorer.roles == {"clip": "vector", "price": "numeric"}
    assert list(scorer.inputs.readers["attributes"].roles) == ["price"]
    training = TrainingConfig(epochs=30, batch_size=64, learning_rate=0.01)
    scorer.save(tmp_path / "initial")
    shared = SharedStage.prepare(
        tmp_path / "initial", dataset, training, TRAIN, REST, tmp_path / "encoded"
    )
    stage = shared.stage(config.model, training)
    data = StageData(
        source=stage.source, train_rows=stage.train_rows, validation_rows=stage.validation_rows
    )
    StageTraining("fused", stage.module, data, training, workers=WorkerGroup("cpu")).run()
    scorer.model.load_state_dict(stage.module.state_dict())
    frame = dataset.inputs(REST)
    rates = scorer.predict(frame)
    has = frame["clip"].notna().to_numpy()
    assert np.corrcoef(rates[has], dataset.success_rate[REST][has])[0, 1] > 0.9
    scorer.save(tmp_path / "model")
    assert np.array_equal(Scorer.load(tmp_path / "model", "cpu").predict(frame), rates)
    explained = explain(scorer, frame[:20], AttributionConfig(methods=("feature_ablation",)))
    assert explained.modalities["embedding"].names[0] == ["clip"]
    assert explained.modalities["embedding"].names[9] == []


def test_without_the_modality_embeddings_are_attributes(dataset):
    """As they were before there was one; a dataset with vectors alone has no attributes left."""
    config = fitted_to(ExperimentConfig(name="e.e", model=replace(MODEL, embedding=None)), dataset)
    scorer = build_scorer(config.model, dataset, TRAIN, seed=0)
    assert list(scorer.inputs.readers["attributes"].roles) == ["price", "clip"]
    vectors = dataset.without_inputs(["price"])
    config = fitted_to(ExperimentConfig(name="e.e", model=MODEL), vectors)
    assert config.model.modalities == ("embedding",)


def test_it_is_pretrained_and_frozen_as_the_others(dataset):
    """Stages and sweeps know it by its name alone."""
    training = TrainingConfig(frozen=("embedding",))
    config = ExperimentConfig(
        name="e.e",
        model=MODEL,
        training=training,
        pretraining=Pretraining(embedding=TrainingConfig()),
    )
    config = fitted_to(config, dataset)
    assert list(config.pretraining.stages) == ["embedding"]
    assert encodable(config.network, training) == ("embedding",)

"""A Gaussian process as every other model: trained, recorded, served, explained, and not swept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pictured import TEXT, write_pictured
from scipy.special import expit

from ni_platform.attribution.config import AttributionConfig
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.images import ImageInput
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.splits import SplitConfig
from ni_platform.errors import ConfigError
from ni_platform.evaluation import EvaluationConfig
from ni_platform.experiment import train
from ni_platform.experiment_config import ExperimentConfig, load_experiment
from ni_platform.insights.config import InsightsConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.modalities.attributes import OneHotAttributes
from ni_platform.models.modalities.domain import HashedDomain
from ni_platform.models.modalities.embedding import Vectors
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.regressor import load_regressor
from ni_platform.models.uncertainty import predict_with_uncertainty
from ni_platform.opened import open_experiment
from ni_platform.registry.model_source import resolve_model
from ni_platform.tracking.run_queries import read_table_artifact
from ni_platform.tracking.store import open_store
from ni_platform.training.config import TrainingConfig
from ni_platform.tuning.config import SweepConfig
from ni_platform.tuning.sweep import run_sweep
from tests.figures import figures

CONFIG = ExperimentConfig(
    name="tests.ranker",
    model=GaussianProcessConfig(
        image=ImageEncoderConfig(input=ImageInput(size=32)),
        text=TEXT,
        domain=HashedDomain(),
        attributes=OneHotAttributes(),
    ),
    splits=SplitConfig(near_duplicate_similarity=1.0),  # ten words make titles alike
    evaluation=EvaluationConfig(replicates=20, glm=False),
    insights=InsightsConfig(
        attribution=AttributionConfig(methods=("feature_ablation", "grad_cam"), grid=2),
        contents=20, shuffles=1, replicates=20, permutations=20,
    ),
)  # fmt: skip


def test_from_a_dataset_to_an_explained_model(ni_home, tmp_path):
    """The run says what it found of each modality, and its model predicts what it recorded."""
    dataset = write_pictured(tmp_path / "pictured")
    opened = open_experiment(CONFIG, dataset.root)
    store = open_store()
    run = train(store, opened, allow_failed_checks=True)  # 9 A/B tests are few
    metrics = figures(store, run.run_id)
    for name in ("image", "text", "domain", "attributes", "residual", "overdispersion"):
        assert metrics[f"kernel/{name}"] >= 0
    assert metrics["kernel/overdispersion"] == 1.0  # no two arms have equal inputs
    assert 0 < metrics["test/pair_log_loss"] < 2
    assert 0.5 < metrics["test/pair_coverage"] <= 1
    assert any(name.startswith("insight") for name in metrics)
    predictions = read_table_artifact(store, run.run_id, "predictions/test.parquet")
    model = load_regressor(resolve_model(store, run.run_id))
    rows = np.concatenate([opened.splits.rows(name) for name in ("in_domain", "out_of_domain")])
    mine = dict(zip(dataset.content_id.iloc[rows], model.predict(dataset.inputs(rows))))
    expected = predictions.set_index("content_id")["prediction"]
    assert len(expected) == len(mine)
    for content, rate in mine.items():
        assert rate == pytest.approx(expected[content], rel=1e-4)
    # As `ni predict` does, which must not drop out what a loaded encoder would in training.
    sure = predict_with_uncertainty(model, dataset.inputs(rows), dataset.ab_test.iloc[rows])
    np.testing.assert_allclose(sure["prediction"], list(mine.values()), rtol=1e-4)
    assert (sure["low"] < sure["prediction"]).all()


def test_what_a_modality_adds(ni_home, tmp_path):
    """The gain is the accuracy less that of a run without the modality, and has an interval."""
    dataset = write_pictured(tmp_path / "pictured")
    config = replace(CONFIG, insights=None)
    store = open_store()
    whole = train(store, open_experiment(config, dataset.root), allow_failed_checks=True)
    blind = replace(config, model=replace(config.model, text=None))
    without = train(store, open_experiment(blind, dataset.root), allow_failed_checks=True)
    mine, theirs = (figures(store, run.run_id) for run in (whole, without))
    for part in ("validation", "test"):
        name = f"{part}/pairwise_within"
        assert mine[f"{part}/gain_text"] == pytest.approx(mine[name] - theirs[name])
    gain = whole.metrics["test"]["gain_text"]
    assert gain.low < gain.value < gain.high
    assert {name for name in theirs if name.startswith("test/gain_")} >= {
        "test/gain_image", "test/gain_domain", "test/gain_attributes"
    }  # fmt: skip
    assert "test/gain_text" not in theirs


def test_a_modality_that_is_left_out_is_read_by_no_other(ni_home, tmp_path):
    """Vectors are attributes where there is no `embedding`, but not in what says its gain.

    Here without A/B tests: then all pairs count.
    """
    rng = np.random.default_rng(0)
    clip = rng.normal(size=(400, 3))
    rate = expit(-2 + clip[:, 0])
    frame = pd.DataFrame(
        {
            "id": range(400),
            "clip": list(clip),
            "price": rng.normal(size=400),
            "shown": 2000,
            "clicks": rng.binomial(2000, rate),
        }
    )
    columns = Columns(content_id="id", numeric=("price",), vector=("clip",))
    target = Target(impressions="shown", clicks="clicks")
    write_dataset(tmp_path / "d", Manifest(name="d", columns=columns, target=target), frame)
    model = GaussianProcessConfig(embedding=Vectors(), attributes=OneHotAttributes())
    config = replace(CONFIG, model=model, insights=None)
    store = open_store()

    def accuracy(config: ExperimentConfig) -> dict[str, float]:
        experiment = open_experiment(config, str(tmp_path / "d"))
        run = train(store, experiment, allow_failed_checks=True)
        return figures(store, run.run_id)

    price = replace(config, leave_out=("clip",), model=replace(model, embedding=None))
    both, alone = accuracy(config), accuracy(price)
    name = "test/pairwise_accuracy"
    assert both["test/gain_embedding"] == pytest.approx(both[name] - alone[name])
    assert both["test/gain_embedding"] > 0.3
    assert both["kernel/level"] == 0
    assert "in_domain/gain_embedding" not in both  # it is the whole test part


def test_it_has_no_stages(ni_home, tmp_path):
    """Settings of training are refused rather than ignored, and so is a sweep over them."""
    with pytest.raises(ConfigError, match="gaussian_process is fitted at once"):
        replace(CONFIG, training=TrainingConfig(epochs=3))
    sweep = SweepConfig(
        name="s", experiment=CONFIG, data=str(tmp_path), space="fusion.small", trials=1,
        objective="pairwise_within",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="fitted at once"):
        run_sweep(open_store(), sweep)


@pytest.mark.parametrize("name", ["text_small", "full_small", "text", "full"])
def test_the_shipped_experiments(name):
    """Each is a Gaussian process on middle layers of a text encoder."""
    config = load_experiment(f"ranker.{name}")
    assert isinstance(config.model, GaussianProcessConfig)
    assert len(config.model.text.layers) == 3
    assert set(config.model.parts) == (
        {"image", "text", "domain", "attributes"} if "full" in name else {"text"}
    )

"""Training on train and validation together."""

from __future__ import annotations

import numpy as np
import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import split_dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError
from ni_platform.evaluation import EvaluationConfig
from ni_platform.experiment import train
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.opened import open_experiment
from ni_platform.registry.promotion import promote
from ni_platform.registry.run_evaluation import RunEvaluation
from ni_platform.tracking.run_queries import read_table_artifact
from ni_platform.tracking.store import open_store
from ni_platform.tuning.results.winner_promotion import promote_winner


def test_gates_are_read_before_a_winner_is_trained(ni_home, tmp_path, monkeypatch):
    """What is wrong in `gates.yaml` is told before hours of training: the sweep is not opened."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gates.yaml").write_text("sizes: true")
    with pytest.raises(ConfigError, match=r"gates\.yaml: sizes is not a known key"):
        promote_winner(open_store(), "no such sweep", "planted")


def test_train_and_validation_rows_are_trained_on_and_no_other(ni_home, tmp_path):
    """The model is the one fitted on both parts; neither is evaluated, and the gates know it."""
    make_synthetic(tmp_path / "data", tests=60, domains=4, image_size=32)
    dataset = Dataset.open(tmp_path / "data")
    model = TabularConfig(estimator="linear")
    config = ExperimentConfig(
        name="x",
        model=model,
        train_on_validation=True,
        evaluation=EvaluationConfig(replicates=0, glm=False),
    )
    splits = split_dataset(dataset, config.splits)
    both = np.sort(np.concatenate([splits.rows("train"), splits.rows("validation")]))
    expected = TabularRegressor.fit(model, dataset, both)

    run = train(open_store(), open_experiment(config, dataset), tags={"ni.planted": "yes"})

    recorded = RunEvaluation.load(open_store(), run.run_id)
    assert recorded.run.tags["ni.planted"] == "yes"
    assert recorded.test["prediction"].to_numpy() == pytest.approx(
        expected.predict(dataset.inputs(splits.rows("test")))
    )
    assert "validation" not in run.metrics
    assert not len(read_table_artifact(open_store(), run.run_id, "predictions/validation.parquet"))
    learned = recorded.splits[recorded.splits["part"] == "train"]
    assert sorted(learned["content_id"]) == sorted(dataset.content_id.astype(str).iloc[both])
    gates = {gate.name: gate for gate in promote(open_store(), run.run_id, "planted").gates}
    assert gates["evaluated_on_unseen_test"].passed

"""The parts of an experiment: an empty one is said before anything is trained."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import ray

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.splits import SplitConfig
from ni_platform.errors import DatasetError
from ni_platform.evaluation import (
    EvaluationConfig,
    evaluate_slices,
    outcome_table,
    split_table,
)
from ni_platform.experiment import train
from ni_platform.experiment_config import ExperimentConfig, load_experiment
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.opened import experiment_splits, open_experiment
from ni_platform.scoring import evaluate_model
from ni_platform.tables.paper_table import Column, PaperTable, Row
from ni_platform.tables.run import run_table
from ni_platform.tracking.run_queries import list_runs, read_table_artifact
from ni_platform.tracking.store import open_store
from ni_platform.tuning.config import SweepConfig
from ni_platform.tuning.sweep import run_sweep

CONFIG = ExperimentConfig(
    name="tests.glm",
    model=TabularConfig(estimator="glm"),
    evaluation=EvaluationConfig(replicates=10, glm=False),
)


@pytest.fixture
def data(tmp_path, monkeypatch, empty_database) -> Dataset:
    """The owner's split of 90 A/B tests of two: shown 900 times in train, 500 and 400 in others."""
    monkeypatch.setenv("NI_HOME", str(tmp_path))
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    row = np.arange(180)
    part = np.select([row < 90, row < 120], ["train", "validation"], "test")
    shown = np.select([row < 90, row < 120], [900, 500], 400)
    rng = np.random.default_rng(0)
    contents = pd.DataFrame(
        {
            "id": [f"c{n}" for n in row],
            "test": [f"t{n // 2}" for n in row],
            "headline": [f"word{n} other{n} third{n}" for n in row],
            "site": np.where(row < 150, "a", "b"),
            "price": rng.normal(size=180),
            "part": part,
            "shown": shown,
            "clicked": rng.binomial(shown, 0.2),
        }
    )
    manifest = Manifest(
        name="owner",
        columns=Columns(
            content_id="id", ab_test="test", text=("headline",), domain="site",
            numeric=("price",), split="part",
        ),
        target=Target(impressions="shown", clicks="clicked"),
        assignment="randomised",
        shares="unknown",
    )  # fmt: skip
    return write_dataset(tmp_path / "data", manifest, contents)


def changed(dataset: Dataset, folder, **columns) -> Dataset:
    """The same dataset with other columns, in a folder of its own."""
    return write_dataset(folder, dataset.manifest, dataset.contents.assign(**columns))


@pytest.mark.parametrize(
    ("least", "name", "rows", "most"),
    [(901, "train", 90, 900), (501, "validation", 30, 500), (401, "test", 60, 400)],
)
def test_a_part_that_is_left_out_is_said_before_training(data, least, name, rows, most):
    """The part, what left it out and the value that would do; nothing was started."""
    config = replace(CONFIG, min_impressions=least, train_on_validation=name == "test")
    words = rf"{name} part .* min_impressions={least} .* all {rows} .* more than {most} impressions"
    with pytest.raises(DatasetError, match=words):
        train(open_store(), open_experiment(config, data.root))
    assert list_runs(open_store()).empty


def test_validation_may_be_missing_where_it_is_trained_on(data):
    """With train_on_validation nothing is chosen by it; a sweep needs it all the same."""
    config = replace(CONFIG, train_on_validation=True)
    splits = experiment_splits(config, data)
    assert (len(splits.rows("train")), len(splits.rows("validation"))) == (120, 0)
    assert len(experiment_splits(config, data, chosen_by_validation=True).rows("validation")) == 30
    with pytest.raises(DatasetError, match=r"validation part .* min_impressions=600"):
        experiment_splits(replace(config, min_impressions=600), data, chosen_by_validation=True)


def test_a_share_of_zero(data, tmp_path):
    """Nothing to test on is refused; nothing to validate on only where trials are compared."""
    columns = replace(data.manifest.columns, split=None)
    drawn = Dataset(data.root, replace(data.manifest, columns=columns), data.contents)
    shares = SplitConfig(train=0.9, validation=0.1, test=0)
    with pytest.raises(DatasetError, match=r"test part .* splits.test is 0"):
        experiment_splits(replace(CONFIG, splits=shares), drawn)
    config = replace(CONFIG, splits=SplitConfig(train=0.6, validation=0, test=0.4))
    assert not experiment_splits(config, drawn).has("validation")
    with pytest.raises(DatasetError, match=r"validation part .* splits.validation is 0"):
        experiment_splits(config, drawn, chosen_by_validation=True)


def test_a_part_that_was_never_shown(data, tmp_path):
    """Contents without impressions can be neither learned from nor judged."""
    test = (data.contents["part"] == "test").to_numpy()
    never = changed(
        data, tmp_path / "never", shown=np.where(test, 0, 900), clicked=np.where(test, 0, 5)
    )
    with pytest.raises(DatasetError, match=r"none of its 60 contents .* has an impression"):
        train(open_store(), open_experiment(CONFIG, never.root), allow_failed_checks=True)


@pytest.mark.parametrize("gone", ["in_domain", "out_of_domain"])
def test_half_a_test_part_is_enough(data, tmp_path, gone):
    """A test part of one kind alone, or with a kind that nobody saw, is evaluated as what it is."""
    out_of_domain = (data.contents["site"] == "b").to_numpy()
    test = (data.contents["part"] == "test").to_numpy()
    lost = test & (out_of_domain if gone == "out_of_domain" else ~out_of_domain)
    shown = np.where(lost, 0, data.contents["shown"])
    few = changed(
        data, tmp_path / "few", shown=shown, clicked=np.minimum(data.contents["clicked"], shown)
    )
    splits = experiment_splits(CONFIG, few)
    table = outcome_table(few, split_table(few, splits), np.arange(len(few)))
    metrics = evaluate_slices(table.assign(prediction=0.2), CONFIG.evaluation)
    assert (
        set(metrics)
        == {
            "in_domain": {"validation", "test", "out_of_domain"},
            "out_of_domain": {"validation", "test"},
        }[gone]
    )
    assert metrics["test"]["n_contents"].value == 30


def test_checks_and_evaluation_see_what_training_sees(data, tmp_path):
    """A fault of a content that is left out stops nothing, and it is never predicted again."""
    shown = data.contents["shown"].to_numpy().copy()
    shown[[0, 130]] = 0  # of the train and of the test part
    clicked = np.minimum(data.contents["clicked"], shown)
    faulty = changed(data, tmp_path / "faulty", shown=shown, clicked=clicked)
    run = train(open_store(), open_experiment(replace(CONFIG, min_impressions=1), faulty.root))
    parts = read_table_artifact(open_store(), run.run_id, "splits.parquet")["part"]
    assert np.flatnonzero(parts == "left_out").tolist() == [0, 130]
    again = evaluate_model(open_store(), run.run_id, faulty.root)
    judged = read_table_artifact(open_store(), again.run_id, "predictions/test.parquet")
    assert len(judged) == 59
    assert "c130" not in set(judged["content_id"])


def test_a_table_is_stopped_before_its_first_row(data):
    """The last row's empty part must not be found after hours."""
    rows = tuple(
        Row(label=str(least), config=replace(CONFIG, min_impressions=least)) for least in (0, 450)
    )
    columns = (Column(title="rmse", metric="test/rmse"),)
    table = PaperTable(name="tests.empty", title="t", columns=columns, rows=rows)
    with pytest.raises(DatasetError, match="min_impressions=450"):
        run_table(open_store(), table, data.root, replicates=0)
    assert list_runs(open_store()).empty


def test_a_sweep_without_validation_stops_before_anything_starts(data, tmp_path):
    """Trials are compared on validation, also where the winner will be trained on it."""
    was_there = ray.is_initialized()
    experiment = replace(
        load_experiment("neural_insights.quickstart"), min_impressions=501, train_on_validation=True
    )
    config = SweepConfig(
        name="empty", space="fusion.neural_insights", experiment=experiment, data=data.root,
        trials=2, objective="rmse",
    )  # fmt: skip
    with pytest.raises(DatasetError, match=r"validation part .* min_impressions=501"):
        run_sweep(open_store(), config, storage=str(tmp_path / "sweeps"))
    assert ray.is_initialized() == was_there
    assert list_runs(open_store()).empty

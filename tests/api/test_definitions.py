"""Experiments by name, as configs and as functions of a cell, and changes by keyword."""

from __future__ import annotations

from dataclasses import replace

import pytest

import ni_platform as ni
from ni_platform.api.definitions import experiment_config, source_of_experiment
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import load_experiment
from ni_platform.models.losses import LossConfig
from ni_platform.training.config import TrainingConfig


def mine() -> ni.ExperimentConfig:
    """An experiment of a notebook."""
    return replace(load_experiment("neural_insights.quickstart"), name="notebook.mine")


def test_a_notebook_completes_files_and_their_experiments():
    """`experiments.FILE.FUNCTION` is a config."""
    assert "neural_insights" in dir(ni.experiments)
    assert "quickstart" in dir(ni.experiments.neural_insights)
    config = load_experiment("neural_insights.quickstart")
    assert ni.experiments.neural_insights.quickstart == config
    assert ni.experiments["neural_insights.quickstart"] == config
    assert "baselines.glm" in list(ni.experiments)
    assert ni.spaces.fusion.neural_insights == "fusion.neural_insights"


def test_names_that_are_not_there_are_told_with_the_nearest():
    """As on the command line."""
    with pytest.raises(ConfigError, match=r"did you mean baselines\.glm"):
        _ = ni.experiments.baselines.gml
    with pytest.raises(ConfigError, match="there is no file 'baseline' of experiments"):
        _ = ni.experiments.baseline


def test_experiments_and_spaces_are_shown_as_tables():
    """With what each is."""
    assert "<td>neural_insights.quickstart</td>" in ni.experiments._repr_html_()
    assert set(ni.spaces.frame.columns) == {"name", "summary"}


def test_a_mapping_changes_what_it_names_and_leaves_the_rest():
    """At any depth."""
    base = load_experiment("neural_insights.quickstart")
    changes = {"training": {"epochs": 3, "loss": {"pairwise": 1.0}}, "leave_out": ["price"]}
    config = experiment_config("neural_insights.quickstart", changes)
    expected = replace(base.training, epochs=3, loss=replace(base.training.loss, pairwise=1.0))
    assert config == replace(base, training=expected, leave_out=("price",))


def test_a_config_takes_the_place_of_the_one_before():
    """Its own defaults count, not those of the experiment."""
    training = TrainingConfig(epochs=2, loss=LossConfig(mse=0.0, binomial=1.0))
    config = experiment_config("neural_insights.quickstart", {"training": training})
    assert config.training == training


def test_none_and_an_empty_mapping_switch_a_part_off_and_on():
    """As `--set model.image=null` and `--set model.wording={}` do."""
    changes = {"model": {"image": None, "wording": {}}, "pretraining": {"image": None}}
    config = experiment_config("neural_insights.quickstart", changes)
    assert config.model.image is None
    assert config.model.wording is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trainin": {"epochs": 3}}, "no 'trainin'; did you mean training"),
        ({"training": {"epoch": 3}}, "no 'training.epoch'; did you mean training.epochs"),
        ({"training": {"epochs": "three"}}, "training.epochs does not fit"),
    ],
)
def test_a_change_that_does_not_fit_is_told_by_its_path(changes, words):
    """With the nearest."""
    with pytest.raises(ConfigError, match=words):
        experiment_config("neural_insights.quickstart", changes)


def test_a_function_is_an_experiment_and_its_source_is_known():
    """That of a file of `experiments/` is found by its name, and needs none."""
    assert experiment_config(mine, {}).name == "notebook.mine"
    assert source_of_experiment(mine).startswith("def mine() -> ni.ExperimentConfig:")
    assert source_of_experiment("neural_insights.quickstart") is None
    assert source_of_experiment(mine()) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: 3, "the experiment <lambda> must return an ExperimentConfig, but returned 3"),
        (lambda: 1 / 0, "must not end in an error, but it raised ZeroDivisionError"),
        (lambda x: x, "is called with 0 arguments"),
        (3, "must return an ExperimentConfig, but returned 3"),
    ],
)
def test_what_is_no_experiment_is_one_message(given, words):
    """Whatever the function does."""
    with pytest.raises(ConfigError, match=words):
        experiment_config(given, {})


def test_an_experiment_without_source_is_told_before_it_is_trained(tmp_path):
    """A lambda that returns a config cannot be recorded."""
    with pytest.raises(ConfigError, match="recorded by its source"):
        ni.train(lambda: mine(), tmp_path)

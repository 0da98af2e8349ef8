"""Sweeps in Python: a space of a cell, trials as a frame, going on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import ni_platform as ni
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import load_experiment
from ni_platform.tracking.run_queries import read_artifact
from ni_platform.tuning.results.finding import find_sweep
from tests.api.tables import HEADLINES, import_headlines
from tests.command import in_project

RATES = [1e-4, 1e-2]


def rate(trial) -> dict:
    """A space that reads a value of its notebook."""
    return {"training.learning_rate": trial.suggest_float("rate", *RATES, log=True)}


def text_only() -> ni.ExperimentConfig:
    """What is swept."""
    return load_experiment("neural_insights.quickstart")


CHANGES = {
    "pretraining": {"text": None, "image": None, "domain": None, "attributes": None},
    "training": {"epochs": 1},
    "evaluation": {"replicates": 20},
}


@pytest.fixture(scope="module")
def ads(
    two_cpus: None, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ni.Dataset]:
    """A dataset in a user's folder, which is the current one."""
    with in_project(tmp_path_factory.mktemp("a project"), empty_database) as folder:
        yield import_headlines(HEADLINES, folder / "data/ads")


@pytest.fixture(scope="module")
def sweep(ads) -> ni.Sweep:
    """Two trials of a space of a cell."""
    return ni.sweep(rate, text_only, ads, trials=2, settings={"scheduler": "none"}, **CHANGES)


def test_trials_are_a_frame_with_their_parameters(sweep):
    """Within what the space draws."""
    trials = sweep.trials
    assert trials["status"].tolist() == ["complete", "complete"]
    assert trials["parameter.rate"].between(*RATES).all()
    best = trials.loc[trials["rank"] == 1, "parameter.rate"].item()
    assert sweep.best == {"rate": best}
    assert '<td class="number">1</td>' in sweep._repr_html_()


def test_the_source_of_the_space_is_kept_and_its_name_says_what_was_searched(sweep):
    """In the sweep, which another process goes on with, and in its run."""
    config, run_id = find_sweep(sweep.name).read()
    assert "RATES = [0.0001, 0.01]" in config.space_source
    assert read_artifact(sweep.store, run_id, "space.py").decode() == config.space_source
    assert sweep.name.startswith("rate-quickstart-")


def test_the_same_call_goes_on_and_other_settings_are_another_sweep(sweep, ads):
    """With more trials, the first ones stay."""
    before = sweep.trials
    settings = {"scheduler": "none"}
    more = ni.sweep(rate, text_only, ads, trials=3, settings=settings, **CHANGES)
    assert more.name == sweep.name
    assert more.trials["parameter.rate"].tolist()[:2] == before["parameter.rate"].tolist()
    assert len(ni.resume_sweep(sweep.name).trials) == 3
    other = ni.sweep(rate, text_only, ads, trials=1, settings=settings | {"seed": 1}, **CHANGES)
    assert other.name != sweep.name


def test_the_report_is_a_page(sweep):
    """As the command writes it."""
    assert "<h2>Optimization history</h2>" in sweep.report().html


def test_a_space_without_source_is_told(ads):
    """Before anything is started."""
    with pytest.raises(ConfigError, match="the space is recorded by its source"):
        ni.sweep(lambda trial: {}, text_only, ads, trials=1)
    with pytest.raises(ConfigError, match="there is no sweep 'nothing'"):
        ni.open_sweep("nothing")


def test_a_space_of_a_cell_does_not_go_to_s3(ads):
    """Who goes on with a sweep would run what lies there."""
    with pytest.raises(ConfigError, match=r"nothing that lies in s3://bucket/.* is run"):
        ni.sweep(rate, text_only, ads, trials=1, storage="s3://bucket/sweeps", **CHANGES)

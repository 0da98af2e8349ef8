"""Search spaces: the shipped ones, and what is refused before a sweep starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ni_platform.cli.sweep.run import command as run_command
from ni_platform.cli.sweep.spaces import command as spaces_command
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import load_experiment
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.tuning.spaces import check_space, draw, list_spaces, load_space, trial_config

SHIPPED = [
    ("fusion.neural_insights", "neural_insights.quickstart"),
    ("fusion.neural_insights", "neural_insights.full_small"),
    ("fusion.neural_insights", "neural_insights.full"),
    ("m2fn.full", "m2fn.small"),
    ("m2fn.full", "m2fn.regression"),
    ("m2fn.head", "m2fn.small"),
    ("m2fn.head", "m2fn.regression"),
]

OWN = '''
def rates(trial):
    """One rate."""
    return {"training.learning_rate": trial.suggest_categorical("rate", [0.125])}


def _helper(trial):
    return {}


def typo(trial):
    """A path that no config has, in one of two branches."""
    if trial.suggest_categorical("deep", [False, True]):
        return {"training.learnin_rate": 0.1}
    return {"training.learning_rate": 0.1}


def too_fast(trial):
    """A value that its field refuses."""
    return {"training.learning_rate": trial.suggest_float("rate", -2.0, -1.0)}


def other_rows(trial):
    """Another split for each trial."""
    return {"splits.seed": trial.suggest_int("seed", 0, 9)}


def nothing(trial):
    """No values."""
    return {}
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's project with spaces of its own."""
    (tmp_path / "tune_spaces").mkdir()
    (tmp_path / "tune_spaces" / "planted_spaces.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("space", "experiment"), SHIPPED)
def test_every_shipped_space_fits_its_experiments(space, experiment):
    """All of the trials drawn at random give a config, and vary it."""
    base = load_experiment(experiment)
    check_space(space, base)
    drawn = draw(load_space(space), 64)
    configs = {json.dumps(overrides, sort_keys=True) for _, overrides in drawn}
    assert len(configs) == 64
    config = trial_config(base, drawn[0][1])
    assert (config.splits, config.name) == (base.splits, base.name)


def test_what_the_issue_asks_for_is_varied():
    """Depths and widths, five flags, attention's reading, losses, rates, regularisation."""
    fusion = draw(load_space("fusion.neural_insights"), 64)
    widths = [overrides["model.regression.hidden"] for _, overrides in fusion]
    assert {len(each) for each in widths} == {1, 2, 3, 4}
    for (parameters, _), each in zip(fusion, widths, strict=True):
        assert each == [parameters[f"width_{n}"] for n in range(1, parameters["depth"] + 1)]
        assert ("weight_decay" in parameters) == (parameters["optimizer"] == "adamw")
        assert ("pairwise" in parameters) == parameters["rank_arms"]
    assert {overrides["training.loss.pairwise"] > 0 for _, overrides in fusion} == {True, False}

    m2fn = draw(load_space("m2fn.full"), 64)
    assert all(len(overrides["model.low_level"]) == 5 for _, overrides in m2fn)
    assert len({tuple(overrides["model.low_level"]) for _, overrides in m2fn}) > 20
    readings = {overrides["model.attention"] for _, overrides in m2fn}
    assert readings == {None, "flattened", "per_location"}
    for parameters, overrides in m2fn:
        assert ("low_level_width" in parameters) == any(overrides["model.low_level"])
        assert ("attention_width" in parameters) == (overrides["model.attention"] is not None)
        assert ("high_level_width" in parameters) == overrides["model.high_level"]


def test_drawn_values_are_those_of_the_trials_config():
    """Path by path, on the config that is trained."""
    base = load_experiment("neural_insights.quickstart")
    overrides = {"model.regression.hidden": [64, 128], "training.learning_rate": 0.5}
    config = trial_config(base, overrides)
    assert config.model.regression == MLPConfig(
        **{**vars(base.model.regression), "hidden": (64, 128)}
    )
    assert config.training.learning_rate == 0.5


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("typo", r"the config has no 'training.learnin_rate'; did you mean training.learning_rate"),
        ("typo", r"does not fit the experiment neural_insights.quickstart: .*\{'deep': True\}"),
        ("too_fast", r"training.learning_rate must be positive, .*drawn with \{'rate': -1"),
        (
            "other_rows",
            r"a trial changes model.\* and training.\*, .*: splits.seed is the same for",
        ),
        ("nothing", r"a search space returns config values by path, .* but it returned \{\}"),
    ],
)
def test_what_no_config_takes_is_refused_before_the_sweep(own, space, words):
    """With the parameters that led there."""
    with pytest.raises(ConfigError, match=words):
        check_space(f"planted_spaces.{space}", load_experiment("neural_insights.quickstart"))


@pytest.mark.parametrize("path", ["model.kind", "training.monitor", "name", "evaluation.glm"])
def test_what_trials_have_in_common_is_no_trials_to_change(path):
    """So that they can be compared."""
    with pytest.raises(ConfigError, match=f"{path} is the same for all trials"):
        trial_config(load_experiment("neural_insights.quickstart"), {path: "x"})


def test_a_space_of_another_model_is_refused():
    """M2FN's flags for Neural Insights."""
    with pytest.raises(ConfigError, match=r"m2fn.full does not fit .*has no 'model.low_level'"):
        check_space("m2fn.full", load_experiment("neural_insights.quickstart"))


def test_a_users_own_spaces_stand_beside_the_shipped_ones(own):
    """Those of the folder tune_spaces where the command runs; helpers are no spaces."""
    assert ("planted_spaces.rates", "One rate.") in list_spaces()
    assert "planted_spaces._helper" not in dict(list_spaces())
    assert {space for space, _ in SHIPPED} <= dict(list_spaces()).keys()
    assert draw(load_space("planted_spaces.rates"), 1)[0] == (
        {"rate": 0.125},
        {"training.learning_rate": 0.125},
    )
    with pytest.raises(ConfigError, match=r"no space 'planted_spaces.rate'; did you mean planted"):
        load_space("planted_spaces.rate")
    listed = CliRunner().invoke(spaces_command, catch_exceptions=False)
    assert "planted_spaces.rates" in listed.output


def test_a_dry_run_prints_configs_and_starts_nothing(own):
    """Neither a dataset nor a store is needed."""
    words = ["--experiment", "neural_insights.quickstart", "--data", "none", "--name", "x"]
    words += ["--trials", "5", "--dry-run"]
    result = CliRunner().invoke(
        run_command, ["planted_spaces.rates", *words], catch_exceptions=False
    )
    assert result.output.count("training.learning_rate = 0.125") == 3
    assert "nothing was trained" in result.output
    assert not (own / ".ni").exists()

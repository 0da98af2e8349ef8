"""Search spaces: the shipped ones, and what is refused before a sweep starts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from ni_platform.cli.sweep.run import command as run_command
from ni_platform.cli.sweep.spaces import command as spaces_command
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import load_experiment
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.tuning.search.spaces import (
    check_space,
    draw,
    list_spaces,
    load_space,
    trial_config,
)

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


RATE = '"training.learning_rate": trial.suggest_float("lr", 1e-4, 1e-2)'
RAISES = {
    'c = ["a", "b"] if trial.suggest_categorical("kind", [True, False]) else ["a"]\n'
    '    trial.suggest_categorical("opt", c)  # here': (
        r"keeps its distribution, that is its range or choices, .*'opt' was Categorical.* and is "
        r"now Categorical.*; where it depends on another parameter, put that one's value into"
    ),
    'high = trial.suggest_categorical("high", [0.5, 0.9])\n'
    '    trial.suggest_float("x", 0.0, high)  # here': "keeps its distribution.* 'x' was Float",
    'trial.suggest_float("lr", 0.1, 1)\n    trial.suggest_int("lr", 0, 1)  # here': (
        "'lr' was FloatDistribution.* in the same trial is IntDistribution.* a name of its own"
    ),
    'trial.suggest_float("lr", 0.1, 1)\n    trial.suggest_float("lr", 0.1, 0.2)  # here': (
        "'lr' was FloatDistribution.* in the same trial is FloatDistribution"
    ),
    'trial.suggest_float("x", 2.0, 1.0)  # here': "'x' cannot be drawn: .*low=2.0, high=1.0",
    'trial.suggest_float("x", 0.0, 1.0, log=True)  # here': "'x' cannot be drawn: .*low",
    'trial.suggest_float("x", 0.1, 1.0, step=0.1, log=True)  # here': "'x' cannot be drawn: .*step",
    'trial.suggest_int("x", 0, 10, step=0)  # here': "'x' cannot be drawn: .*step",
    'trial.suggest_int("x", 0, 10, step=-2)  # here': "'x' cannot be drawn: .*step",
    'trial.suggest_int("x", 0.5, 3.7)  # here': "'x' cannot be drawn: `low` must be a whole number",
    'trial.suggest_float("x", 0.0, float("nan"))  # here': "`high` must be a finite number",
    'trial.suggest_float("x", -1e308, 1e308)  # here': "`high - low` must be a finite number",
    'trial.suggest_float("x", "a", 1.0)  # here': "'x' cannot be drawn: must be real number",
    'trial.suggest_categorical("x", [])  # here': "'x' cannot be drawn",
    'trial.suggest_categorical("x", "adam")  # here': "choices are a list, but got the text 'adam'",
    'trial.suggest_categorical("x", [(1, 2)])  # here': r"one is \(1, 2\); choose by a name",
    'trial.suggest_categorical("x", [object()])  # here': "one is <object object",
    'trial.suggest_categorical("x", [float("nan")])  # here': "one is nan",
    "trial.suggest_float(3, 0.0, 1.0)  # here": "a parameter's name is a text, but got 3",
    'trial.set_user_attr("ni.trial", 9)  # here': "does not begin with 'ni.'",
    'trial.set_user_attr("note", {1, 2})  # here': r"'note' = \{1, 2\}",
    "1 / (trial.number - 40)  # here": "must not end in an error, but it raised ZeroDivisionError",
    "raise SystemExit  # here": "it raised SystemExit",
}
RETURNED = {
    "return None": "but it returned None",
    "yield": "but it returned <generator",
    "return [1]": r"but it returned \[1\]",
    "return {3: 1}": "values by path, which is a text, but one is 3",
    "return {'training.epochs': {1, 2}}": r"training.epochs is \{1, 2\}",
    "return {'training.warmup': float('nan')}": "training.warmup is nan",
    "return {'x%': trial.suggest_float('lr', 0.1, 1)}": "MLflow takes names of .* but got 'x%'",
    "trial.suggest_float('training/rate %é', 0.1, 1)": "but got 'training/rate %é'",
    "trial.suggest_float('a//b', 0.1, 1)": "but got 'a//b'",
    "trial.suggest_float('../a', 0.1, 1)": "but got '../a'",
    "trial.suggest_float('', 0.1, 1)": "but got ''",
    "trial.suggest_float('a' + chr(10), 0.1, 1)": r"but got 'a\\n'",
    "trial.suggest_float('x' * 251, 0.1, 1)": "at most 250 letters",
    "trial.suggest_float('LR', 0.1, 1)": "upper and lower case alone, 'LR' and 'lr'",
    "trial.suggest_float('training.learning_rate', 2, 3)": (
        "a parameter 'training.learning_rate', drawn as 2.*same name, .*give the parameter another"
    ),
}


def refused(own: Path, body: str, signature: str = "def bad(trial):") -> str:
    """What is said of a space that is made of `body` before a sweep; returns it."""
    text = f"{signature}\n    {body}\n"
    if "return" not in body:
        text += f"    return {{{RATE}}}\n"
    (own / "tune_spaces/odd_spaces.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        check_space("odd_spaces.bad", load_experiment("neural_insights.quickstart"))
    lines = text.splitlines()
    line = next(n for n, line in enumerate(lines, start=1) if line.endswith("# here"))
    assert f"(tune_spaces/odd_spaces.py:{line})" in str(caught.value).replace(
        f"at tune_spaces/odd_spaces.py:{line};", f"(tune_spaces/odd_spaces.py:{line})"
    )
    assert "the space odd_spaces.bad" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("body", RAISES)
def test_what_a_search_cannot_draw_is_told_with_the_line(own, body):
    """Space, parameter, rule and the user's own line, before anything is started."""
    assert re.search(RAISES[body], refused(own, body))


@pytest.mark.parametrize("body", RETURNED)
def test_what_cannot_be_recorded_is_refused_before_the_first_trial(own, body):
    """Values that JSON does not keep, and names that MLflow refuses or takes for one another."""
    assert re.search(RETURNED[body], refused(own, body, "def bad(trial):  # here"))


def test_ctrl_c_in_a_space_stays_an_interrupt(own):
    """It is not the space that failed."""
    (own / "tune_spaces/odd_spaces.py").write_text("def bad(trial):\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        draw(load_space("odd_spaces.bad"), 1)


def test_values_that_log_and_mlflow_keep_are_drawn(own):
    """Texts, numbers, nothing, lists; a parameter may have its path for a name."""
    (own / "tune_spaces/odd_spaces.py").write_text(
        "def good(trial):\n"
        "    trial.set_user_attr('why', ['a', 1])\n"
        "    trial.suggest_categorical('mixed é', ['x', 1, 0.5, None, True, [1, 2]])\n"
        "    rate = trial.suggest_float('training.learning_rate', 1e-4, 1e-2)\n"
        "    return {'training.learning_rate': rate}\n"
    )
    check_space("odd_spaces.good", load_experiment("neural_insights.quickstart"))
    ((parameters, overrides),) = draw(load_space("odd_spaces.good"), 1)
    assert parameters["mixed é"] in ["x", 1, 0.5, None, True, [1, 2]]
    assert overrides == {"training.learning_rate": parameters["training.learning_rate"]}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seed", "-1"], "^seed must be a whole number from 0 to 4294967295, but is -1"),
        (["--seed", str(2**32)], "^seed must be .* from 0 to 4294967295, but is 4294967296"),
        (["--trials", "0"], "trials must be at least 1 .* is 0"),
        (["--keep", "-1"], "keep must be at least 0"),
        (["--cpus-per-trial", "nan"], "cpus_per_trial must be at least 0 and finite, but is nan"),
        (["--gpus-per-trial", "inf"], "gpus_per_trial must be at least 0 and finite, but is inf"),
        (["--cpus-per-trial", "1.5"], "a part of one or a whole number, .* 1.5"),
        (["--cpus-per-trial", "0"], "must ask for something, .* are 0"),
        (["--objective", "rsme"], r"objective must be one of loss, .*'rsme' \(did you mean 'rmse'"),
        (["--name", "x" * 201], "at most 200 characters"),
        (["--set", "training.learning_rate=Infinity"], "learning_rate must be a finite number"),
        (
            ["--set", "training.seed=-1"],
            "training.seed must be a whole number from 0 to 4294967295, but is -1",
        ),
    ],
)
def test_options_that_make_no_sweep_are_told_as_what_they_are(own, options, words):
    """Rule, value and remedy; the space is not to blame."""
    given = ["--experiment", "neural_insights.quickstart", "--data", "none", "--name", "x"]
    given += ["--trials", "5", "--dry-run", *options]
    error = CliRunner().invoke(run_command, ["planted_spaces.rates", *given]).exception
    assert isinstance(error, ConfigError)
    assert re.search(words, str(error))
    assert "space" not in str(error)

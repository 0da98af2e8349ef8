"""Suggestions, and the study that keeps what they gave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ni_platform.errors import ConfigError
from ni_platform.tuning.search.suggestions import Search


def space(trial):
    """A switch that opens a branch."""
    chosen = {"rate": trial.suggest_float("rate", 1e-5, 1e-1, log=True)}
    chosen["width"] = trial.suggest_int("width", 8, 256, log=True)
    if trial.suggest_categorical("fusion", ["none", "low", "high"]) != "none":
        chosen["dropout"] = trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
        chosen["depth"] = trial.suggest_int("depth", 1, 4)
    return chosen


def badness(parameters):
    """0 at rate 1e-3, width 64, fusion low, dropout 0.2, depth 2."""
    far = abs(np.log10(parameters["rate"]) + 3) + abs(np.log2(parameters["width"]) - 6)
    if parameters["fusion"] == "none":
        return far + 3
    far += 2 * (parameters["fusion"] == "high")
    return far + 5 * abs(parameters["dropout"] - 0.2) + abs(parameters["depth"] - 2)


def opened(folder, **settings):
    """A search on the folder's study."""
    given = {"space": space, "name": "sweep", "lower_is_better": True} | settings
    return Search(given.pop("space"), study=folder / "study.journal", **given)


def loaded(folder):
    """The study as anyone with Optuna reads it."""
    backend = JournalFileBackend(str(folder / "study.journal"))
    return optuna.load_study(study_name="sweep", storage=JournalStorage(backend))


def run(search, trials, sign=1.0):
    """Ask for and complete trials; return their values."""
    values = []
    for _ in range(trials):
        suggestion = search.ask()
        values.append(sign * badness(suggestion.parameters))
        search.tell(suggestion.number, state="complete", value=values[-1])
    return values


def reopened(folder, ended, **settings):
    """A search made again, which has so many ended trials."""
    search = opened(folder, begun=ended, **settings)
    assert [search.again(number, {}) for number in range(ended)] == [None] * ended
    return search


def test_an_ended_trial_stands_in_the_study_with_all_that_was_told(tmp_path):
    """Read by Optuna alone, in the order of ends."""
    search = opened(tmp_path)
    first, second, third = (search.ask() for _ in range(3))
    search.tell(2, state="failed", curve=[9.0], attributes={"reason": "out of memory"})
    search.tell(0, state="complete", value=0.5, curve=[0.9, 0.5], attributes={"node": "a"})
    search.tell(1, state="pruned", curve=[0.8, 0.7])
    search.close()

    failed, complete, pruned = loaded(tmp_path).trials
    assert [t.state for t in (failed, complete, pruned)] == [
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.PRUNED,
    ]
    assert [t.value for t in (failed, complete, pruned)] == [None, 0.5, 0.7]
    assert failed.user_attrs == {"trial": 2, "reason": "out of memory"}
    assert complete.user_attrs == {"trial": 0, "node": "a"}
    assert complete.intermediate_values == {1: 0.9, 2: 0.5}
    assert pruned.intermediate_values == {1: 0.8, 2: 0.7}
    for trial, suggestion in ((complete, first), (pruned, second), (failed, third)):
        assert trial.params == suggestion.parameters
        assert trial.distributions == suggestion.distributions
        assert trial.datetime_start <= trial.datetime_complete
    assert loaded(tmp_path).best_trial.user_attrs["trial"] == 0
    assert complete.distributions["width"] == IntDistribution(8, 256, log=True)


def test_the_study_knows_its_direction_and_best_trial(tmp_path):
    """A study that maximises."""
    search = opened(tmp_path, lower_is_better=False)
    values = run(search, 30, sign=-1.0)
    search.close()
    study = loaded(tmp_path)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.best_value == max(values)
    assert study.best_trial.user_attrs["trial"] == int(np.argmax(values))


def test_optuna_goes_on_with_the_study(tmp_path):
    """Nothing in the file is ours alone: Optuna's own sampler adds trials to it."""
    run(opened(tmp_path), 15)
    study = loaded(tmp_path)
    study.optimize(lambda trial: space(trial)["rate"], n_trials=3)
    assert len(study.trials) == 18
    assert reopened(tmp_path, 15).ask().number == 15


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_search_finds_the_planted_best(tmp_path, sign):
    """Its 200 trials beat three times as many random ones, minimising or maximising."""
    sampled = run(opened(tmp_path / "tpe", lower_is_better=sign > 0), 200, sign)
    drawn = run(opened(tmp_path / "random", sampler="random"), 600)
    assert min(sign * value for value in sampled) < min(drawn)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "qmc", "gp"])
def test_suggestions_stay_in_the_space(tmp_path, sampler):
    """Parameters belong to the branch, and values to their distributions, with their types."""
    search = opened(tmp_path, sampler=sampler)
    for number in range(60 if sampler == "tpe" else 15):
        suggestion = search.ask()
        parameters = suggestion.parameters
        assert suggestion.number == number
        branch = {"dropout", "depth"} if parameters["fusion"] != "none" else set()
        assert set(parameters) == {"rate", "width", "fusion"} | branch
        assert 1e-5 <= parameters["rate"] <= 1e-1
        assert parameters["width"] in range(8, 257)
        if branch:
            assert parameters["dropout"] in (0.0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5)
            assert parameters["depth"] in range(1, 5)
        for name, value in parameters.items():
            assert isinstance(value, {"fusion": str, "width": int, "depth": int}.get(name, float))
        assert suggestion.overrides == {k: v for k, v in parameters.items() if k != "fusion"}
        search.tell(number, state="complete", value=badness(parameters))


OWN = """
import optuna


def planted(seed):
    return optuna.samplers.PartialFixedSampler(
        {"width": 77}, optuna.samplers.RandomSampler(seed=seed)
    )


def none(seed):
    return seed


def broken(seed):
    return 1 / 0
"""


def test_a_sampler_of_the_users_is_a_function_of_tune_spaces(tmp_path, monkeypatch):
    """Called with a seed; what it raises or returns is told with the line."""
    (tmp_path / "tune_spaces").mkdir()
    (tmp_path / "tune_spaces" / "planted_samplers.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    search = opened(tmp_path, sampler="planted_samplers.planted")
    assert [search.ask().parameters["width"] for _ in range(3)] == [77] * 3
    for sampler, words in (
        ("planted_samplers.broken", "ZeroDivisionError.*planted_samplers.py:16"),
        ("planted_samplers.none", "must return a sampler of Optuna's, but returned int"),
        ("planted_samplers.planned", "planted_samplers.planned"),
        ("annealing", "must be one of tpe, random, .* or FILE.FUNCTION"),
    ):
        with pytest.raises(ConfigError, match=words):
            opened(tmp_path / sampler, sampler=sampler)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_complete_trial_without_a_finite_value_has_failed(tmp_path, value):
    """And the study says why."""
    search = opened(tmp_path)
    search.ask()
    search.tell(0, state="complete", value=value, curve=[1.0, float("nan")])
    (trial,) = loaded(tmp_path).trials
    assert (trial.state, trial.value) == (TrialState.FAIL, None)
    assert trial.user_attrs["reason"] == f"the objective is {value}"


def test_trials_that_run_at_the_same_time_differ(tmp_path):
    """Forty trials are asked for before one is told of."""
    search = opened(tmp_path)
    run(search, 40)
    asked = [search.ask().parameters for _ in range(40)]
    assert len({json.dumps(parameters, sort_keys=True) for parameters in asked}) == 40


def test_a_search_is_repeated_by_its_seed(tmp_path):
    """The same seed gives the same trials, another one others."""
    first = run(opened(tmp_path / "a", seed=3), 60)
    assert run(opened(tmp_path / "b", seed=3), 60) == first
    assert run(opened(tmp_path / "c", seed=4), 60) != first


def test_a_search_made_again_goes_on_as_if_it_had_not_ended(tmp_path):
    """What is suggested does not depend on when the trials were read."""
    whole = run(opened(tmp_path / "whole"), 60)
    first = opened(tmp_path / "parts")
    parts = run(first, 40)
    first.close()
    parts += run(reopened(tmp_path / "parts", 40), 20)

    assert parts == whole
    trials = loaded(tmp_path / "parts").trials
    assert [t.user_attrs["trial"] for t in trials] == list(range(60))
    assert [t.value for t in trials] == whole


def test_a_trial_that_had_not_ended_is_given_again(tmp_path):
    """Its parameters are enough to have overrides and distributions again."""
    search = opened(tmp_path)
    run(search, 20)
    suggestion = search.ask()
    search.close()

    repeated = reopened(tmp_path, 20)
    same = repeated.again(20, suggestion.parameters)
    assert same == suggestion
    repeated.tell(20, state="complete", value=1.0)
    assert [t.user_attrs["trial"] for t in loaded(tmp_path).trials] == list(range(21))
    with pytest.raises(ValueError, match="in the order of their numbers, but got 23"):
        repeated.again(23, suggestion.parameters)


@pytest.mark.parametrize("wrong", [{"width": 512}, {"width": "64"}, {"fusion": "early"}])
def test_a_trial_of_another_space_is_refused(tmp_path, wrong):
    """A value that the space does not have, or a parameter that the trial lacks."""
    parameters = {"rate": 1e-3, "width": 64, "fusion": "none"}
    with pytest.raises(ConfigError, match="another name"):
        opened(tmp_path).again(0, parameters | wrong)


def test_a_trial_that_lacks_a_parameter_is_refused(tmp_path):
    """A branch that it did not enter before."""
    parameters = {"rate": 1e-3, "width": 64, "fusion": "low"}
    with pytest.raises(ConfigError, match="another name"):
        opened(tmp_path).again(0, parameters)


def test_a_trial_is_told_of_once(tmp_path):
    """An end is not taken twice."""
    search = opened(tmp_path)
    search.ask()
    search.tell(0, state="failed")
    with pytest.raises(KeyError):
        search.tell(0, state="failed")


@pytest.mark.parametrize("torn", [b'{"op_code":4,"wor', b"\xff" * 100_000, b"{}"])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    """What stood before it stays byte by byte."""
    run(opened(tmp_path), 12)
    whole = (tmp_path / "study.journal").read_bytes()
    (tmp_path / "study.journal").write_bytes(whole + torn)

    run(reopened(tmp_path, 12), 3)
    assert (tmp_path / "study.journal").read_bytes().startswith(whole)
    assert [t.user_attrs["trial"] for t in loaded(tmp_path).trials] == list(range(15))


def test_a_file_torn_in_its_first_line_begins_anew(tmp_path):
    """Killed before the study was there."""
    (tmp_path / "study.journal").write_bytes(b'{"op_code":0,"study_na')
    run(opened(tmp_path), 3)
    assert len(loaded(tmp_path).trials) == 3


KILLED = """
import sys
from pathlib import Path
from tests.tuning.test_search import badness, loaded, opened

folder = Path(sys.argv[1])
ended = len(loaded(folder).trials) if (folder / "study.journal").exists() else 0
search = opened(folder, begun=ended)
for number in range(ended):
    search.again(number, {})
while True:
    suggestion = search.ask()
    search.tell(suggestion.number, state="complete", value=badness(suggestion.parameters))
    print(suggestion.number, flush=True)
"""


def test_a_killed_process_loses_and_doubles_nothing(tmp_path):
    """Three times SIGKILL at some moment; each time another process goes on."""
    told = -1
    for trials in (7, 13, 5):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        told = [int(process.stdout.readline()) for _ in range(trials)][-1]
        os.kill(process.pid, signal.SIGKILL)
        told = int(([told, *process.stdout.read().split()])[-1])
        process.wait()
        opened(tmp_path).close()  # cuts off what the kill tore
        ended = len(loaded(tmp_path).trials)
        assert told + 1 <= ended <= told + 2  # written, but not yet printed
    numbers = [t.user_attrs["trial"] for t in loaded(tmp_path).trials]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 25


def test_a_file_holds_one_study(tmp_path):
    """Another study, direction, kind of file or writer is refused."""
    search = opened(tmp_path)
    with pytest.raises(ConfigError, match="open"):
        opened(tmp_path)
    search.close()
    with pytest.raises(ConfigError, match="holds 'sweep', not 'other'"):
        opened(tmp_path, name="other")
    with pytest.raises(ConfigError, match="keeps its direction"):
        opened(tmp_path, lower_is_better=False)
    (tmp_path / "study.journal").write_text("trial,value\n0,1.0\n")
    with pytest.raises(ConfigError, match="begins with the line"):
        opened(tmp_path)


def test_a_space_may_use_all_that_a_trial_offers(tmp_path):
    """Notes, a name asked twice, parameters with one value, steps."""

    def odd(trial):
        trial.set_user_attr("note", trial.number)
        same = trial.suggest_float("x", 1.0, 1.0), trial.suggest_float("x", 1.0, 1.0)
        only = trial.suggest_int("one", 5, 5), trial.suggest_categorical("c", [None])
        return {"x": same, "only": only, "step": trial.suggest_int("step", 0, 100, step=25)}

    search = opened(tmp_path, space=odd)
    for number in range(30):
        suggestion = search.ask()
        assert suggestion.overrides["x"] == (1.0, 1.0)
        assert suggestion.overrides["only"] == (5, None)
        assert suggestion.overrides["step"] in (0, 25, 50, 75, 100)
        search.tell(number, state="complete", value=float(suggestion.overrides["step"]))
    assert loaded(tmp_path).trials[3].user_attrs == {"note": 3, "trial": 3}
    assert loaded(tmp_path).trials[3].distributions == {
        "x": FloatDistribution(1.0, 1.0),
        "one": IntDistribution(5, 5),
        "c": CategoricalDistribution([None]),
        "step": IntDistribution(0, 100, step=25),
    }

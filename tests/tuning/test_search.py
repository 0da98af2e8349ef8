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
from ni_platform.tuning.search import Search


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


def run(search, numbers, sign=1.0):
    """Ask for and complete trials; return their values."""
    values = []
    for number in numbers:
        values.append(sign * badness(search.ask(number).parameters))
        search.tell(number, state="complete", value=values[-1])
    return values


def test_an_ended_trial_stands_in_the_study_with_all_that_was_told(tmp_path):
    """Read by Optuna alone, in the order of ends."""
    search = opened(tmp_path)
    first, second, third = (search.ask(n) for n in (4, 5, 6))
    search.tell(6, state="failed", curve=[9.0], attributes={"reason": "out of memory"})
    search.tell(4, state="complete", value=0.5, curve=[0.9, 0.5], attributes={"node": "a"})
    search.tell(5, state="pruned", curve=[0.8, 0.7])
    search.close()

    failed, complete, pruned = loaded(tmp_path).trials
    assert [t.state for t in (failed, complete, pruned)] == [
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.PRUNED,
    ]
    assert [t.value for t in (failed, complete, pruned)] == [None, 0.5, 0.7]
    assert failed.user_attrs == {"trial": 6, "reason": "out of memory"}
    assert complete.user_attrs == {"trial": 4, "node": "a"}
    assert complete.intermediate_values == {1: 0.9, 2: 0.5}
    assert pruned.intermediate_values == {1: 0.8, 2: 0.7}
    for trial, suggestion in ((complete, first), (pruned, second), (failed, third)):
        assert trial.params == suggestion.parameters
        assert trial.distributions == suggestion.distributions
        assert trial.datetime_start == suggestion.asked_at
        assert trial.datetime_start <= trial.datetime_complete
    assert loaded(tmp_path).best_trial.user_attrs["trial"] == 4
    assert complete.distributions["width"] == IntDistribution(8, 256, log=True)


def test_the_study_knows_its_direction_and_best_trial(tmp_path):
    """A study that maximises."""
    search = opened(tmp_path, lower_is_better=False)
    values = run(search, range(30), sign=-1.0)
    search.close()
    study = loaded(tmp_path)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.best_value == max(values)
    assert study.best_trial.user_attrs["trial"] == int(np.argmax(values))


def test_optuna_goes_on_with_the_study(tmp_path):
    """Nothing in the file is ours alone: Optuna's own sampler adds trials to it."""
    run(opened(tmp_path), range(15))
    study = loaded(tmp_path)
    study.optimize(lambda trial: space(trial)["rate"], n_trials=3)
    assert len(study.trials) == 18
    assert opened(tmp_path).ended == set(range(15))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_search_finds_the_planted_best(tmp_path, sign):
    """Its 200 trials beat three times as many random ones, minimising or maximising."""
    sampled = run(opened(tmp_path / "tpe", lower_is_better=sign > 0), range(200), sign)
    drawn = run(opened(tmp_path / "random", sampler="random"), range(600))
    assert min(sign * value for value in sampled) < min(drawn)


def test_suggestions_stay_in_the_space(tmp_path):
    """Parameters belong to the branch, and values to their distributions, with their types."""
    search = opened(tmp_path, history=250)
    for number in range(400):
        suggestion = search.ask(number)
        parameters = suggestion.parameters
        branch = {"dropout", "depth"} if parameters["fusion"] != "none" else set()
        assert set(parameters) == {"rate", "width", "fusion"} | branch
        for name, value in parameters.items():
            distribution = suggestion.distributions[name]
            assert distribution._contains(distribution.to_internal_repr(value))
            assert isinstance(value, {"fusion": str, "width": int, "depth": int}.get(name, float))
        assert suggestion.overrides == {k: v for k, v in parameters.items() if k != "fusion"}
        search.tell(number, state="complete", value=badness(parameters))


def test_memory_is_bounded(tmp_path):
    """More trials than the history holds."""
    search = opened(tmp_path, history=250)
    run(search, range(600))
    assert len(search._history.numbers) == 250
    assert len(search._history._rows) <= 512  # the next power of two


def test_where_trials_fail_the_search_goes_less_often(tmp_path):
    """The best values lie at the edge of a failing half, into which Optuna's TPE is drawn."""

    def line(trial):
        return {"x": trial.suggest_float("x", 0, 1), "y": trial.suggest_float("y", 0, 1)}

    def failures(search):
        count = 0
        for number in range(150):
            x = search.ask(number).parameters["x"]
            count += x > 0.5
            state, value = ("failed", None) if x > 0.5 else ("complete", -x)
            search.tell(number, state=state, value=value)
        return count

    def optunas_failures(seed):
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        count = 0
        for _ in range(150):
            trial = study.ask()
            x = line(trial)["x"]
            count += x > 0.5
            study.tell(trial, None if x > 0.5 else -x, TrialState.FAIL if x > 0.5 else None)
        return count

    ours = [failures(opened(tmp_path / str(seed), space=line, seed=seed)) for seed in range(3)]
    theirs = [optunas_failures(seed) for seed in range(3)]
    assert sum(ours) < 0.8 * sum(theirs)


def test_only_failed_trials_teach_nothing_good(tmp_path):
    """None of them is ever among the best."""
    search = opened(tmp_path)
    for number in range(30):
        search.ask(number)
        search.tell(number, state="failed")
    assert search._history.judged == 0
    assert len(search._history.split(25)[0]) == 0


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_complete_trial_without_a_finite_value_has_failed(tmp_path, value):
    """And the study says why."""
    search = opened(tmp_path)
    search.ask(0)
    search.tell(0, state="complete", value=value, curve=[1.0, float("nan")])
    (trial,) = loaded(tmp_path).trials
    assert (trial.state, trial.value) == (TrialState.FAIL, None)
    assert trial.user_attrs["reason"] == f"the objective is {value}"


def test_trials_that_run_at_the_same_time_differ(tmp_path):
    """Forty trials are asked for before one is told of."""
    search = opened(tmp_path)
    run(search, range(40))
    asked = [search.ask(number).parameters for number in range(40, 80)]
    assert len({json.dumps(parameters, sort_keys=True) for parameters in asked}) == 40


def test_a_search_is_repeated_by_its_seed(tmp_path):
    """The same seed gives the same trials, another one others."""
    first = run(opened(tmp_path / "a", seed=3), range(60))
    assert run(opened(tmp_path / "b", seed=3), range(60)) == first
    assert run(opened(tmp_path / "c", seed=4), range(60)) != first


def test_a_search_made_again_goes_on_as_if_it_had_not_ended(tmp_path):
    """Also beyond the size of its history: what is kept does not depend on when it is read."""
    whole = run(opened(tmp_path / "whole", history=250), range(400))
    parts = run(opened(tmp_path / "parts", history=250), range(300))
    again = opened(tmp_path / "parts", history=250)
    assert again.ended == set(range(300))
    parts += run(again, range(300, 400))

    assert parts == whole
    trials = loaded(tmp_path / "parts").trials
    assert [t.user_attrs["trial"] for t in trials] == list(range(400))
    assert [t.value for t in trials] == whole


def test_a_trial_that_had_not_ended_is_given_again(tmp_path):
    """Its parameters are enough to have overrides and distributions again."""
    search = opened(tmp_path)
    run(search, range(20))
    suggestion = search.ask(20)
    search.close()

    repeated = opened(tmp_path)
    same = repeated.again(20, suggestion.parameters)
    assert same.parameters == suggestion.parameters
    assert same.overrides == suggestion.overrides
    assert same.distributions == suggestion.distributions
    repeated.tell(20, state="complete", value=1.0)
    assert [t.user_attrs["trial"] for t in loaded(tmp_path).trials] == list(range(21))


def test_a_trial_of_another_space_is_refused(tmp_path):
    """A value that the space does not have, or a parameter that the trial lacks."""
    search = opened(tmp_path)
    parameters = {"rate": 1e-3, "width": 64, "fusion": "none"}
    for wrong in ({"width": 512}, {"width": "64"}, {"fusion": "early"}, {"fusion": "low"}):
        with pytest.raises(ConfigError, match="another name"):
            search.again(0, parameters | wrong)
    assert search.again(0, parameters).parameters == parameters


def test_a_trial_is_suggested_and_told_of_once(tmp_path):
    """Neither a number nor an end is taken twice."""
    search = opened(tmp_path)
    search.ask(0)
    with pytest.raises(ValueError, match="suggested once"):
        search.ask(0)
    search.tell(0, state="failed")
    with pytest.raises(KeyError):
        search.tell(0, state="failed")
    with pytest.raises(ValueError, match="suggested once"):
        search.ask(0)


@pytest.mark.parametrize("torn", [b'{"op_code":4,"wor', b"\xff" * 100_000, b"{}"])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    """What stood before it stays byte by byte."""
    run(opened(tmp_path), range(12))
    whole = (tmp_path / "study.journal").read_bytes()
    (tmp_path / "study.journal").write_bytes(whole + torn)

    search = opened(tmp_path)
    assert search.ended == set(range(12))
    run(search, range(12, 15))
    assert (tmp_path / "study.journal").read_bytes().startswith(whole)
    assert [t.user_attrs["trial"] for t in loaded(tmp_path).trials] == list(range(15))


def test_a_file_torn_in_its_first_line_begins_anew(tmp_path):
    """Killed before the study was there."""
    (tmp_path / "study.journal").write_bytes(b'{"op_code":0,"study_na')
    run(opened(tmp_path), range(3))
    assert len(loaded(tmp_path).trials) == 3


KILLED = """
import sys
from pathlib import Path
from tests.tuning.test_search import badness, opened

search = opened(Path(sys.argv[1]))
number = max(search.ended, default=-1)
while True:
    number += 1
    value = badness(search.ask(number).parameters)
    search.tell(number, state="complete", value=value)
    print(number, flush=True)
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
        search = opened(tmp_path)
        assert search.ended >= set(range(told + 1))
        assert len(search.ended) <= told + 2  # written, but not yet printed
        search.close()
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


def test_a_history_that_is_too_small_is_refused(tmp_path):
    """It could not hold the best and ten times as many."""
    with pytest.raises(ConfigError, match="at least 250"):
        opened(tmp_path, history=100)


def test_a_space_may_use_all_that_a_trial_offers(tmp_path):
    """Notes, a name asked twice, parameters with one value, steps."""

    def odd(trial):
        trial.set_user_attr("note", trial.number)
        same = trial.suggest_float("x", 1.0, 1.0), trial.suggest_float("x", 1.0, 1.0)
        only = trial.suggest_int("one", 5, 5), trial.suggest_categorical("c", [None])
        return {"x": same, "only": only, "step": trial.suggest_int("step", 0, 100, step=25)}

    search = opened(tmp_path, space=odd)
    for number in range(30):
        suggestion = search.ask(number)
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

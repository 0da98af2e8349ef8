"""What a search suggests, asked and told as a keeper does it."""

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

from ni_platform.errors import ConfigError
from ni_platform.tuning.files.trial_log import TrialLog
from ni_platform.tuning.search.samplers import load_sampler
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


class Sweep:
    """A log in a folder and a search on it."""

    def __init__(self, folder, *, space=space, sampler="tpe", seed=0, lower_is_better=True):
        folder.mkdir(parents=True, exist_ok=True)
        self.log = TrialLog(folder / "study.log", name="sweep", lower_is_better=lower_is_better)
        self.study = self.log.study
        self.study.sampler = load_sampler(sampler)(seed, len(self.study.trials))
        self.search = Search(space, self.study)

    def tell(self, number, value):
        """Begin a suggested trial and complete it after one epoch."""
        self.log.begin(number)
        self.log.epoch(number, {}, value, 1)
        self.log.end(number, "complete")

    def again(self, number):
        """A trial that was suggested before."""
        return self.search.again(number, self.log.trial_id(number))

    def run(self, trials, sign=1.0):
        """Ask for and complete trials; return their values."""
        values = []
        for _ in range(trials):
            suggestion = self.search.ask()
            values.append(sign * badness(suggestion.parameters))
            self.tell(suggestion.number, values[-1])
        return values


def loaded(folder):
    """The study as anyone with Optuna reads it."""
    backend = JournalFileBackend(str(folder / "study.log"))
    return optuna.load_study(study_name="sweep", storage=JournalStorage(backend))


def test_a_suggestion_stands_in_the_study(tmp_path):
    """With its values, their distributions and what they mean, while it runs and afterwards."""
    sweep = Sweep(tmp_path)
    suggestion = sweep.search.ask()
    for _ in range(2):
        (trial,) = loaded(tmp_path).trials
        assert trial.params == suggestion.parameters
        assert trial.distributions["width"] == IntDistribution(8, 256, log=True)
        assert trial.user_attrs["ni.overrides"] == suggestion.overrides
        if not trial.state.is_finished():
            sweep.tell(0, 1.0)


def test_optuna_goes_on_with_the_study(tmp_path):
    """Nothing in the file is ours alone: Optuna's own sampler adds trials to it."""
    Sweep(tmp_path).run(15)
    study = loaded(tmp_path)
    study.optimize(lambda trial: space(trial)["rate"], n_trials=3)
    assert len(study.trials) == 18
    assert Sweep(tmp_path).search.ask().number == 18


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_search_finds_the_planted_best(tmp_path, sign):
    """Its 200 trials beat three times as many random ones, minimising or maximising."""
    sampled = Sweep(tmp_path / "tpe", lower_is_better=sign > 0).run(200, sign)
    drawn = Sweep(tmp_path / "random", sampler="random").run(600)
    assert loaded(tmp_path / "tpe").best_trial.number == int(np.argmin(sign * np.array(sampled)))
    assert min(sign * value for value in sampled) < min(drawn)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "qmc", "gp"])
def test_suggestions_stay_in_the_space(tmp_path, sampler):
    """Parameters belong to the branch, and values to their distributions, with their types."""
    sweep = Sweep(tmp_path, sampler=sampler)
    for number in range(60 if sampler == "tpe" else 15):
        suggestion = sweep.search.ask()
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
        sweep.tell(number, badness(parameters))


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
    search = Sweep(tmp_path, sampler="planted_samplers.planted").search
    assert [search.ask().parameters["width"] for _ in range(3)] == [77] * 3
    for sampler, words in (
        ("planted_samplers.broken", "ZeroDivisionError.*planted_samplers.py:16"),
        ("planted_samplers.none", "must return a sampler of Optuna's, but returned int"),
        ("planted_samplers.planned", "planted_samplers.planned"),
        ("annealing", "must be one of tpe, random, .* or FILE.FUNCTION"),
    ):
        with pytest.raises(ConfigError, match=words):
            Sweep(tmp_path / sampler, sampler=sampler)


def test_trials_that_run_at_the_same_time_differ(tmp_path):
    """Forty trials are asked for before one is told of."""
    sweep = Sweep(tmp_path)
    sweep.run(40)
    asked = [sweep.search.ask().parameters for _ in range(40)]
    assert len({json.dumps(parameters, sort_keys=True) for parameters in asked}) == 40


def test_a_search_is_repeated_by_its_seed(tmp_path):
    """The same seed gives the same trials, another one others."""
    first = Sweep(tmp_path / "a", seed=3).run(60)
    assert Sweep(tmp_path / "b", seed=3).run(60) == first
    assert Sweep(tmp_path / "c", seed=4).run(60) != first


def test_a_search_made_again_goes_on_as_if_it_had_not_ended(tmp_path):
    """What is suggested does not depend on when the trials were read."""
    whole = Sweep(tmp_path / "whole").run(60)
    parts = Sweep(tmp_path / "parts").run(40)
    parts += Sweep(tmp_path / "parts").run(20)
    assert parts == whole
    trials = loaded(tmp_path / "parts").trials
    assert [t.number for t in trials] == list(range(60))
    assert [t.value for t in trials] == whole


def test_a_trial_that_had_not_ended_is_given_again(tmp_path):
    """As it was suggested, whatever the space is now."""
    first = Sweep(tmp_path)
    first.run(20)
    suggestion = first.search.ask()
    assert Sweep(tmp_path, space=lambda trial: {"other": 1}).again(20) == suggestion


def test_a_trial_whose_drawing_was_interrupted_draws_the_rest(tmp_path):
    """It ends as it would have: what was drawn stays, the rest follows from seed and number."""

    def dies(trial):
        trial.suggest_float("rate", 1e-5, 1e-1, log=True)
        raise KeyboardInterrupt

    whole = Sweep(tmp_path / "whole")
    whole.run(20)
    first = Sweep(tmp_path / "parts", space=space)
    first.run(20)
    with pytest.raises(KeyboardInterrupt):
        Sweep(tmp_path / "parts", space=dies).search.ask()
    assert list(loaded(tmp_path / "parts").trials[20].params) == ["rate"]
    assert Sweep(tmp_path / "parts").again(20) == whole.search.ask()


KILLED = """
import sys
from pathlib import Path
from tests.tuning.test_search import Sweep, badness

sweep = Sweep(Path(sys.argv[1]))
number = len(sweep.study.trials)
while True:
    parameters = sweep.search.ask().parameters
    sweep.tell(number, badness(parameters))
    print(number, flush=True)
    number += 1
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
        sweep = Sweep(tmp_path)  # cuts off what the kill tore
        trials = sweep.study.trials
        assert told + 1 <= len(trials) <= told + 2  # begun, but not yet printed
        assert all(trial.state.is_finished() for trial in trials[: told + 1])
        if not trials[-1].state.is_finished():
            sweep.tell(trials[-1].number, badness(sweep.again(trials[-1].number).parameters))
        sweep.log.close()
    assert len(loaded(tmp_path).trials) >= 25


def test_a_space_may_use_all_that_a_trial_offers(tmp_path):
    """Notes, a name asked twice, parameters with one value, steps."""

    def odd(trial):
        trial.set_user_attr("note", trial.number)
        same = trial.suggest_float("x", 1.0, 1.0), trial.suggest_float("x", 1.0, 1.0)
        only = trial.suggest_int("one", 5, 5), trial.suggest_categorical("c", [None])
        return {"x": same, "only": only, "step": trial.suggest_int("step", 0, 100, step=25)}

    sweep = Sweep(tmp_path, space=odd)
    for number in range(30):
        suggestion = sweep.search.ask()
        assert suggestion.overrides["x"] == (1.0, 1.0)
        assert suggestion.overrides["only"] == (5, None)
        assert suggestion.overrides["step"] in (0, 25, 50, 75, 100)
        sweep.tell(number, float(suggestion.overrides["step"]))
    assert loaded(tmp_path).trials[3].user_attrs["note"] == 3
    assert loaded(tmp_path).trials[3].distributions == {
        "x": FloatDistribution(1.0, 1.0),
        "one": IntDistribution(5, 5),
        "c": CategoricalDistribution([None]),
        "step": IntDistribution(0, 100, step=25),
    }

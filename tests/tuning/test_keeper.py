"""The keeper on a folder, without Ray: what is tried, what goes on, what is written down."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from ni_platform.errors import ConfigError, TrainingError
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.engine import keeper as keeping
from ni_platform.tuning.engine.keeper import Keeper
from ni_platform.tuning.engine.lane import reason_of, run_lane
from ni_platform.tuning.files.trial_log import TrialRecord, ranked, read_trials
from tests.tuning.toy import (
    Toy,
    assert_consistent,
    study_trials,
    toy_config,
    toy_folder,
    write_space,
)


@pytest.fixture(scope="module", autouse=True)
def space(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The toy's space, where every test finds it."""
    write_space(tmp_path_factory.mktemp("spaces"))


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """An empty folder of a sweep."""
    return toy_folder(tmp_path)


def finish(config: SweepConfig, folder: SweepFolder, train: Any = None) -> dict[int, TrialRecord]:
    """Run what is left in one lane."""
    keeper = Keeper(config, folder)
    run_lane("lane", keeper, train or Toy(), folder.weights)
    keeper.close()
    return read_trials(folder.log)


def tell(keeper: Keeper, assignment: Any, *values: float, first: int = 1) -> list[str]:
    """Tell of epochs from `first` on; returns the decisions."""
    return [
        keeper.epoch(assignment.number, assignment.attempt, {"epoch": epoch}, value, epoch)
        for epoch, value in enumerate(values, start=first)
    ]


def test_trials_come_in_order_and_all_of_them_end(folder):
    """Numbers, curve, counts, leader and best three weights."""
    config = toy_config(25)
    trials = finish(config, folder)
    assert list(trials) == list(range(25))
    assert_consistent(config, folder)
    keeper = Keeper(config, folder)
    progress = keeper.progress()
    assert progress.counts == {"complete": 25, "pruned": 0, "failed": 0, "running": 0}
    assert progress.best is not None
    assert progress.best.number == ranked(trials, lower_is_better=True)[0].number
    assert keeper.next("lane") is None


@pytest.mark.parametrize("objective", ["rmse", "pairwise_accuracy"])
def test_asha_stops_who_is_below_the_third_at_a_rung(folder, objective):
    """Rungs after epochs 1, 3 and 9; a third of those seen so far goes on (worked out by hand).

    A trial stops where it is worse than the quantile 2/3, from below, of those before it at the
    rung: among 0.5 and 0.4 that is 0.4333, among 0.5, 0.45 and 0.4 also, then 0.43.
    """
    keeper = Keeper(toy_config(9, epochs=9, scheduler="asha", objective=objective), folder)
    sign, shift = (1, 0) if objective == "rmse" else (-1, 1)

    def one(*errors: float) -> list[str]:
        trial = keeper.next("lane")
        decisions = tell(keeper, trial, *(shift + sign * error for error in errors))
        keeper.end(trial.number, trial.attempt, "complete")
        return decisions

    assert one(0.5, 0.4, 0.30) == ["go on", "go on", "go on"]
    assert one(0.4, 0.4, 0.35) == ["go on", "go on", "stop"]
    assert one(0.45) == ["stop"]
    assert one(0.43, 0.43, 0.29) == ["go on", "go on", "go on"]
    assert one(0.434) == ["stop"]


@pytest.mark.parametrize("scheduler", ["asha", "hyperband"])
def test_after_a_restart_decisions_are_those_of_a_keeper_that_lived_on(tmp_path, scheduler):
    """Random curves; one keeper is replaced by another after every seventh trial."""
    rng = np.random.default_rng(3)
    curves = rng.uniform(size=(60, 9)).cumsum(1)[:, ::-1]
    config = toy_config(60, epochs=9, scheduler=scheduler, seed=5)

    def decisions(folder: SweepFolder, lives: int) -> list[list[str]]:
        keeper = Keeper(config, folder)
        told = []
        for number, curve in enumerate(curves):
            if number and number % lives == 0:
                keeper.close()
                keeper = Keeper(config, folder)
            trial = keeper.next("lane")
            told.append([])
            for epoch, value in enumerate(curve, start=1):
                told[-1] += tell(keeper, trial, value, first=epoch)
                if told[-1][-1] == "stop":
                    break
            keeper.end(number, trial.attempt, "pruned" if told[-1][-1] == "stop" else "complete")
        keeper.close()
        return told

    lived = decisions(toy_folder(tmp_path / "a"), 1000)
    assert decisions(toy_folder(tmp_path / "b"), 7) == lived
    assert {len(told) for told in lived} >= {3, 9}


def test_a_trial_that_is_stopped_is_pruned(folder):
    """Through a lane: not trained further, its last value in the study; in the last epoch not."""
    config = toy_config(40, scheduler="asha", reduction_factor=2)
    epochs: list[int] = []
    finish(config, folder, Toy(before=lambda x, epoch: epochs.append(epoch)))
    trials = assert_consistent(config, folder)
    status = Counter(trial.status for trial in trials.values())
    assert set(status) == {"complete", "pruned"}
    assert len(epochs) == sum(len(trial.values) for trial in trials.values())
    assert all((len(t.values) == 3) == (t.status == "complete") for t in trials.values())


def test_what_a_lane_that_died_had_begun_is_tried_again_and_fails_at_last(folder):
    """Twice again with retries = 2, with the same parameters; then it is one failed trial."""
    keeper = Keeper(toy_config(2), folder)
    tried = [keeper.next("a")]
    tell(keeper, tried[0], 0.9)
    keeper.lane_died("a")
    tried += [keeper.next("b"), keeper.next("b")]
    assert {trial.number for trial in tried} == {0}
    assert [trial.attempt for trial in tried] == [1, 2, 3]
    assert tried[0].overrides == tried[1].overrides == tried[2].overrides
    assert keeper.next("b").number == 1
    progress = keeper.progress()
    assert progress.counts == {"complete": 0, "pruned": 0, "failed": 1, "running": 1}
    assert progress.last[0].reason == "the process that trained it died, 3 times"


def test_what_a_lane_says_of_a_trial_that_was_taken_back_is_dropped(folder):
    """The same trial counts once, for the lane that has it."""
    keeper = Keeper(toy_config(2), folder)
    old = keeper.next("a")
    keeper.lane_died("a")
    new = keeper.next("b")
    assert new.number == old.number
    assert tell(keeper, old, 0.1) == ["drop"]
    assert not keeper.end(old.number, old.attempt, "complete")
    assert tell(keeper, new, 0.5) == ["go on"]
    assert keeper.end(new.number, new.attempt, "complete")
    assert not keeper.end(new.number, new.attempt, "failed", "late")
    trial = read_trials(folder.log)[0]
    assert (trial.status, trial.values) == ("complete", [0.5])


def test_a_trial_that_begins_again_is_not_stopped_where_it_went_on(folder):
    """Others came by in the meantime: the same trial would be stopped now, but its curve stands."""
    config = toy_config(6, epochs=9, scheduler="asha")
    keeper = Keeper(config, folder)
    first = keeper.next("a")
    assert tell(keeper, first, 0.9, 0.9) == ["go on", "go on"]
    others = [keeper.next(lane) for lane in "bcd"]
    for trial, value in zip(others, (0.5, 0.4, 0.3)):
        tell(keeper, trial, value)
        keeper.end(trial.number, trial.attempt, "complete")
    keeper.close()
    keeper = Keeper(config, folder)
    again = keeper.next("a")
    assert again.number == first.number
    assert tell(keeper, again, 0.9, 0.9) == ["go on", "go on"]
    keeper.lane_died("a")
    keeper.close()
    again = (keeper := Keeper(config, folder)).next("a")
    assert tell(keeper, again, 0.9, 0.9, 0.9) == ["go on", "go on", "go on"]
    newcomer = keeper.next("b")
    assert tell(keeper, newcomer, 0.9) == ["stop"]


def test_a_sweep_that_is_stopped_goes_on_with_what_was_under_way(folder):
    """Nothing is begun or written after the stop; the next keeper repeats the two trials first."""
    config = toy_config(5)
    keeper = Keeper(config, folder)
    one, two = keeper.next("a"), keeper.next("b")
    tell(keeper, one, 0.5)
    keeper.stop()
    size = folder.log.stat().st_size
    assert tell(keeper, one, 0.4, first=2) == ["drop"]
    assert not keeper.end(two.number, two.attempt, "complete")
    assert keeper.next("a") is None
    keeper.close()
    assert folder.log.stat().st_size == size
    keeper = Keeper(config, folder)
    again = [keeper.next("a"), keeper.next("b")]
    assert [(t.number, t.overrides) for t in again] == [(t.number, t.overrides) for t in (one, two)]
    keeper.close()
    finish(config, folder)
    assert_consistent(config, folder)


def test_more_trials_can_be_asked_for(folder):
    """Those that ended stay as they are."""
    before = finish(toy_config(6), folder)
    after = finish(toy_config(9), folder)
    assert {number: after[number] for number in before} == before
    assert_consistent(toy_config(9), folder)


def test_of_equals_the_earliest_keeps_its_weights(folder):
    """Also where it ends last: then its weights are asked for, and the other's are deleted."""
    config = toy_config(2, keep=1)
    keeper = Keeper(config, folder)
    first, second = keeper.next("a"), keeper.next("b")
    for trial in (second, first):
        tell(keeper, trial, 0.5)
        assert keeper.wants_weights(trial.number, 0.5)
        folder.weights(trial.number).mkdir(parents=True)
        keeper.end(trial.number, trial.attempt, "complete")
    assert not folder.weights(1).exists()
    assert folder.weights(0).exists()
    assert not keeper.wants_weights(2, 0.5)


def test_weights_that_nobody_ended_with_are_deleted_in_the_end(folder):
    """A process died between saving and ending; when repeated, the trial is none of the best."""
    config = toy_config(30, keep=2)
    keeper = Keeper(config, folder)
    trial = keeper.next("a")
    folder.weights(trial.number).mkdir(parents=True)
    (folder.weights(trial.number) / "x").write_text("nan")
    for _ in range(29):
        other = keeper.next("b")
        Toy()(other.overrides, lambda *told, t=other: keeper.epoch(t.number, t.attempt, *told[:3]))
        done = Toy()(other.overrides, lambda *told: None)
        if keeper.wants_weights(other.number, done.value):
            done.save(folder.weights(other.number))
        keeper.end(other.number, other.attempt, "complete", None, done.predictions)
    keeper.close()
    finish(config, folder)
    assert_consistent(config, folder)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TrainingError("the loss became nan; lower it"), "the loss became nan; lower it"),
        (KeyError("width"), "KeyError: 'width' (test_keeper.py:"),
    ],
)
def test_an_error_fails_its_trial_alone(folder, error, reason):
    """With its reason in the log; the others are trained."""
    begun: list[float] = []

    def raise_in_the_third(x: float, epoch: int) -> None:
        if epoch == 1:
            begun.append(x)
        elif len(begun) == 3:
            raise error

    config = toy_config(6)
    trials = finish(config, folder, Toy(before=raise_in_the_third))
    assert [n for n, trial in trials.items() if trial.status == "failed"] == [2]
    assert trials[2].reason.startswith(reason)
    (failed,) = [t for t in study_trials(folder) if t.state == TrialState.FAIL]
    assert failed.number == 2
    assert failed.user_attrs["ni.reason"] == trials[2].reason
    assert list(failed.intermediate_values.values()) == trials[2].values
    assert_consistent(config, folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_objective_that_is_no_number_fails_its_trial(folder, value):
    """It is not written, neither as a value nor to be searched by."""

    def train(overrides: Any, on_epoch: Any) -> Any:
        on_epoch({"epoch": 1.0, "rmse": value}, value, 1, False)

    trial = finish(toy_config(1), folder, train)[0]
    assert (trial.status, trial.values) == ("failed", [])
    assert trial.reason == f"its objective became {value} in epoch 1"


def test_a_space_that_fails_in_the_middle_ends_the_sweep_with_its_reason(folder):
    """What was done is kept; with the space mended the sweep goes on."""
    config = toy_config(8, space="toy_space.failing")
    keeper = Keeper(config, folder)
    run_lane("lane", keeper, Toy(), folder.weights)
    progress = keeper.progress()
    assert progress.ended == 4
    assert re.fullmatch(
        r"there is no trial 4: the space toy_space.failing must not end in an error, but it raised "
        r"RuntimeError: planted at /.*/tune_spaces/toy_space.py:10; mend it",
        progress.gave_up,
    )
    keeper.close()
    config = toy_config(8)
    finish(config, folder)
    assert_consistent(config, folder)


def test_a_space_that_has_changed_repeats_what_was_begun_and_draws_nothing_new(folder):
    """The trial under way goes on as it was; a parameter with another range ends the sweep."""
    keeper = Keeper(toy_config(3), folder)
    begun = keeper.next("lane")
    keeper.close()
    keeper = Keeper(toy_config(3, space="toy_space.wider"), folder)
    again = keeper.next("lane")
    assert (again.number, again.overrides, again.attempt) == (0, begun.overrides, 2)
    assert keeper.next("other") is None
    assert re.match(
        r"there is no trial 1: .*a parameter keeps its distribution.* 'x' was",
        keeper.progress().gave_up,
    )


def test_a_space_that_was_interrupted_draws_the_rest(folder):
    """A process died between two values of a trial: the first one stays."""
    keeper = Keeper(toy_config(3, space="toy_space.half"), folder)
    assert keeper.next("lane") is None  # planted: an error between two values
    keeper.close()
    (half,) = study_trials(folder)
    assert list(half.params) == ["x"]
    assert read_trials(folder.log) == {}
    keeper = Keeper(toy_config(3, space="toy_space.two"), folder)
    whole = keeper.next("lane")
    assert (whole.number, whole.overrides["training.learning_rate"]) == (0, half.params["x"])
    assert sorted(study_trials(folder)[0].params) == ["x", "y"]


def test_lanes_that_die_before_they_ask_for_a_trial_end_the_sweep(folder):
    """But not where another lane trains, nor where they come to ask now and then."""
    keeper = Keeper(toy_config(3), folder)
    for _ in range(keeping.MOST_DEATHS - 1):
        keeper.lane_died("a")
    assert keeper.next("b") is not None
    for _ in range(2 * keeping.MOST_DEATHS):
        keeper.lane_died("a")
    keeper.lane_died("b")
    assert keeper.progress().gave_up is None
    for _ in range(keeping.MOST_DEATHS):
        keeper.lane_died("a")
    assert "died 5 times in a row" in keeper.progress().gave_up


def test_a_sweep_has_one_keeper(folder, monkeypatch):
    """Another one waits for a while, as for a driver that was just killed, and gives up."""
    monkeypatch.setattr("ni_platform.tuning.files.locks.SECONDS_FOR_A_DEAD_DRIVER", 0.2)
    keeper = Keeper(toy_config(3), folder)
    with pytest.raises(ConfigError, match=r"'toy' is running already.*ni sweep stop toy"):
        Keeper(toy_config(3), folder)
    keeper.close()
    Keeper(toy_config(3), folder).close()


class _Calls:
    """A keeper whose calls are made one at a time, each for a byte of a pipe."""

    def __init__(self, keeper: Keeper, permits: int, done: int) -> None:
        self._keeper, self._permits, self._done = keeper, permits, done
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            with self._lock:
                os.read(self._permits, 1)
                answer = getattr(self._keeper, name)(*arguments)
                os.write(self._done, b".")
                return answer

        return call


def _keep(config: SweepConfig, folder: SweepFolder, permits: int, done: int) -> None:
    """Run two lanes side by side in this process."""
    calls = _Calls(Keeper(config, folder), permits, done)
    lanes = [
        threading.Thread(target=run_lane, args=(lane, calls, Toy(), folder.weights))
        for lane in ("a", "b")
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()


def _kill_in_the_middle(config: SweepConfig, folder: SweepFolder, after: int) -> None:
    """Let a process keep the sweep, and kill it within thirty calls after the first `after`."""
    permits, permit = os.pipe()
    done, tell_done = os.pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_keep, args=(config, folder, permits, tell_done)
    )
    process.start()
    os.write(permit, b"." * (after + 30))
    for _ in range(after):
        os.read(done, 1)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    for end in (permits, permit, done, tell_done):
        os.close(end)


@pytest.mark.parametrize("schedule", [1, 2, 3])
def test_a_keeper_that_is_killed_again_and_again_loses_and_doubles_nothing(folder, schedule):
    """Four deaths at random moments of a sweep of 120 trials, then to the end."""
    config = toy_config(120, scheduler="asha", reduction_factor=2)
    for after in np.random.default_rng(schedule).integers(1, 60, size=4):
        _kill_in_the_middle(config, folder, int(after))
    begun = read_trials(folder.log)
    assert 0 < len(begun) < 120
    trials = finish(config, folder)
    for number, trial in begun.items():
        assert trials[number].parameters == trial.parameters
        assert len(trials[number].values) >= len(trial.values)
    assert_consistent(config, folder)


def test_an_error_of_another_process_is_told_without_its_traceback():
    """Ray hands on the error of a task alone."""
    assert reason_of(ValueError("no picture")) == "ValueError: no picture"

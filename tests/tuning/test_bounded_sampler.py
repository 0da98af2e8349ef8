"""A sampler on a bounded history: what it sees, and that it suggests what Optuna's would."""

from __future__ import annotations

import logging

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from ni_platform.tuning.search.bounded_sampler import BEST, BoundedSampler, tpe

X = optuna.distributions.FloatDistribution(0, 1)
optuna.logging.set_verbosity(optuna.logging.WARNING)


class Looking(RandomSampler):
    """Keeps the numbers of the trials that it was last shown."""

    numbers: tuple[int, ...] = ()
    states: tuple[TrialState, ...] = ()

    def infer_relative_search_space(self, study, trial):
        """Look."""
        trials = study.get_trials(deepcopy=False)
        Looking.numbers = tuple(each.number for each in trials)
        Looking.states = tuple(each.state for each in trials)
        return super().infer_relative_search_space(study, trial)


def study_of(sampler, values=(), direction="minimize"):
    """A study with complete trials of these values."""
    study = optuna.create_study(sampler=sampler, direction=direction)
    for value in values:
        study.add_trial(create_trial(value=value, params={"x": 0.5}, distributions={"x": X}))
    return study


def look(study):
    """Ask for a trial and draw a value, so that its sampler looks at the history."""
    study.ask().suggest_float("x", 0, 1)


def conditional(trial):
    """A branch, and a value that depends on all."""
    value = (trial.suggest_float("x", 0, 1) - 0.3) ** 2
    if trial.suggest_categorical("deep", [False, True]):
        value += abs(trial.suggest_int("depth", 1, 9) - 4) / 10
    return value


def test_it_suggests_what_optunas_sampler_would():
    """While the history holds all trials, each suggestion is that of Optuna's own, bit for bit."""
    study = study_of(BoundedSampler(seed=3))
    for number in range(60):
        alone = optuna.create_study(
            sampler=tpe(int(np.random.SeedSequence((3, number)).generate_state(1)[0]))
        )
        alone.add_trials(study.trials)
        asked = study.ask()
        study.tell(asked, conditional(asked))
        same = alone.ask()
        conditional(same)
        assert same.params == asked.params


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_are_always_seen_and_no_more_than_the_bound(direction):
    """A sort of all values, with ties by number, finds the same 25."""
    values = np.random.default_rng(1).integers(0, 300, size=1500)  # with ties
    study = study_of(BoundedSampler(Looking, others=100), values.tolist(), direction)
    look(study)
    order = np.argsort(values if direction == "minimize" else -values, kind="stable")
    assert set(order[:BEST].tolist()) <= set(Looking.numbers)
    # And the trial that is asked for, which runs.
    assert len(Looking.numbers) == BEST + 100 + 1
    assert sorted(Looking.numbers) == list(Looking.numbers)


def test_the_others_are_a_uniform_sample():
    """Over seeds each of ten ages has its share, though values get better."""
    n, kept = 1500, 100
    counts = np.zeros(10)
    study = study_of(None, np.linspace(1, 0, n).tolist())
    for seed in range(20):
        study.sampler = BoundedSampler(Looking, others=kept, seed=seed)
        look(study)
        others = [number for number in Looking.numbers if number < n - BEST]
        assert len(others) == kept
        counts += np.histogram(others, bins=10, range=(0, n - BEST))[0]
    np.testing.assert_allclose(counts / (20 * kept), 0.1, atol=0.034)  # 5 standard errors


def test_what_is_seen_does_not_depend_on_the_order_of_ends_or_of_looks():
    """Twice the same trials, ended in another order and looked at in between."""
    shuffled = np.random.default_rng(0).permutation(400)
    seen = []
    for order, look_each in ((range(400), 400), (shuffled.tolist(), 37)):
        study = study_of(BoundedSampler(Looking, others=50, seed=5))
        trials = [study.ask() for _ in range(400)]
        for done, number in enumerate(order, start=1):
            study.tell(trials[number], float(number % 90))
            if done % look_each == 0:
                study.sampler.infer_relative_search_space(study, study.trials[399])
        look(study)
        seen.append(Looking.numbers)
    assert seen[0] == seen[1]


def test_failed_trials_are_seen_as_bad_ones_and_running_ones_as_running():
    """So that a search keeps away from both."""
    study = study_of(BoundedSampler(Looking))
    failed, running, complete = (study.ask() for _ in range(3))
    failed.suggest_float("x", 0, 1)
    study.tell(failed, state=TrialState.FAIL)
    study.tell(complete, 1.0)
    look(study)
    running_now = (running.number, 3)
    assert dict(zip(Looking.numbers, Looking.states, strict=True)) == {
        failed.number: TrialState.PRUNED,
        complete.number: TrialState.COMPLETE,
    } | dict.fromkeys(running_now, TrialState.RUNNING)
    assert study.trials[0].state == TrialState.FAIL


def test_where_trials_fail_the_search_goes_less_often():
    """The best values lie at the edge of a failing half, into which Optuna's TPE is drawn."""

    def failures(sampler):
        study, count = optuna.create_study(sampler=sampler), 0
        for _ in range(100):
            trial = study.ask()
            x = trial.suggest_float("x", 0, 1)
            trial.suggest_float("y", 0, 1)
            count += x > 0.5
            study.tell(trial, None if x > 0.5 else -x, TrialState.FAIL if x > 0.5 else None)
        return count

    ours = [failures(BoundedSampler(seed=seed)) for seed in range(3)]
    theirs = [failures(tpe(seed)) for seed in range(3)]
    assert sum(ours) < 0.8 * sum(theirs)


def test_it_works_in_any_study_of_optunas(tmp_path):
    """In a journal that two threads write, and gone on with by another sampler."""
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    study = optuna.create_study(storage=storage, sampler=BoundedSampler(others=20, best=5))
    study.optimize(conditional, n_trials=40, n_jobs=2)
    assert len(study.trials) == 40
    assert min(trial.value for trial in study.trials[20:]) < 0.1
    again = optuna.load_study(
        study_name=study.study_name, storage=storage, sampler=BoundedSampler(Looking, others=20)
    )
    look(again)
    assert len(Looking.numbers) == 40 + 1  # 25 and 20 are more than there are


def test_asking_says_nothing():
    """Not that the sampler looks at trials in a study of its own."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    study = study_of(BoundedSampler(), [1.0] * 20)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    logging.getLogger("optuna").addHandler(handler)
    try:
        look(study)
    finally:
        logging.getLogger("optuna").removeHandler(handler)
        optuna.logging.set_verbosity(before)
    assert said == []


def test_several_objectives_are_refused():
    """There the best trials are no list."""
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=BoundedSampler())
    with pytest.raises(ValueError, match="one order of trials"):
        look(study)

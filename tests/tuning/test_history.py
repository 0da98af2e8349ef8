"""What a search remembers of many trials."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from ni_platform.errors import ConfigError
from ni_platform.tuning.history import BEST, History

X = FloatDistribution(0, 1)
NOW = datetime.datetime(2026, 1, 1)


def ended(state, value=None, curve=()):
    """A trial as Optuna gives it back."""
    return FrozenTrial(
        number=0,
        trial_id=0,
        state=state,
        value=value,
        params={},
        distributions={},
        datetime_start=NOW,
        datetime_complete=NOW,
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(enumerate(curve, start=1)),
    )


def complete(value):
    """A complete trial."""
    return ended(TrialState.COMPLETE, value)


def filled(values, *, size=300, seed=0, lower_is_better=True):
    """A history of complete trials; a trial's x is its number / 1e6."""
    history = History(size=size, seed=seed, lower_is_better=lower_is_better)
    for number, value in enumerate(values):
        history.start(number, {"x": number / 1e6}, {"x": X})
        history.end(number, complete(value))
    return history


def numbers(rows):
    """Trial numbers of rows."""
    return np.round(rows[:, 0] * 1e6).astype(int).tolist()


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_the_best_are_never_dropped(lower_is_better):
    """A sort of all values, with ties by number, finds the same 25."""
    values = np.random.default_rng(1).integers(0, 2_000, size=5_000)  # with ties
    history = filled(values.tolist(), lower_is_better=lower_is_better)
    best, others = history.split(BEST)

    order = np.argsort(values if lower_is_better else -values, kind="stable")
    assert numbers(best) == sorted(order[:BEST].tolist())
    assert len(others) == 300 - BEST
    assert history.judged == 5_000


def test_the_rest_is_a_uniform_sample_of_all_others():
    """Over seeds each of ten ages has its share of the sample, though values get better."""
    n, kept = 4_000, 300 - BEST
    counts = np.zeros(10)
    for seed in range(20):
        others = filled(np.linspace(1, 0, n).tolist(), seed=seed).split(BEST)[1]
        assert numbers(others) == sorted(numbers(others))
        counts += np.histogram(numbers(others), bins=10, range=(0, n))[0]
    shares = counts / (20 * kept)
    np.testing.assert_allclose(shares, 0.1, atol=0.02)  # 5 standard errors


def test_what_is_kept_follows_from_the_seed_and_not_from_the_order_of_ends():
    """Trials that end in another order leave the same history."""
    values = np.random.default_rng(2).random(1_000)
    histories = []
    for order in (range(1_000), np.random.default_rng(3).permutation(1_000).tolist()):
        history = History(size=300, seed=5, lower_is_better=True)
        for number in range(1_000):
            history.start(number, {"x": number / 1e6}, {"x": X})
        for number in order:
            history.end(number, complete(values[number]))
        histories.append(history)
    assert histories[0].numbers == histories[1].numbers
    assert histories[0].numbers != filled(values.tolist(), seed=6).numbers


def test_below_its_size_a_history_keeps_everything():
    """The first trial beyond the size is the first that costs one."""
    assert filled([1.0] * 300).numbers == set(range(300))
    assert len(filled([1.0] * 301).numbers) == 300


def test_a_rare_branch_keeps_trials_of_its_own():
    """Ten of 5,000 trials took it, none of them good: all ten stay."""
    history = History(size=300, seed=0, lower_is_better=True)
    switch = CategoricalDistribution([False, True])
    for number in range(5_000):
        rare = number % 500 == 0  # 10 of 5,000
        parameters = {"deep": rare} | ({"depth": 0.5} if rare else {})
        distributions = {"deep": switch} | ({"depth": X} if rare else {})
        history.start(number, parameters, distributions)
        history.end(number, complete(1.0 if rare else number / 5_000))
    assert {n for n in history.numbers if n % 500 == 0} == set(range(0, 5_000, 500))
    assert len(history.numbers) == 300


def test_pruned_trials_rank_after_complete_ones_by_how_far_they_came():
    """Optuna's order: complete, then later epochs, then values; failed ones never are good."""
    told = [
        ended(TrialState.PRUNED, 0.9, [0.9]),
        ended(TrialState.FAIL),
        ended(TrialState.PRUNED, 0.2, [0.8, 0.2]),
        ended(TrialState.PRUNED),
        ended(TrialState.PRUNED, 0.1, [0.8, 0.1]),
        ended(TrialState.PRUNED, None, [0.5, float("nan")]),
        ended(TrialState.PRUNED, 0.0, [0.0]),
        complete(5.0),
        complete(4.0),
    ]
    history = History(size=300, seed=0, lower_is_better=True)
    for number, trial in enumerate(told):
        history.start(number, {"x": number / 1e6}, {"x": X})
        history.end(number, trial)
    order = [8, 7, 4, 2, 5, 6, 0, 3]
    for n in range(1, 9):
        assert numbers(history.split(n)[0]) == sorted(order[:n])
    assert numbers(history.split(BEST)[1]) == [1]
    assert history.judged == 8


def test_running_trials_count_among_the_others():
    """They are never among the best."""
    history = filled([1.0, 2.0])
    history.start(7, {"x": 7e-6}, {"x": X})
    best, others = history.split(1)
    assert (numbers(best), numbers(others)) == ([0], [1, 7])


def test_a_parameter_keeps_its_distribution():
    """Another range under the same name is refused."""
    history = filled([1.0])
    with pytest.raises(ConfigError, match="keeps its distribution"):
        history.column("x", FloatDistribution(0, 2))

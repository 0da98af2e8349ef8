"""The sampler's densities are those of Optuna's own estimator."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import default_weights

from ni_platform.tuning.columns import Column
from ni_platform.tuning.parzen import Mixture, age_weights

SPACE = {
    "x": FloatDistribution(-5, 5),
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}


def drawn(space, n, seed):
    """Values drawn uniformly, as rows of places and as Optuna's internal numbers by name."""
    rng = np.random.default_rng(seed)
    columns = [Column(d) for d in space.values()]
    rows = np.array([[column.draw(rng) for column in columns] for _ in range(n)])
    rows = rows.reshape(n, len(columns))
    internal = {
        name: np.array([d.to_internal_repr(column.from_unit(place)) for place in rows[:, i]])
        for i, ((name, d), column) in enumerate(zip(space.items(), columns))
    }
    return columns, rows, internal


def optunas(space, internal):
    """Optuna's estimator with its default settings."""
    settings = _ParzenEstimatorParameters(1.0, True, False, default_weights, True)
    return _ParzenEstimator(internal, space, settings)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 24, 25, 26, 300])
def test_densities_equal_optunas(n):
    """Numbers, logarithms and choices, from no trial to many with weights by age."""
    columns, rows, internal = drawn(SPACE, n, seed=n)
    _, places, candidates = drawn(SPACE, 50, seed=1000)

    ours = Mixture(rows, columns).log_density(places)
    theirs = optunas(SPACE, internal).log_pdf(candidates)

    # Ours is per unit of the scale (of the logarithm, for a rate), Optuna's per unit of `x` and
    # of log(`rate`); both give probabilities of choices.
    per_unit = np.log(10) + np.log(np.log(1e-1 / 1e-5))
    np.testing.assert_allclose(ours, theirs + per_unit, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("space", [{"n": IntDistribution(1, 200)}, {"n": IntDistribution(1, 6)}])
def test_steps_have_about_optunas_probability(space):
    """Ours are taken in the middle of a cell; they agree where kernels are not slivers."""
    columns, rows, internal = drawn(space, 12, seed=3)
    _, places, candidates = drawn(space, 50, seed=4)

    per_cell = np.log(columns[0].cells(places[:, 0]))
    ours = Mixture(rows, columns).log_density(places) + per_cell
    theirs = optunas(space, internal).log_pdf(candidates)

    np.testing.assert_allclose(ours, theirs, atol=0.1)


def test_draws_follow_the_density():
    """The share of draws in each tenth of the scale is the density's integral over it."""
    columns = [Column(FloatDistribution(0, 1))]
    mixture = Mixture(np.array([[0.02], [0.5], [0.55]]), columns)
    draws = mixture.draw(200_000, np.random.default_rng(0))[:, 0]

    middles = (np.arange(1000) + 0.5) / 1000
    density = np.exp(mixture.log_density(middles[:, None]))
    assert density.mean() == pytest.approx(1, abs=1e-3)
    shares = np.histogram(draws, bins=10, range=(0, 1))[0] / len(draws)
    np.testing.assert_allclose(shares, density.reshape(10, 100).mean(axis=1) / 10, atol=0.005)


def test_draws_of_choices_follow_the_density():
    """The share of draws of each choice is its probability."""
    columns = [Column(CategoricalDistribution(["a", "b", "c"]))]
    mixture = Mixture(np.array([[0.0], [0.0], [1.0]]), columns)
    draws = mixture.draw(200_000, np.random.default_rng(0))[:, 0]

    expected = np.exp(mixture.log_density(np.array([[0.0], [1.0], [2.0]])))
    assert expected.sum() == pytest.approx(1)
    shares = np.bincount(draws.astype(int), minlength=3) / len(draws)
    np.testing.assert_allclose(shares, expected, atol=0.005)


def test_a_branch_is_drawn_whole():
    """A draw lacks what its trial lacks, and an absent parameter does not count in a density."""
    columns = [Column(CategoricalDistribution([False, True])), Column(FloatDistribution(0, 1))]
    rows = np.array([[0.0, np.nan], [1.0, 0.2], [1.0, 0.3]])
    mixture = Mixture(rows, columns)
    draws = mixture.draw(5_000, np.random.default_rng(0))
    assert 0.2 < np.isnan(draws[:, 1]).mean() < 0.6

    switch_only = Mixture(rows[:, :1], columns[:1])
    candidates = np.array([[0.0, np.nan], [1.0, np.nan]])
    np.testing.assert_allclose(
        mixture.log_density(candidates), switch_only.log_density(candidates[:, :1])
    )


def test_age_weights_are_optunas():
    """Both sides of the number from which older trials count less."""
    for n in (0, 1, 25, 26, 500):
        np.testing.assert_allclose(age_weights(n), default_weights(n))

"""A Gaussian process against its textbook form, and what it finds in planted data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.gaussian_process.arms import LEVEL_VARIANCE, Arms
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.gaussian_process.fitting import fit, solve
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.modalities.attributes import OneHotAttributes
from ni_platform.models.modalities.embedding import Vectors
from ni_platform.models.modalities.modality import InputSize
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.models.uncertainty import joint_logits, predict_with_uncertainty
from ni_platform.training.at_once import fit_at_once

CONFIG = GaussianProcessConfig(embedding=Vectors(), attributes=OneHotAttributes())
SIZES = {"embedding": InputSize(width=3), "attributes": InputSize(width=2)}


def planted(contents=60, tests=40, effect=1.0, seed=0) -> tuple[dict[str, torch.Tensor], Arms]:
    """Two arms per test, whose logits differ by `effect` times the first number of embeddings."""
    rng = np.random.default_rng(seed)
    vectors, others = rng.normal(size=(contents, 3)), rng.normal(size=(contents, 2))
    content = rng.integers(contents, size=2 * tests)
    test = np.repeat(np.arange(tests), 2)
    level = rng.normal(-2, 1, tests)[test]
    shown = rng.integers(500, 3000, 2 * tests).astype(float)
    clicks = rng.binomial(shown.astype(int), expit(level + effect * vectors[content, 0]))
    arms = Arms.pool(content, test, clicks.astype(float), shown)
    return {
        "embedding": torch.from_numpy(vectors),
        "attributes": torch.from_numpy(others),
    }, arms


def with_variances(config=CONFIG) -> GaussianProcess:
    """A network whose kernels are given rather than found."""
    network = GaussianProcess(config, SIZES).eval()
    network.terms["embedding"].variance.fill_(0.5)
    network.terms["attributes"].variance.fill_(0.2)
    network.terms["attributes"].length.fill_(0.8)
    network.residual.fill_(0.01)
    return network


def textbook(z, arms, new, points) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the function at `new`, with the covariance of all arms at once.

    The function is spanned by `points`: covariances of arms go through those with the points.
    """

    def kernel(first, second):
        found = 0
        for name, variance, length in (("embedding", 0.5, 3**0.5), ("attributes", 0.2, 0.8)):
            a, b = first[name].double().numpy(), second[name].double().numpy()
            squares = ((a[:, None] - b[None]) ** 2).sum(2)
            found = found + variance * np.exp(-squares / (2 * length**2))
        return found

    own = {name: values[torch.from_numpy(arms.content_N)] for name, values in z.items()}
    same = LEVEL_VARIANCE * (arms.test_N[:, None] == arms.test_N[None])
    weight = 1 / (arms.noise + 0.01)
    deviation = arms.logits - (weight @ arms.logits) / weight.sum()
    between = np.linalg.solve(kernel(points, points), kernel(points, own))
    across = kernel(new, points) @ between
    every = kernel(own, points) @ between + same + np.diag(arms.noise + 0.01)
    mean = across @ np.linalg.solve(every, deviation)
    return mean, kernel(new, new) - across @ np.linalg.solve(every, across.T)


@pytest.mark.parametrize("points", [4000, 30])
def test_the_posterior_is_the_textbooks(points):
    """Exact where every content is a point; else that of a function spanned by the points."""
    z, arms = planted()
    arms = replace(arms, overdispersion=1.5)
    network = with_variances(replace(CONFIG, points=points))
    solve(network, z, arms)
    assert network.summary()["overdispersion"] == 1.5
    new = {"embedding": torch.randn(7, 3).double(), "attributes": torch.randn(7, 2).double()}
    chosen = {name: term.points_UX for name, term in network.terms.items()}
    assert len(chosen["embedding"]) == min(points, len(np.unique(arms.content_N)))
    mean, covariance = textbook(z, arms, new, chosen)
    known = network.at(new)
    np.testing.assert_allclose(known[0].numpy(), mean, atol=2e-3)
    np.testing.assert_allclose(known[1].numpy(), covariance, atol=2e-3)


def test_what_says_nothing_gets_nothing():
    """The likelihood gives the variance to the modality that moves the rates."""
    z, arms = planted(contents=200, tests=300)
    network = GaussianProcess(CONFIG, SIZES).eval()
    fit(network, z, arms)
    found = network.summary()
    assert found["embedding"] > 0.3
    assert found["attributes"] < 0.1
    rate = network.values(
        {"embedding": torch.eye(3).double(), "attributes": torch.zeros(3, 2).double()}
    )
    assert rate[0] - rate[1] > 0.3


def test_arms_with_equal_inputs_are_pooled():
    """Counts add up, and noise is what one arm of both would have."""
    clicks, shown = np.array([3.0, 5.0, 7.0]), np.array([100.0, 50.0, 80.0])
    arms = Arms.pool(np.array([4, 4, 4]), np.array([9, 9, 8]), clicks, shown)
    assert arms.clicks_N.tolist() == [7, 8]
    assert arms.impressions_N.tolist() == [80, 150]
    rate = 8.5 / 151
    assert arms.noise[1] == pytest.approx(1 / (150 * rate * (1 - rate)))
    assert replace(arms, overdispersion=2.0).noise == pytest.approx(2 * arms.noise)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Tests of three contents whose rates follow an embedding, every tenth without one."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 3))
    level = rng.normal(-2, 0.5, 200)[np.arange(600) // 3]
    rate = expit(level + 0.8 * vectors[:, 0])
    frame = pd.DataFrame(
        {
            "id": range(600),
            "test": [f"t{row // 3}" for row in range(600)],
            "clip": [None if row % 10 == 9 else vector for row, vector in enumerate(vectors)],
            "price": rng.normal(size=600),
            "shown": 2000,
            "clicks": rng.binomial(2000, rate),
        }
    )
    columns = Columns(content_id="id", ab_test="test", numeric=("price",), vector=("clip",))
    target = Target(impressions="shown", clicks="clicks")
    manifest = Manifest(name="d", columns=columns, target=target, assignment="randomised")
    return write_dataset(tmp_path / "d", manifest, frame)


def test_a_fitted_process_orders_saves_and_loads(dataset, tmp_path):
    """Unseen contents are ordered by their rates, and the saved model gives the same ones."""
    train, rest = np.arange(450), np.arange(450, 600)
    scorer = build_scorer(CONFIG, dataset, train, seed=0)
    keys = np.arange(600).astype(str)
    fitted = fit_at_once(scorer, dataset, keys, train, tmp_path / "encoded")
    frame = dataset.inputs(rest)
    rates = scorer.predict(frame)
    np.testing.assert_allclose(fitted.predict(rest), rates, rtol=1e-5)
    has = frame["clip"].notna().to_numpy()
    truth = np.array([v[0] if v is not None else 0 for v in frame["clip"]])
    assert np.corrcoef(logit(rates[has]), truth[has])[0, 1] > 0.9
    assert dataset.success_rate[train].mean() == pytest.approx(
        scorer.predict(dataset.inputs(train)).mean(), rel=0.05
    )
    scorer.save(tmp_path / "model")
    loaded = Scorer.load(tmp_path / "model", "cpu")
    np.testing.assert_array_equal(loaded.predict(frame), rates)
    assert loaded.model.summary() == scorer.model.summary()


def test_it_says_how_sure_it_is(dataset, tmp_path):
    """Intervals hold true rates of unseen contents, and chances to win are those of a normal."""
    train, rest = np.arange(450), np.arange(450, 600)
    scorer = build_scorer(CONFIG, dataset, train, seed=0)
    fit_at_once(scorer, dataset, np.arange(600).astype(str), train, tmp_path / "encoded")
    assert scorer.model.summary()["level"] == pytest.approx(0.5, abs=0.1)
    frame, tests = dataset.inputs(rest), dataset.ab_test.iloc[rest].reset_index(drop=True)
    tests[:2] = None  # of the first test one arm is left, which is its best for certain
    found = predict_with_uncertainty(scorer, frame, tests)
    np.testing.assert_allclose(found["prediction"], scorer.predict(frame), rtol=1e-5)
    # Observed rates of 2,000 impressions stand for the true ones: they add little.
    inside = dataset.success_rate[rest]
    inside = (found["low"] <= inside) & (inside <= found["high"])
    assert 0.9 <= inside.mean() <= 0.99
    assert found["chance_best"].isna().tolist() == [True] * 2 + [False] * 148
    sums = found["chance_best"].groupby(tests).sum()
    np.testing.assert_allclose(sums, 1)
    # Of two arms the first wins with Phi(difference / its deviation), by hand from the posterior.
    pair = [3, 4]
    two = predict_with_uncertainty(scorer, frame.iloc[pair], pd.Series(["a", "a"]))
    mean, covariance = scorer.model.posterior(scorer.inputs.encode(frame.iloc[pair]))
    step = torch.tensor([1.0, -1.0]).double()
    deviation = torch.sqrt(step @ covariance @ step + 2 * scorer.model.residual)
    by_hand = float(torch.special.ndtr((step @ mean) / deviation))
    assert two["chance_best"][0] == pytest.approx(by_hand, abs=0.02)


def test_arms_of_a_test_are_uncertain_together(dataset, tmp_path):
    """Each test's covariance is the posterior's of its arms, in their order; others say nothing."""
    train, rest = np.arange(450), np.random.default_rng(1).permutation(np.arange(450, 600))
    scorer = build_scorer(CONFIG, dataset, train, seed=0)
    fit_at_once(scorer, dataset, np.arange(600).astype(str), train, tmp_path / "encoded")
    frame, test = dataset.inputs(rest), rest // 3 - 150
    mean, covariances = joint_logits(scorer, frame, test)
    assert mean == pytest.approx(logit(scorer.predict(frame)), rel=1e-5)
    assert sorted(covariances) == list(range(50))
    own = np.flatnonzero(test == 7)
    _, expected = scorer.model.posterior(scorer.inputs.encode(frame.iloc[own]))
    np.testing.assert_allclose(covariances[7], expected.detach(), rtol=1e-5, atol=1e-9)
    glm = TabularRegressor.fit(TabularConfig(estimator="glm"), dataset, train)
    mean, covariances = joint_logits(glm, frame, test)
    assert mean == pytest.approx(logit(glm.predict(frame)))
    assert covariances == {}


def test_levels_are_those_of_tests():
    """Contents of no test share the intercept, however many; of one test nothing is known."""
    rng = np.random.default_rng(0)
    content, test = np.arange(9000) % 60, np.arange(9000) // 4096
    clicks = rng.binomial(1000, 0.05, 9000).astype(float)
    z = {"embedding": torch.randn(60, 3).double(), "attributes": torch.randn(60, 2).double()}

    def level(alone: np.ndarray) -> float:
        network = with_variances()
        shown = np.full(9000, 1000.0)
        solve(network, z, Arms.pool(content, test, clicks, shown, alone=alone))
        return float(network.level_variance)

    assert level(np.ones(9000, dtype=bool)) == 0
    assert level(test > 0) == LEVEL_VARIANCE
    assert level(np.zeros(9000, dtype=bool)) < 0.01


def test_intervals_of_skewed_rates_hold_on_both_sides():
    """Levels that differ much make rates skewed: as many lie below their interval as above."""
    rng = np.random.default_rng(0)
    tests = 4000
    level = rng.normal(-4, 1.0, tests)
    test, content = np.repeat(np.arange(tests), 2), np.tile([0, 1], tests)
    shown = np.full(2 * tests, 100_000.0)
    clicks = rng.binomial(100_000, expit(level[test])).astype(float)
    z = {"embedding": torch.eye(2, 3).double(), "attributes": torch.eye(2).double()}
    network = with_variances()
    solve(network, z, Arms.pool(content, test, clicks, shown))
    function = network.values(z).mean()
    assert float(network.level_mean + function) == pytest.approx(-4, abs=0.05)
    assert float(network.level_variance) == pytest.approx(1, abs=0.05)
    # The intercept is the logit of the mean rate, which is half a variance higher.
    assert float(network.intercept + function) == pytest.approx(-3.5, abs=0.1)
    reach = 1.96 * np.sqrt(float(network.level_variance))
    rates, middle = clicks / shown, float(network.level_mean + function)
    assert (rates < expit(middle - reach)).mean() == pytest.approx(0.025, abs=0.006)
    assert (rates > expit(middle + reach)).mean() == pytest.approx(0.025, abs=0.006)


def test_what_is_the_same_for_all_says_nothing():
    """Embeddings without any difference give every content the same rate, and no error."""
    z, arms = planted()
    same = {name: torch.ones_like(values) for name, values in z.items()}
    network = GaussianProcess(CONFIG, SIZES).eval()
    fit(network, same, arms)
    at = {name: term.standardised(same[name]) for name, term in network.terms.items()}
    mean_B, covariance_BB = network.at(at)
    torch.testing.assert_close(mean_B, torch.zeros_like(mean_B))
    torch.testing.assert_close(covariance_BB, torch.zeros_like(covariance_BB))


def test_one_arm_is_not_enough():
    """There is nothing to compare it with."""
    arms = Arms.pool(np.zeros(1, int), np.zeros(1, int), np.ones(1), np.full(1, 9.0))
    with pytest.raises(DatasetError, match="at least two different arms, but there are 1"):
        fit(with_variances(), {}, arms)


def test_it_reads_something():
    """A config without any modality is refused."""
    with pytest.raises(ConfigError, match="at least one modality"):
        GaussianProcessConfig()

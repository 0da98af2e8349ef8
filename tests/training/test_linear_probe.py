"""The linear probe that an output layer starts from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from ni_platform.errors import ConfigError
from ni_platform.experiment_config import Pretraining, load_experiment
from ni_platform.metrics.evaluation import evaluate
from ni_platform.metrics.scored import Observed
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.opened import open_experiment
from ni_platform.training.linear_probe import STRENGTHS, best_strength, ridge, start_from_probe


def test_ridge_has_a_free_level_per_test():
    """As scikit-learn has it on features less their tests' means, at the best strength."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 4)
    features = rng.normal(size=(240, 3))
    truth = np.array([1.0, -2.0, 0.5])
    # Levels that follow the features across tests would mislead a regression without levels.
    level = rng.normal(size=60)[groups] - 5 * features[:, 0].reshape(60, 4).mean(1)[groups]
    weight = rng.uniform(0.5, 2, 240)
    target = features @ truth + level + rng.normal(0, 0.3, 240)
    learn, judge = groups < 40, groups >= 40

    learned, judged = (
        (features[rows], target[rows], weight[rows], groups[rows]) for rows in (learn, judge)
    )
    found = ridge(learned, best_strength(learned, judged))

    def within(values, rows):
        out = values[rows].copy()
        for group in np.unique(groups[rows]):
            own = groups[rows] == group
            out[own] -= np.average(out[own], axis=0, weights=weight[rows][own])
        return out

    x, y, w = within(features, learn), within(target, learn), weight[learn]
    unit = np.trace(x.T @ (w[:, None] * x)) / 3
    models = [
        Ridge(alpha=strength * unit, fit_intercept=False).fit(x, y, sample_weight=w)
        for strength in STRENGTHS
    ]
    errors = [
        np.average((within(target, judge) - m.predict(within(features, judge))) ** 2,
                   weights=weight[judge])
        for m in models
    ]  # fmt: skip
    np.testing.assert_allclose(found, models[int(np.argmin(errors))].coef_, rtol=1e-8)
    np.testing.assert_allclose(found, truth, atol=0.3)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """Planted contents with columns that a network without stages reads."""
    from tests.command import ni

    folder = tmp_path_factory.mktemp("probe") / "ads"
    ni("data", "synthesize", str(folder), "--tests=120", "--image-size=32")
    config = load_experiment("neural_insights.quickstart")
    model = replace(config.model, image=None, domain=None, regression=None)
    return open_experiment(
        replace(config, model=model, pretraining=Pretraining(probe=True)), str(folder)
    )


@pytest.mark.parametrize("judge", ["validation", "nothing"])
def test_a_network_starts_as_its_probe(quickstart, tmp_path, judge):
    """Before any step it ranks what it was not fitted to, and predicts the mean rate."""
    torch.manual_seed(0)
    scorer = quickstart.build_scorer()
    splits, dataset = quickstart.splits, quickstart.readable
    rows = splits.rows("test")
    chosen_by = splits.rows("validation")[: None if judge == "validation" else 0]
    start_from_probe(scorer, dataset, splits.rows("train"), chosen_by, tmp_path / "encoded")
    predicted = scorer.predict(dataset.inputs(rows))
    observed = Observed(
        clicks=dataset.clicks[rows],
        impressions=dataset.impressions[rows],
        ab_test=dataset.ab_test.to_numpy()[rows],
    )
    assert evaluate(predicted, observed, replicates=0)["pairwise_within"].value > 0.6
    mean = dataset.clicks[rows].sum() / dataset.impressions[rows].sum()
    assert predicted.mean() == pytest.approx(mean, rel=0.5)


def test_a_probe_needs_a_linear_output_layer():
    """A regression network has none to start; the message says what to set."""
    config = load_experiment("neural_insights.text_small")
    model = replace(config.model, regression=MLPConfig(hidden=(8,)))
    with pytest.raises(ConfigError, match="without regression network"):
        replace(config, model=model, pretraining=Pretraining(probe=True))

"""How sure a model is that does not say it itself, on planted tests."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from ni_platform.beliefs.past_errors import PastErrors, past_tests
from ni_platform.evaluation import EvaluationConfig, evaluate_pairs
from tests.value.planted import World, world


def _table(planted: World, part: str) -> pd.DataFrame:
    """As a run records predictions."""
    name = [f"{part} {number}" for number in range(len(planted.test))]
    return pd.DataFrame(
        {
            "content_key": name,
            "ab_test": [f"{part} {number}" for number in planted.test],
            "part": part,
            "clicks": planted.clicks,
            "impressions": planted.impressions,
            "prediction": expit(planted.logit - 3),
        }
    )


def test_probabilities_of_pairs_hold_on_tests_that_were_not_learned_from():
    """A model that says twice the truth with noise: slope 1 and 95 % only once it is corrected."""
    table = pd.concat(
        [
            _table(world(0, 600, slope=2.0, noise=0.4), "validation"),
            _table(world(1, 600, slope=2.0, noise=0.4), "in_domain"),
        ],
        ignore_index=True,
    )
    found = evaluate_pairs(table, None, EvaluationConfig(replicates=200))
    assert "validation" not in found
    assert found["test"]["pair_slope"].low < 1 < found["test"]["pair_slope"].high
    assert found["test"]["pair_coverage"].value == pytest.approx(0.95, abs=0.02)


def test_the_errors_of_rates_are_found():
    """Rates are predicted too high by 0.5, with errors of 0.3 and nearly no noise."""
    rng = np.random.default_rng(0)
    true = rng.normal(-2, 0.5, 4_000)
    table = pd.DataFrame(
        {
            "content_key": np.arange(4_000),
            "ab_test": np.repeat(np.arange(2_000), 2).astype(str),
            "impressions": 1_000_000,
            "clicks": rng.binomial(1_000_000, expit(true)),
            "prediction": expit(true + 0.5 + rng.normal(0, 0.3, 4_000)),
        }
    )
    errors = PastErrors.of(table)
    assert errors.shift == pytest.approx(-0.5, abs=0.02)
    assert errors.deviation == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("impressions", [50, 100, 1_000])
def test_few_clicks_neither_raise_rates_nor_hide_errors(impressions: int):
    """Half a click, one and ten are expected of an arm; predictions are right but for 0.3."""
    rng = np.random.default_rng(0)
    predicted = rng.normal(-4.6, 0.3, 6_000)
    true = predicted + rng.normal(0, 0.3, 6_000)
    table = pd.DataFrame(
        {
            "content_key": np.arange(6_000),
            "ab_test": np.repeat(np.arange(2_000), 3).astype(str),
            "impressions": impressions,
            "clicks": rng.binomial(impressions, expit(true)),
            "prediction": expit(predicted),
        }
    )
    errors = PastErrors.of(table)
    assert errors.shift == pytest.approx(0, abs=0.05)
    assert errors.deviation == pytest.approx(0.3, abs=0.1)


def test_rates_are_no_surer_than_their_differences():
    """Errors of rates hold those within tests, whatever moments find."""
    table = _table(world(5, 20), "validation")
    table["clicks"] = np.round(table["impressions"] * table["prediction"])
    table.loc[::2, "clicks"] *= 2
    errors = PastErrors.of(table)
    assert errors.deviation >= errors.prior.deviation > 0.1


def test_equal_inputs_are_no_pair():
    """They cannot be told apart; the others are all there, with the predicted difference."""
    table = _table(world(2, 50, arms=(3, 3)), "in_domain").assign(content_key="same")
    table.loc[::3, "content_key"] = "other"
    errors = PastErrors.of(_table(world(3, 50), "validation"))
    pairs = errors.pairs(table)
    assert len(pairs.first) == 100
    logits = logit(table["prediction"].to_numpy())
    expected = errors.prior.slope * (logits[pairs.first] - logits[pairs.second])
    np.testing.assert_allclose(pairs.difference, expected)


def test_too_few_tests_and_ratings_say_nothing():
    """Of four tests no slope can be learned; ratings are no clicks."""
    assert PastErrors.of(_table(world(4, 4), "validation")) is None
    table = _table(world(4, 40), "validation")
    assert past_tests(table)[1] == 1.0
    table["clicks"] = table["clicks"] + 0.5
    assert PastErrors.of(table) is None

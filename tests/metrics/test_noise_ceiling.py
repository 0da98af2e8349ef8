from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from ni_platform.metrics.noise_ceiling import EffectPrior, fit_effect_prior
from ni_platform.metrics.pairs import two_proportion_z, within_test_pairs
from tests.metrics.columns import evaluate, scored_contents

UPWORTHY = (
    Path(__file__).parents[2].parent
    / "shared/data/upworthy/upworthy-archive-exploratory-packages.csv"
)
EFFECTS = {
    "normal": lambda rng, size: rng.normal(0, 0.2, size),
    "large": lambda rng, size: rng.normal(0, 1, size),
    "most are nothing": lambda rng, size: rng.normal(0, 0.4, size) * (rng.random(size) < 0.4),
    "heavy tails": lambda rng, size: rng.standard_t(3, size) * 0.15,
    "none": lambda rng, size: np.zeros(size),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_ceiling_matches_the_oracle(planted_tests, name):
    """The ceiling, which never sees true rates, is what predicting them reaches (± 0.04)."""
    data = planted_tests(tests=1500, arms=5, effect=EFFECTS[name])
    columns = {key: data[key] for key in ("clicks", "impressions", "ab_test")}
    found = evaluate(data["rate"], **columns, replicates=0)
    assert found["ceiling_within"].value == pytest.approx(found["pairwise_within"].value, abs=0.04)
    # Where nothing differs, few pairs are significant and all of them by chance.
    tolerance = 0.1 if name == "none" else 0.03
    assert found["ceiling_significant"].value == pytest.approx(
        found["pairwise_significant"].value, abs=tolerance
    )


def test_ceiling_of_overdispersed_rates_needs_the_overdispersion(planted_tests):
    """Rates that scatter three times as much as clicks do (variance 3, not 1): within 0.03."""
    data = planted_tests(tests=1500, arms=5, effect=EFFECTS["normal"])
    rng = np.random.default_rng(1)
    noise = 1 / (data["impressions"] * data["rate"] * (1 - data["rate"]))
    scattered = expit(logit(data["rate"]) + rng.normal(0, np.sqrt(2 * noise)))
    data["clicks"] = rng.binomial(data["impressions"], scattered)
    columns = {key: data[key] for key in ("clicks", "impressions", "ab_test")}
    known = {"overdispersion": np.full(len(scattered), 3.0)}
    right = evaluate(data["rate"], **columns, **known, replicates=0)
    assert right["overdispersion"].value == 3
    for pairs in ("within", "significant"):
        reached = right[f"pairwise_{pairs}"].value
        assert right[f"ceiling_{pairs}"].value == pytest.approx(reached, abs=0.03)
    blind = evaluate(data["rate"], **columns, replicates=0)
    reached = blind["pairwise_within"].value
    assert blind["ceiling_within"].value > 0.05 + reached


def test_overdispersion_divides_z_by_its_root():
    """100 and 130 clicks of 1,000: z = 2.103 with binomial noise, half of it where it is 4."""
    columns = {"clicks": [130, 100], "impressions": [1000, 1000], "ab_test": [0, 0]}
    one = scored_contents([0.1, 0.1], **columns)
    four = scored_contents([0.1, 0.1], **columns, overdispersion=[4.0, 4.0])
    z, noise = two_proportion_z(one, np.array([0]), np.array([1]))
    z_four, noise_four = two_proportion_z(four, np.array([0]), np.array([1]))
    assert z[0] == pytest.approx(0.03 / np.sqrt(0.115 * 0.885 * 0.002))
    assert z_four[0] == pytest.approx(z[0] / 2)
    assert noise_four[0] == pytest.approx(2 * noise[0])


def test_ceiling_does_not_look_at_the_prediction(planted_tests):
    """Two predictions of the same contents have the same ceiling."""
    data = planted_tests()
    columns = {key: data[key] for key in ("clicks", "impressions", "ab_test")}
    one = evaluate(data["prediction"], **columns)
    other = evaluate(1 - data["prediction"], **columns)
    assert one["ceiling_within"] == other["ceiling_within"]


def test_sign_probability_of_a_single_normal_by_hand():
    """With σ = s = 0.2, a difference of 0.4 has the true sign with probability Φ(√2)."""
    prior = EffectPrior(np.array([]), (np.array([0.2]),), (np.array([1.0]),))
    found = prior.sign_probability(np.array([0.4, -0.4, 0.4]), np.array([0.2, 0.2, np.inf]))
    assert found == pytest.approx([norm.cdf(np.sqrt(2)), norm.cdf(np.sqrt(2)), 0.5])


def test_prior_recovers_the_spread_of_true_effects():
    """Differences drawn from N(0, 0.3² + 0.2²) are explained by a variance near 0.3²."""
    rng = np.random.default_rng(0)
    noise = np.full(6000, 0.2)
    prior = EffectPrior.fit(rng.normal(0, np.hypot(0.3, 0.2), 6000), noise)
    for scales, weights in zip(prior.scales, prior.weights):
        assert (weights * scales**2).sum() == pytest.approx(0.09, rel=0.1)


def test_prior_needs_a_click():
    """Without a click in any pair there is nothing to estimate a prior from."""
    scored = scored_contents([0.1, 0.2], [0, 0], [9, 9], ab_test=["a", "a"])
    assert fit_effect_prior(scored) is None


@pytest.mark.skipif(not UPWORTHY.exists(), reason=f"the Upworthy archive is not at {UPWORTHY}")
def test_ceiling_of_the_upworthy_archive():
    """On the archive without its faulty weeks the oracle reaches 0.78 and 0.97."""
    archive = _upworthy()
    clicks, seen = archive.clicks.to_numpy(), archive.impressions.to_numpy()
    test = archive.clickability_test_id.to_numpy()
    found = evaluate(clicks / seen, clicks, seen, ab_test=test, replicates=0)
    assert found["ceiling_within"].value == pytest.approx(0.776, abs=0.01)
    assert found["ceiling_significant"].value == pytest.approx(0.973, abs=0.005)


@pytest.mark.skipif(not UPWORTHY.exists(), reason=f"the Upworthy archive is not at {UPWORTHY}")
def test_prior_foretells_how_often_halves_of_the_viewers_agree():
    """Fitted on half of Upworthy's viewers, the prior foretells which arms the rest prefer.

    In how many pairs the other half prefers the same arm is checked within 0.01 of all pairs;
    this needs no oracle. A single normal as prior is off by 0.011 on average over six halvings.
    """
    archive = _upworthy()
    clicks, seen = archive.clicks.to_numpy(), archive.impressions.to_numpy()
    half = seen // 2
    half_clicks = np.random.default_rng(0).hypergeometric(clicks, seen - clicks, half)
    test = archive.clickability_test_id.to_numpy()
    one = scored_contents(half / seen, half_clicks, half, ab_test=test)
    other = scored_contents(half / seen, clicks - half_clicks, seen - half, ab_test=test)
    prior = fit_effect_prior(one)
    foretold, agreed = [], []
    for first, second in within_test_pairs(one.test_codes):
        z, s = two_proportion_z(one, first, second)
        z_other, s_other = two_proportion_z(other, first, second)
        use = (z != 0) & np.isfinite(s_other)
        difference = np.abs(z[use] * s[use])
        foretold.append(_same_sign_again(prior, difference, s[use], s_other[use]))
        agreed.append((1 + np.sign(z * z_other)[use]) / 2)
    assert np.concatenate(foretold).mean() == pytest.approx(np.concatenate(agreed).mean(), abs=0.01)


def _upworthy():
    """The archive without the calendar weeks of 25 June 2013 to 10 January 2014."""
    archive = pd.read_csv(UPWORTHY)
    return archive[~archive.test_week.between(201326, 201402)]


def _same_sign_again(prior, difference, noise, other_noise):
    """Probability that a second observation with its own noise has the sign of the first."""
    probability = np.empty(len(difference))
    stratum = np.searchsorted(prior.edges, noise, side="right")
    for index, (scale, weight) in enumerate(zip(prior.scales, prior.weights)):
        rows = stratum == index
        d, s, t = difference[rows][:, None], noise[rows][:, None], other_noise[rows][:, None]
        density = weight * norm.pdf(d, 0, np.hypot(scale, s))
        shrunk = scale**2 / (scale**2 + s**2)
        again = norm.cdf(d * shrunk / np.sqrt(s**2 * shrunk + t**2))
        probability[rows] = (density * again).sum(axis=1) / density.sum(axis=1)
    return probability

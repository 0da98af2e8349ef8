"""Replays against a planted truth: no policy's estimated worth is biased."""

import numpy as np
import pytest

from ni_platform.beliefs.arms import gathered
from ni_platform.beliefs.prior import Prior
from ni_platform.cli.value import print_value
from ni_platform.errors import ConfigError
from ni_platform.value.figures import figures, impressions_needed
from ni_platform.value.plot import value_figure
from ni_platform.value.policies import LOOKS, thompson, uniform_test, without_test
from ni_platform.value.record import Valued, impressions, metric_rows
from ni_platform.value.replay import ReplayConfig, replay
from ni_platform.value.thinning import Plays
from tests.value.planted import world

FLAT = Prior(slope=0.0, deviation=0.3, overdispersion=1.0, with_model=False)
TRUSTED = Prior(slope=1.0, deviation=0.15, overdispersion=1.0)
LEVELS = 7
"""Looks of the tests below: up to 5,000 impressions."""


class Against(Plays):
    """Plays whose worth is what the judge says less the truth, which is known here."""

    truth: np.ndarray

    def worth(self, shares_PA):
        """Return the error of the judge."""
        true = (shares_PA * self.truth).sum(1) - self.truth.mean(1)
        return super().worth(shares_PA) - true


def misjudged(planted, overdispersion=1.0):
    """Mean and standard error, over tests, of estimated worth less true worth by policy."""
    rng = np.random.default_rng(9)
    found: dict[str, list[np.ndarray]] = {}
    for tests in planted.tests():
        plays = Against(tests, 0.2, rng, overdispersion)
        rate = {number: planted.rate[planted.test == number] for number in tests.number_T.tolist()}
        plays.truth = np.stack([rate[number] for number in tests.number_T.tolist()])
        own = without_test(plays, LEVELS) | uniform_test(plays, LEVELS, TRUSTED)
        own |= thompson(plays, LEVELS, FLAT, "thompson")
        own |= thompson(plays, LEVELS, TRUSTED, "thompson_prior")
        for name, values in own.items():
            found.setdefault(name, []).append(values)
    del found["uniform"]
    means = {name: np.concatenate(parts) for name, parts in found.items() if "_ran_out" not in name}
    return {n: (v.mean(0), v.std(0) / np.sqrt(len(v))) for n, v in means.items()}


@pytest.mark.parametrize("slope", [1.0, 0.0, -1.0])
def test_no_policys_worth_is_biased(slope):
    """Whatever the model knows: the truth, nothing, or the contrary."""
    planted = world(10, 6000, slope=slope, impressions=(7000, 9000), arms=(2, 5))
    found = misjudged(planted)
    assert len(found) == 8
    for name, (mean, error) in found.items():
        assert (np.abs(mean) < 4 * error).all(), name
        # What could hide in the error is small beside a test's worth of some 6 per 1,000.
        assert (error < 0.0002).all(), name


def test_noise_that_both_parts_share_is_not_taken_for_worth():
    """Rates of a test that scatter about those of its contents, by twice the binomial variance.

    Taken for binomial, a test's winner would seem better than it is, by five standard errors.
    """
    planted = world(17, 6000, impressions=(7000, 9000), arms=(2, 5), overdispersion=2.0)
    for name, (mean, error) in misjudged(planted, 2.0).items():
        assert (np.abs(mean) < 4 * error).all(), name
    taken = misjudged(planted, 1.0)
    for name in ("winner", "thompson", "best_at_least"):
        mean, error = taken[name]
        assert (mean[-1] > 5 * error[-1]).all(), name
    mean, error = taken["model"]
    assert (np.abs(mean) < 4 * error).all()


def replayed(slope, seed=11, tests=600, **settings):
    """Figures of a world, the prior by another one's tests, and their priors."""
    past = world(seed + 1000, 400, slope=slope).tests()
    prior = Prior.fit(past, 1.0, with_model=True)
    without = Prior.fit(past, 1.0, with_model=False)
    planted = world(seed, tests, slope=slope, impressions=(5000, 9000))
    config = ReplayConfig(**{"replicates": 8, **settings})
    return planted, replay(planted.tests(), prior, without, config)


def value(found, policy, traffic):
    """A row of the figures by traffic."""
    table = found.by_traffic
    return table[(table["policy"] == policy) & (table["traffic"] == traffic)].iloc[0]


@pytest.fixture(scope="module")
def knowing():
    """A model that sees the truth with some noise."""
    planted, found = replayed(1.0)
    return planted, figures(found), found


def test_intervals_hold_the_truth_of_a_knowing_model(knowing):
    """The model's own worth, that of all alike, and both bounds of the best arm."""
    planted, found, _ = knowing
    tests = planted.test.max() + 1
    by_test = [planted.test == one for one in range(tests)]
    rate, logit = planted.rate, planted.logit
    even = np.array([rate[rows].mean() for rows in by_test])
    model = np.array([rate[rows][logit[rows].argmax()] for rows in by_test]) - even
    highest = np.array([rate[rows].max() for rows in by_test]) - even
    for name, truth in (("uniform", even), ("model", model)):
        row = value(found, name, 0)
        assert row["tests"] == tests
        # Intervals are of the world's mean, which this world's own tests estimate.
        assert row["value"] == pytest.approx(1000 * truth.mean(), abs=0.3)
        assert row["low"] < 1000 * truth.mean() < row["high"]
    low, high = value(found, "best_at_least", 1000), value(found, "best_at_most", 1000)
    assert low["value"] < 1000 * highest.mean() < high["value"]


def test_a_prior_that_knows_adds_to_a_test_and_saves_impressions(knowing):
    """Combined beats both the model and the winner; more traffic without it does as well."""
    _, found, _ = knowing
    for traffic in (1000, 2000, 5000):
        assert value(found, "combined_less_winner", traffic)["low"] > 0
    assert value(found, "combined", 5000)["value"] > value(found, "model", 5000)["value"]
    assert (found.saved["low"] > 0).all()
    assert (found.saved["saved"] == found.saved["needed"] - found.saved["traffic"]).all()
    assert (found.saved["saved"] <= found.saved["most"]).all()


@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_a_prior_that_knows_nothing_takes_nothing_away(slope):
    """Validation shows it; so the test decides."""
    _, replay_ = replayed(slope, seed=12)
    found = figures(replay_)
    model = value(found, "model", 0)
    assert model["low"] < 0.5 if slope == 0 else model["high"] < -1
    for traffic in (1000, 2000, 5000):
        row = value(found, "combined_less_winner", traffic)
        assert row["value"] == pytest.approx(0, abs=0.25)
    assert value(found, "winner", 5000)["low"] > 0


def test_a_models_first_k_arms_keep_more_than_chance(knowing):
    """The share of winners grows with k, and what is given away falls to nothing."""
    _, found, raw = knowing
    top = found.top
    assert top["k"].tolist() == [1, 2, 3, 4, 5]
    assert top["tests"].tolist() == [int((raw.arms > k).sum()) for k in range(1, 6)]
    assert top["by_chance"].iloc[0] == pytest.approx((1 / raw.arms).mean())
    assert (top["share_low"] > top["by_chance"]).all()
    assert top["lost"].iloc[0] > 0.5
    assert abs(top["lost"].iloc[4]) < 0.5


def test_thompson_sampling_with_a_sure_prior_shows_the_models_choice():
    """Its own viewers then get what the model's first choice is worth, all of them."""
    planted = world(13, 40, arms=(3, 3), impressions=(9000, 9001), slope=500.0)
    (tests,) = planted.tests()
    plays = Plays(tests, 0.2, np.random.default_rng(0))
    sure = Prior(slope=1.0, deviation=1e-3, overdispersion=1.0)
    found = thompson(plays, LEVELS, sure, "sure")
    (model,) = (without_test(plays, LEVELS)["model"],)
    assert found["sure"] == pytest.approx(model)
    assert found["sure_during"] == pytest.approx(model)
    assert not found["sure_ran_out"].any()


def test_an_arm_that_runs_out_is_told_and_shown_all_the_same():
    """Of 1,000 impressions 800 decide: a sure prior wants 1,000 at the third look."""
    planted = world(14, 30, arms=(2, 2), impressions=(1000, 1001), slope=500.0)
    (tests,) = planted.tests()
    plays = Plays(tests, 0.2, np.random.default_rng(0))
    sure = Prior(slope=1.0, deviation=1e-3, overdispersion=1.0)
    found = thompson(plays, 4, sure, "sure")
    assert LOOKS[:4] == (200, 500, 1000, 1500)
    assert found["sure_ran_out"].tolist() == [[0, 0, 1, 1]] * 30
    assert found["sure_during"] == pytest.approx(without_test(plays, 4)["model"])
    # More than half of the replays ran out, so the figure is not given.
    shown = figures(replay(planted.tests(), sure, FLAT, ReplayConfig(replicates=2)))
    assert value(shown, "thompson_prior_ran_out", 1000)["value"] == 1
    assert np.isnan(value(shown, "thompson_prior", 1000)["value"])
    assert np.isfinite(value(shown, "thompson", 1000)["value"])


def test_tests_count_where_they_have_the_traffic():
    """Two arms of 1,250 impressions, of which 1,000 decide, have looks up to 2,000."""
    planted = world(15, 8, arms=(2, 2), impressions=(1250, 1251))
    found = replay(planted.tests(), None, FLAT, ReplayConfig(replicates=2))
    assert np.isfinite(found.worth["winner"]).sum(0).tolist() == [8] * 5 + [0] * 8
    assert not np.isfinite(found.worth["combined"]).any()
    shown = figures(found)
    assert shown.saved.empty
    assert sorted(shown.by_traffic["traffic"].unique()) == [0, 1000, 2000]


def test_needed_impressions_by_hand():
    """The curve is 0 at 0, 2 at 100, 1 at 200 and 4 at 400, linear between."""
    curve = np.array([[2.0, 1.0, 4.0]])
    traffic = np.array([100, 200, 400])
    for reached, needed in ((-1, 0), (0, 0), (1, 50), (2, 100), (2.5, 300), (4, 400), (9, 400)):
        assert impressions_needed(curve, np.array([float(reached)]), traffic) == [needed]


def test_replays_are_the_same_again():
    """By their seed; another seed gives others."""
    tests = world(16, 30).tests()
    found = [
        replay(tests, TRUSTED, FLAT, ReplayConfig(replicates=2, seed=seed)).worth["winner"][:, 0]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"replicates": 0}, "at least 1, but got 0"), ({"judge": 1.0}, "between 0 and 1, but got 1")],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    """With rule, value and remedy."""
    with pytest.raises(ConfigError, match=message):
        ReplayConfig(**settings)


def test_small_tests_have_no_traffic_but_a_first_choice(capsys):
    """What needs no test is told, and why there is no prior; nothing is drawn."""
    planted = world(18, 50, arms=(2, 2), impressions=(100, 101))
    found = figures(replay(planted.tests(), None, FLAT, ReplayConfig(replicates=2)))
    valued = Valued(figures=found, prior=None, without=FLAT, config=ReplayConfig())
    assert valued.traffic == 0
    assert found.by_traffic["policy"].tolist() == ["uniform", "model", "best_at_most"]
    assert value_figure(found.by_traffic) is None
    print_value(valued)
    said = " ".join(capsys.readouterr().out.split())
    assert "On 50 held-out A/B tests the model's first choice" in said
    assert "fewer than 5 validation A/B tests" in said
    assert metric_rows(found)["metric"].tolist()[:3] == ["uniform", "model", "best_at_most"]


def test_what_is_told_is_the_traffic_of_half_of_the_tests():
    """Ten tests with 2,000 impressions, of which four have 10,000: 5,000 is not reached by half."""
    short = world(19, 6, arms=(2, 2), impressions=(1300, 1301))
    long = world(20, 4, arms=(2, 2), impressions=(6400, 6401))
    columns = ("clicks", "impressions", "logit")
    joined = [np.concatenate([getattr(short, name), getattr(long, name)]) for name in columns]
    tests = gathered(np.concatenate([short.test, long.test + 6]), *joined, {})
    found = figures(replay(tests, TRUSTED, FLAT, ReplayConfig(replicates=2)))
    valued = Valued(figures=found, prior=TRUSTED, without=FLAT, config=ReplayConfig())
    assert valued.traffic == 2000
    assert value(found, "winner", 10_000)["tests"] == 4
    assert found.saved["traffic"].tolist() == [0, 1000]
    assert found.saved["most"].tolist() == [2000, 1000]


def test_more_than_can_be_told_is_said_to_be_at_least():
    """Where the curve without the prior ends below, the last traffic is a bound."""
    row = {"traffic": 1000, "needed": 5000.0, "saved": 4000.0, "most": 4000}
    assert impressions(row, "needed") == "at least 5,000"
    assert impressions(row, "saved") == "at least 4,000"
    assert impressions(row | {"needed": 2000.0, "saved": 1000.0}, "saved") == "1,000"

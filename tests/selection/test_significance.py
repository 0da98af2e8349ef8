import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import DatasetError
from ni_platform.selection.attributes import read_attributes
from ni_platform.selection.config import SelectionConfig
from ni_platform.selection.sample import draw_sample
from ni_platform.selection.selection import select_attributes
from ni_platform.selection.significance import attribute_effects
from tests.selection.conftest import as_dataset, draw_clicks

ANY_LEVEL = SelectionConfig(min_level_groups=2, min_level_clicks=1.0)


def measured(dataset, config):
    """Attributes, sample and effects of a dataset."""
    sample = draw_sample(dataset, config)
    attributes = read_attributes(dataset.manifest.columns, sample, config)
    return sample, attribute_effects([item for item in attributes if item.problem is None], sample)


def test_one_way_anova_by_hand():
    """Three levels of four contents: F is 6 with independent contents, eta squared 4 / 7.

    Means 0.2, 0.4 and 0.3 around 0.3: 4 * (0.01 + 0.01) = 0.08 between levels, 3 * 0.02 = 0.06
    within, so F = (0.08 / 2) / (0.06 / 9). The jackknife moves a level's mean by d / 3 where a
    content with deviation d is left out: variance 0.02 / 9 * 11 / 12 each, against
    (0.06 / 9) / 4 by ANOVA's own count, so the design effect is 11 / 9.
    """
    clicks = [10, 20, 30, 20, 30, 40, 50, 40, 20, 30, 40, 30]
    frame = pd.DataFrame({"level": list("aaaabbbbcccc"), "shown": 100, "clicked": clicks})
    _, effects = measured(as_dataset(frame, categorical=["level"]), ANY_LEVEL)
    effect = effects["level"]
    assert effect.degrees_of_freedom == 2
    assert effect.design_effect == pytest.approx(11 / 9)
    assert effect.f == pytest.approx(6 / (11 / 9))
    assert effect.eta_squared == pytest.approx(4 / 7)
    assert effect.p_anova == pytest.approx(stats.f.sf(6 * 9 / 11, 2, 11))
    # Steiger 2004: at the ends of the interval the observed F is the 97.5 % and 2.5 % point.
    for share, level in (
        (effect.omega_squared.low, 0.975),
        (effect.omega_squared.high, 0.025),
    ):
        noncentrality = share / (1 - share) * 12 / (11 / 9)
        reached = stats.ncf.cdf(effect.f, 2, 11, noncentrality)
        assert reached == pytest.approx(level, abs=1e-4) or share == 0.0


def test_logistic_regression_against_a_jackknife_written_out():
    """Odds ratio and interval of two levels in clustered data follow from two weighted means."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(40), 4)
    level = rng.choice(["no", "yes"], 160)
    log_odds = -2 + 0.5 * (level == "yes") + rng.normal(0, 0.5, 40)[group]
    frame = pd.DataFrame({"test": group, "level": level, **draw_clicks(log_odds, rng)})
    sample, effects = measured(as_dataset(frame, categorical=["level"], ab_test="test"), ANY_LEVEL)

    rate, weight = sample.rate, sample.weight
    mean = {name: np.average(rate[level == name], weights=weight[level == name]) for name in level}

    def difference(left_out):
        """Difference of the log odds, one step from the fit on all groups."""
        found = {}
        for name, m in mean.items():
            rows = (level == name) & (group != left_out)
            step = np.sum(weight[rows] * (rate[rows] - m)) / np.sum(weight[rows] * m * (1 - m))
            found[name] = np.log(m / (1 - m)) + step
        return found["yes"] - found["no"]

    whole = difference(-1)
    parts = np.array([difference(number) for number in range(40)])
    error = np.sqrt(np.sum((parts - parts.mean()) ** 2) * 39 / 40)
    share = {name: weight[level == name].sum() / weight.sum() for name in mean}
    odds = effects["level"].odds_ratios
    for name, sign in (("yes", 1), ("no", -1)):
        part = 1 - share[name]
        reach = stats.t.ppf(0.975, 39) * error * part
        assert np.log(odds[name].value) == pytest.approx(sign * whole * part)
        assert np.log([odds[name].low, odds[name].high]) == pytest.approx(
            [sign * whole * part - reach, sign * whole * part + reach]
        )
    assert effects["level"].wald == pytest.approx((whole / error) ** 2)
    assert effects["level"].p_logistic == pytest.approx(2 * stats.t.sf(abs(whole / error), 39))


def null_campaign(seed):
    """50 tests of 6 contents that differ by test; three attributes without effect."""
    rng = np.random.default_rng(seed)
    test = np.repeat(np.arange(50), 6)
    frame = pd.DataFrame(
        {
            "test": test,
            "of_test": rng.choice(list("abcd"), 50)[test],
            "of_content": rng.choice(list("ab"), 300),
            "skewed": rng.lognormal(0, 1, 50)[test],
        }
    )
    return frame.assign(**draw_clicks(-3 + rng.normal(0, 0.5, 50)[test], rng))


def test_attributes_without_effect_are_dropped_where_contents_share_their_test():
    """In 40 draws 15 % keep an attribute at most; tests that ignore the groups keep one in most."""
    wrong = naive_anova = naive_clicks = 0
    for seed in range(40):
        frame = null_campaign(seed)
        dataset = as_dataset(
            frame, categorical=["of_test", "of_content"], numeric=["skewed"], ab_test="test"
        )
        _, effects = measured(dataset, SelectionConfig())
        # Holm keeps something only where the smallest p passes Bonferroni's level.
        wrong += any(max(e.p_anova, e.p_logistic) < 0.05 / 3 for e in effects.values())
        by_level = frame.groupby("of_test")[["clicked", "shown"]].sum()
        rates = (frame["clicked"] / frame["shown"]).groupby(frame["of_test"])
        naive_anova += stats.f_oneway(*[rate for _, rate in rates]).pvalue < 0.05 / 3
        table = [by_level["clicked"], by_level["shown"] - by_level["clicked"]]
        naive_clicks += stats.chi2_contingency(table).pvalue < 0.05 / 3
    assert wrong <= 6
    assert naive_anova >= 20
    assert naive_clicks >= 38


def test_intervals_contain_the_planted_odds_ratios():
    """Of 120 intervals around planted effects at least 90 % contain the truth."""
    truth = {"a": 0.4, "b": 0.0, "c": -0.4}
    inside = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        test = np.repeat(np.arange(80), 3)
        level = rng.choice(list(truth), 240)
        effect = pd.Series(level).map(truth).to_numpy()
        clicks = draw_clicks(-3 + effect + rng.normal(0, 0.2, 80)[test], rng)
        frame = pd.DataFrame({"test": test, "level": level, **clicks})
        sample, effects = measured(
            as_dataset(frame, categorical=["level"], ab_test="test"), ANY_LEVEL
        )
        mean = np.average(effect, weights=sample.weight)
        for name, odds in effects["level"].odds_ratios.items():
            inside += odds.low <= np.exp(truth[name] - mean) <= odds.high
    assert inside >= 108


def test_planted_attributes_are_kept_and_noise_is_dropped(tmp_path):
    """Domain, age, device and price of planted data have effects; a made-up one has none."""
    dataset = make_synthetic(
        tmp_path / "data", tests=220, image_size=32, seed=1, impressions=(9000, 9999)
    )
    rng = np.random.default_rng(0)
    tests = dataset.ab_test.unique()
    noise = dict(zip(tests, rng.choice(list("xyz"), len(tests))))
    contents = dataset.contents.assign(noise=dataset.ab_test.map(noise))
    declared = as_dataset(
        contents.rename(columns={"impressions": "shown", "clicks": "clicked"}),
        categorical=["age_group", "device", "noise"],
        numeric=["price"],
        ab_test="ab_test",
    )
    selection = select_attributes(declared, SelectionConfig())
    assert selection.kept == ("age_group", "device", "price")
    assert selection.dropped == ("noise",)


def test_attributes_that_miss_in_the_same_rows_are_tested_by_what_they_add(campaign):
    """A column that two attributes share belongs to neither; both still find their effect."""
    gap = np.random.default_rng(0).random(len(campaign)) < 0.2
    frame = campaign.assign(
        colour=campaign["colour"].where(~gap), size=campaign["size"].where(~gap)
    )
    dataset = as_dataset(frame, categorical=["colour"], numeric=["size"], ab_test="test")
    _, effects = measured(dataset, SelectionConfig())
    assert effects["colour"].degrees_of_freedom == 2
    assert effects["size"].degrees_of_freedom == 1
    assert max(effect.p_anova for effect in effects.values()) < 0.001
    assert max(effect.p_logistic for effect in effects.values()) < 0.001


def test_a_level_that_nobody_clicks_is_found_without_an_odds_ratio(campaign):
    """Infinite log odds neither hide the effect nor become a figure."""
    dead = np.random.default_rng(0).random(len(campaign)) < 0.1
    frame = campaign.assign(
        state=np.where(dead, "off", np.where(campaign["size"] > 10, "on", "half")),
        clicked=campaign["clicked"].where(~dead, 0),
    )
    _, effects = measured(
        as_dataset(frame, categorical=["state"], ab_test="test"), SelectionConfig()
    )
    assert effects["state"].p_logistic < 0.001
    assert set(effects["state"].odds_ratios) == {"on", "half"}


def test_more_levels_than_groups_can_tell_is_an_error():
    """Two crossed attributes of six levels are ten coefficients, too many for twelve contents."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "one": list("aabbccddeeff"),
            "two": list("abcdeffabcde"),
            **draw_clicks(np.full(12, -2.0), rng),
        }
    )
    with pytest.raises(DatasetError, match="12 groups for 10 levels, 5 of them of 'one'"):
        measured(as_dataset(frame, categorical=["one", "two"]), ANY_LEVEL)

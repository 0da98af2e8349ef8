import numpy as np
import pandas as pd
import pytest

from ni_platform.data.manifest import Target
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.selection.config import SelectionConfig
from ni_platform.selection.selection import attribute_table, level_table, select_attributes
from tests.selection.conftest import as_dataset, draw_clicks


def reasons(frame, config=None, **columns):
    """Attribute -> reason."""
    selection = select_attributes(as_dataset(frame, **columns), config or SelectionConfig())
    return {item.name: item.reason for item in selection.verdicts}


def test_each_attribute_gets_a_verdict_with_its_reason(campaign):
    """Copies, coarser copies, constants and columns without repeats are dropped, each by name."""
    found = reasons(
        campaign,
        categorical=["colour", "colour_code", "noise", "constant", "empty", "own"],
        numeric=["size", "inches", "nothing"],
        ab_test="test",
    )
    works = "keep: an effect by both tests (ANOVA p < 0.001, logistic p < 0.001)"
    assert found["colour"] == works
    assert found["size"] == works
    assert found["colour_code"] == "drop: redundant with colour (Cramér's V 1.00)"
    assert found["inches"] == "drop: redundant with size (rank correlation 1.00)"
    assert found["noise"].startswith("drop: no effect shown (ANOVA p = ")
    assert found["constant"] == "drop: its only level is x"
    assert found["empty"] == "drop: its only level is missing"
    assert found["own"].startswith("drop: no two of its 900 levels have 10 independent groups")
    assert found["nothing"] == "drop: it is always missing"


def test_of_two_attributes_the_coarser_one_is_redundant(campaign):
    """`warm` follows from `colour` and not the other way round, whichever is declared first."""
    for categorical in (["warm", "colour"], ["colour", "warm"]):
        found = reasons(campaign, categorical=categorical, ab_test="test")
        assert found["warm"] == "drop: redundant with colour (Cramér's V 1.00)"
        assert found["colour"].startswith("keep")


def test_an_attribute_that_others_determine_together_is_redundant(campaign):
    """The sum of two numbers adds nothing to them, though it resembles neither closely."""
    other = np.random.default_rng(0).normal(0, 2, len(campaign))
    frame = campaign.assign(other=other, total=campaign["size"] + other)
    found = reasons(frame, numeric=["size", "other", "total"], ab_test="test")
    assert found["total"] == "drop: redundant, as the other attributes together determine it"
    assert found["size"].startswith("keep")


def test_the_domain_stays_whatever_is_found(campaign):
    """Splits hold whole domains out, so a domain without effect is kept and says so."""
    places = np.random.default_rng(1).choice(["home", "search"], 300)
    place = campaign["test"].map(dict(zip(campaign["test"].unique(), places)))
    found = reasons(
        campaign.assign(place=place), domain="place", categorical=["colour"], ab_test="test"
    )
    assert found["place"].startswith("keep: splits rely on the domain; no effect shown")


def test_one_attribute_and_ratings_are_enough(campaign):
    """Counts of ratings take the place of clicks."""
    rng = np.random.default_rng(0)
    chance = np.where(campaign["colour"] == "red", 0.6, 0.4)
    high = rng.binomial(50, chance)
    frame = campaign.assign(n1=50 - high, n2=high)
    found = reasons(
        frame, categorical=["colour"], ab_test="test", target=Target(ratings=("n1", "n2"))
    )
    assert found["colour"].startswith("keep")


def test_corrections_differ_as_they_should(campaign):
    """Holm multiplies the smallest p by the number of attributes; none leaves it."""
    rng = np.random.default_rng(1)
    frame = campaign.assign(**{f"n{i}": rng.choice(["a", "b"], len(campaign)) for i in range(4)})
    dataset = as_dataset(frame, categorical=[f"n{i}" for i in range(4)], ab_test="test")
    raw = attribute_table(select_attributes(dataset, SelectionConfig(correction="none")))
    holm = attribute_table(select_attributes(dataset, SelectionConfig(correction="holm")))
    fdr = attribute_table(
        select_attributes(dataset, SelectionConfig(correction="benjamini-hochberg"))
    )
    assert raw["anova_p_corrected"].tolist() == raw["anova_p"].tolist()
    p = np.sort(raw["anova_p"].to_numpy())
    assert holm["anova_p_corrected"].min() == pytest.approx(min(1.0, 4 * p[0]))
    assert fdr["anova_p_corrected"].max() == pytest.approx(p[3])


def test_levels_come_in_their_order_with_rates_and_odds(campaign):
    """Ages and weekdays keep their order, other levels go from the highest rate down."""
    rng = np.random.default_rng(0)
    rows = len(campaign)
    days = ["Wednesday", "Monday", "Friday"]
    bands = pd.Categorical(
        rng.choice(["low", "high", "mid"], rows), ["low", "mid", "high"], ordered=True
    )
    frame = campaign.assign(
        age=rng.choice(["50+", "18-24", "25-34"], rows), day=rng.choice(days, rows), band=bands
    )
    columns = ["age", "day", "band", "colour"]
    table = level_table(
        select_attributes(
            as_dataset(frame, categorical=columns, numeric=["size"], ab_test="test"),
            SelectionConfig(),
        )
    )
    levels = {name: part["level"].tolist() for name, part in table.groupby("attribute")}
    assert levels["age"] == ["18-24", "25-34", "50+"]
    assert levels["day"] == ["Monday", "Wednesday", "Friday"]
    assert levels["band"] == ["low", "mid", "high"]
    assert levels["colour"] == ["red", "green", "blue"]
    assert len(levels["size"]) == 6  # five bins and the odds per standard deviation
    red = table[table["level"] == "red"].iloc[0]
    own = campaign[campaign["colour"] == "red"]
    assert red["contents"] == len(own)
    assert red["clicks"] == own["clicked"].sum()
    assert red["success_rate_low"] < red["success_rate"] < red["success_rate_high"]
    # Planted: 0.3 above the mean of the levels, 0.1 per unit of size.
    assert red["odds_ratio_low"] < np.exp(0.3) < red["odds_ratio_high"]
    size = table[table["level"].str.startswith("+1 SD")].iloc[0]
    per_deviation = np.exp(0.1 * campaign["size"].std(ddof=0))
    assert size["odds_ratio_low"] < per_deviation < size["odds_ratio_high"]


def test_rare_levels_are_tested_together(campaign):
    """Levels of fewer than ten tests join; a level that is alone in being rare takes another."""
    kind = np.where(campaign.index < 6, "rare", campaign["colour"])
    selection = select_attributes(
        as_dataset(campaign.assign(kind=kind), categorical=["kind"], ab_test="test"),
        SelectionConfig(),
    )
    levels = [item.level for item in selection.verdicts[0].levels]
    assert len(levels) == 3
    assert [item for item in levels if item.startswith("other (") and "rare" in item]


def test_the_interval_of_a_level_without_clicks_is_wilsons(campaign):
    """Nobody of n clicked: up to z² / (n + z²) is possible."""
    dead = campaign.index < 90
    frame = campaign.assign(
        state=np.where(dead, "off", "on"), clicked=campaign["clicked"].where(~dead, 0)
    )
    selection = select_attributes(
        as_dataset(frame, categorical=["state"], ab_test="test"), SelectionConfig()
    )
    off = selection.verdicts[0].levels[-1]
    z2 = 1.959963985**2
    assert off.level == "off"
    assert (off.rate.value, off.rate.low) == (0.0, pytest.approx(0.0))
    assert off.rate.high == pytest.approx(z2 / (frame["shown"][dead].sum() + z2))


def test_clusters_may_be_named(campaign):
    """Without A/B tests the note asks for a cluster; the named column gives the groups."""
    dataset = as_dataset(campaign, categorical=["colour"])
    alone = select_attributes(dataset, SelectionConfig())
    assert alone.groups == 900
    assert "--cluster" in alone.notes[0]
    named = select_attributes(dataset, SelectionConfig(cluster="test"))
    assert named.groups == 300
    with pytest.raises(DatasetError, match=r"'tset'.*did you mean 'test'"):
        select_attributes(dataset, SelectionConfig(cluster="tset"))


def test_the_test_part_may_be_left_out(campaign):
    """40 % of the A/B tests stay unseen."""
    dataset = as_dataset(campaign, categorical=["colour"], ab_test="test")
    assert select_attributes(dataset, SelectionConfig(include_test=False)).groups == 180


@pytest.mark.parametrize(
    ("change", "columns", "words"),
    [
        ({}, {}, ["declares none", "columns.categorical"]),
        ({"clicked": 0}, {"categorical": ["colour"]}, ["must differ", "are 0"]),
        ({"size": np.inf}, {"numeric": ["size"]}, ["finite", "'size'"]),
        ({"test": "same"}, {"categorical": ["colour"], "ab_test": "test"}, ["form 1", "--cluster"]),
        ({"shown": 0, "clicked": 0}, {"categorical": ["colour"]}, ["0 contents", "form 0"]),
    ],
)
def test_data_that_cannot_be_tested_is_one_clear_error(campaign, change, columns, words):
    """Each message names the rule, the value and what to do."""
    with pytest.raises(DatasetError) as caught:
        reasons(campaign.assign(**change), **columns)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_contents_that_nobody_saw_are_left_out(campaign):
    """They have no rate; a note says how many."""
    frame = campaign.copy()
    frame.loc[:4, ["shown", "clicked"]] = 0
    selection = select_attributes(
        as_dataset(frame, categorical=["colour"], ab_test="test"), SelectionConfig()
    )
    assert selection.contents == 895
    assert selection.notes == ("5 contents without impressions are left out.",)


@pytest.mark.parametrize(
    "bad",
    [{"alpha": 0.0}, {"correction": "scheffe"}, {"redundant_from": 2.0}, {"min_level_groups": 1}],
)
def test_bad_settings_are_refused(bad):
    """A setting out of its range is named."""
    with pytest.raises(ConfigError, match=next(iter(bad))):
        SelectionConfig(**bad)


def test_independent_attributes_are_not_redundant():
    """Two attributes of many levels in few contents resemble each other by chance only."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "one": rng.choice(list("abcdefgh"), 300),
            "two": rng.choice(list("abcdefgh"), 300),
            "number": rng.normal(size=300),
            **draw_clicks(rng.normal(-2, 0.3, 300), rng),
        }
    )
    found = reasons(frame, categorical=["one", "two"], numeric=["number"])
    assert not [reason for reason in found.values() if "redundant" in reason]

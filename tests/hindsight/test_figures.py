"""Figures of predictions after the fact, worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.hindsight.figures import (
    agreement,
    difference,
    enough,
    figures_of,
    followed_plans,
    shadow_difference,
    with_outcomes,
)
from ni_platform.metrics.intervals import Estimate


def _table(**columns: object) -> pd.DataFrame:
    """Arms of tests that a plan told of."""
    size = len(columns["ab_test"])
    table = pd.DataFrame(columns)
    table["success_rate"] = table["clicks"] / table["impressions"]
    rows = range(size)
    defaults = {
        "content_key": [f"key {row}" for row in rows], "group": None, "evidence": "randomised",
        "overdispersion": 1.0, "low": np.nan, "high": np.nan, "covariance": None, "place": 0,
        "time": pd.Timestamp("2026-01-01"), "request": "plan", "model": "m", "row": rows,
        "draft": [f"d{row}" for row in rows],
    }  # fmt: skip
    return table.assign(**{name: value for name, value in defaults.items() if name not in table})


def test_pairs_are_counted_within_tests():
    """Of four pairs with a winner three are ordered rightly."""
    table = _table(
        ab_test=["a", "a", "b", "b", "c", "c", "d", "d"],
        clicks=[10, 20, 30, 10, 10, 30, 20, 10],
        impressions=[100] * 8,
        prediction=[0.1, 0.2, 0.2, 0.1, 0.1, 0.2, 0.1, 0.2],
    )
    found = figures_of(table, replicates=0)
    assert found["pairwise_within"].value == 0.75
    assert found["n_tests"].value == 4
    assert "pair_coverage" not in found
    assert "rate_coverage" not in found


def test_intervals_that_were_told_are_counted():
    """A million viewers leave no noise: what lies within is what was told. One of four does not."""
    rates = np.array([0.1, 0.2, 0.3, 0.4])
    table = _table(
        ab_test=["a", "a", "b", "b"],
        clicks=(rates * 1_000_000).astype(int),
        impressions=[1_000_000] * 4,
        prediction=rates,
        low=[0.09, 0.19, 0.31, 0.39],
        high=[0.11, 0.21, 0.33, 0.41],
    )
    assert figures_of(table, replicates=0)["rate_coverage"].value == 0.75


def test_differences_count_the_covariance_that_a_plan_told():
    """Errors of 0.5 each that go together leave 0.1 for the difference, which 0.3 exceeds.

    Were they taken as independent, 0.3 would lie within 1.96 * 0.7.
    """
    own, off = 0.25, 0.25 - 0.005
    base = expit(np.array([-2.0, -2.0, -2.0, -2.0]))
    seen = expit(np.array([-2.0, -1.7, -2.0, -1.9]))
    table = _table(
        ab_test=["a", "a", "b", "b"],
        request=["p", "p", "q", "q"],
        clicks=(seen * 10_000_000).astype(int),
        impressions=[10_000_000] * 4,
        prediction=base,
        place=[0, 1, 1, 0],
        covariance=[[own, off], [off, own], [off, own], [own, off]],
    )
    found = figures_of(table, replicates=0)
    assert found["pair_coverage"].value == 0.5
    apart = table.assign(request=["p", "q", "r", "s"])
    assert "pair_coverage" not in figures_of(apart, replicates=0)


def test_arms_that_say_the_same_are_no_pair():
    """One draft was shown as two contents: a plan says nothing of their difference."""
    told = [[0.25, 0.1], [0.1, 0.25]]
    table = _table(
        ab_test=["a", "a", "a"],
        content_key=["x", "x", "y"],
        clicks=[30, 80, 55],
        impressions=[1000] * 3,
        prediction=[0.05, 0.05, 0.06],
        place=[0, 0, 1],
        covariance=[told[0], told[0], told[1]],
    )
    assert figures_of(table, replicates=0)["pair_coverage"].value == 1
    assert "pair_coverage" not in figures_of(table.iloc[:2], replicates=0)


def test_noise_is_that_of_all_tests_of_the_dataset():
    """Arms of 60 tests say the same, and differ by much more than clicks; two were predicted."""
    rng = np.random.default_rng(0)
    contents = pd.DataFrame(
        {
            "id": np.arange(120).astype(str),
            "test": np.repeat(np.arange(60), 2).astype(str),
            "text": "the same",
            "shown": 5_000,
            "clicked": rng.binomial(5_000, expit(rng.normal(-3, 0.15, 120))),
        }
    )
    manifest = Manifest(
        name="twins",
        columns=Columns(content_id="id", ab_test="test", text=("text",)),
        target=Target(impressions="shown", clicks="clicked"),
        assignment="randomised",
        shares="unknown",
    )
    names = ["model_run", "model", "shadow", "source", "request", "place", "time", "prediction"]
    names += ["low", "high", "share", "covariance", "content_id"]
    predictions = pd.DataFrame({"row": [0, 1, 0, 1], "input_key": "k"}).assign(
        **dict.fromkeys(names)
    )
    dataset = Dataset("memory", manifest, contents)
    assert with_outcomes(dataset, predictions)["overdispersion"].min() > 3
    # Some rows of a table have numbers of their own, by which nothing must be joined.
    some = with_outcomes(dataset, predictions.iloc[[3, 0]])
    assert some["row"].tolist() == [1, 0]
    assert some["content_id"].tolist() == ["1", "0"]


def test_distances_of_independent_intervals_add_up_in_squares():
    """0.6 [0.57, 0.64] less 0.7 [0.66, 0.73]: 3 and 4 hundredths make 5."""
    less = difference(Estimate(0.6, 0.57, 0.64), Estimate(0.7, 0.67, 0.74))
    assert less.value == pytest.approx(-0.1)
    assert less.low == pytest.approx(-0.15)
    assert less.high == pytest.approx(-0.05)


def test_followed_plans():
    """Of two plans, one's first choice won; a draft without a partner is no plan that was followed.

    The first of plan p gets 20 of 100 where all get 15 on average: 50 clicks per 1,000 more.
    """
    table = _table(
        ab_test=["a", "a", "b", "b", "b", "c"],
        request=["p", "p", "q", "q", "q", "r"],
        clicks=[20, 10, 10, 40, 10, 10],
        impressions=[100] * 6,
        prediction=[0.2, 0.1, 0.3, 0.2, 0.1, 0.5],
    )
    plans = followed_plans(table).set_index("request")
    assert plans["agreed"].to_dict() == {"p": True, "q": False}
    assert plans["first"].to_dict() == {"p": "d0", "q": "d2"}
    assert plans["best"].to_dict() == {"p": "d0", "q": "d3"}
    assert plans["gain"].to_dict() == pytest.approx({"p": 50.0, "q": -100.0})
    found = agreement(plans.reset_index())
    assert (found.plans, found.agreed) == (2, 1)
    assert found.by_chance == pytest.approx((1 / 2 + 1 / 3) / 2)
    # Of one success in two, Clopper and Pearson: 1 - 0.975^(1/2) and 0.975^(1/2).
    assert (found.low, found.high) == pytest.approx((1 - 0.975**0.5, 0.975**0.5))
    assert agreement(plans.head(0)) is None
    shared = table.assign(content_key="same")
    assert followed_plans(shared).empty
    again = table[table["request"] == "q"].assign(request="q2", time=pd.Timestamp("2026-01-02"))
    both = followed_plans(pd.concat([table, again]))
    assert both["request"].tolist() == ["p", "q2"]


def test_drafts_with_equal_inputs_are_one():
    """Their arms are pooled: 10 and 30 of 100 are 20 %, as much as the other draft has.

    Each draft is joined with each arm of its inputs, and a test that shows more of a plan is its.
    """
    table = _table(
        ab_test=["a"] * 6,
        request=["p"] * 5 + ["z"],
        draft=["x", "x", "y", "y", "o", "x"],
        row=[0, 1, 0, 1, 2, 0],
        content_key=["same", "same", "same", "same", "other", "same"],
        clicks=[10, 30, 10, 30, 19, 10],
        impressions=[100] * 6,
        prediction=[0.3, 0.3, 0.3, 0.3, 0.2, 0.3],
    )
    (plan,) = followed_plans(table).to_dict("records")
    assert (plan["request"], plan["shown"], plan["first"], plan["best"]) == ("p", 2, "x", "x")
    assert plan["gain"] == pytest.approx(1000 * (0.2 - 0.195))
    same = table.assign(covariance=[[0.1] * 6] * 6).head(2)
    assert "pair_coverage" not in figures_of(same, replicates=0)


@pytest.mark.parametrize(("tests", "told"), [(4, False), (5, True)])
def test_a_few_tests_that_all_went_well_are_not_certain(tests, told):
    """The replicates of four right tests are all alike; that says nothing of the fifth."""
    names = [f"t{test}" for test in range(tests) for _ in range(2)]
    own = _table(
        ab_test=names, clicks=[10, 20] * tests, impressions=[100] * 2 * tests,
        prediction=[0.2, 0.1] * tests, model_run="used",
    )  # fmt: skip
    other = own.assign(prediction=[0.1, 0.2] * tests, model_run="shadow")
    assert enough(own) is told
    metric, found, contents = shadow_difference(pd.concat([own, other]), "used", "shadow")
    assert (metric, found.value, contents) == ("pairwise_within", 1.0, 2 * tests)
    assert np.isfinite(found.low) == told

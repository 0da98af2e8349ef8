"""Overdispersion, from twins planted with three times the binomial variance."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.overdispersion import dataset_overdispersion, overdispersion

TESTS, ARMS, SHOWN, RATE = 1000, 4, 20_000, 0.05


@pytest.fixture(scope="module")
def clicks() -> np.ndarray:
    """Of 4 arms of 1,000 tests; their logits scatter by binomial noise and twice as much beside."""
    rng = np.random.default_rng(0)
    scatter = np.sqrt(2 / (SHOWN * RATE * (1 - RATE)))
    rates = expit(logit(RATE) + rng.normal(0, scatter, TESTS * ARMS))
    return rng.binomial(SHOWN, rates)


def dataset(clicks: np.ndarray, **columns) -> Dataset:
    """Arms with the same text, and whatever other columns are given; only the text is read."""
    contents = pd.DataFrame(
        {
            "id": np.arange(len(clicks)).astype(str),
            "test": np.repeat(np.arange(len(clicks) // ARMS), ARMS).astype(str),
            "text": "the same",
            "shown": SHOWN,
            "clicked": clicks,
            **columns,
        }
    )
    manifest = Manifest(
        name="twins",
        columns=Columns(content_id="id", ab_test="test", text=("text",)),
        target=Target(impressions="shown", clicks="clicked"),
        assignment="randomised",
    )
    return Dataset("memory", manifest, contents)


def test_twins_show_three_times_the_binomial_variance(clicks):
    """Ids and outcomes, which always differ, make no difference between twins."""
    found = dataset_overdispersion(dataset(clicks), np.arange(len(clicks)))
    assert found == pytest.approx(3, abs=0.25)


def test_a_row_that_is_named_twice_is_no_twin_of_itself(clicks):
    """Predictions of two models name each content twice."""
    rows = np.repeat(np.arange(len(clicks)), 2)
    assert dataset_overdispersion(dataset(clicks), rows) == pytest.approx(3, abs=0.25)


def test_the_day_tells_no_twins_apart(clicks):
    """An arm that few see on the first day may have a later one."""
    known = dataset(clicks, since=[f"2026-05-0{row % ARMS + 1}" for row in range(len(clicks))])
    columns = replace(known.manifest.columns, day="since")
    known = Dataset("memory", replace(known.manifest, columns=columns), known.contents)
    assert dataset_overdispersion(known, np.arange(len(clicks))) == pytest.approx(3, abs=0.25)


@pytest.mark.parametrize("cell", [lambda arm: f"picture {arm}", lambda arm: [arm], lambda arm: arm])
def test_what_nobody_reads_tells_twins_apart(clicks, cell):
    """A column that is no input, of text, lists or numbers: two of each four arms share it."""
    other = [cell(row % ARMS // 2) for row in range(len(clicks))]
    # A picture that lifts every second pair: with it as noise, twins would differ by far more.
    lifted = clicks + np.where(np.arange(len(clicks)) % ARMS // 2 == 1, 400, 0)
    known, rows = dataset(lifted, other=other), np.arange(len(clicks))
    assert dataset_overdispersion(known, rows) == pytest.approx(3, abs=0.35)
    assert dataset_overdispersion(dataset(lifted), rows) > 20


def test_vectors_tell_twins_apart_unless_they_are_derived(clicks):
    """An embedding that was computed of other columns says nothing that these do not say."""
    vectors = [np.array([1.0, row % ARMS], dtype=np.float32) for row in range(len(clicks))]
    plain, rows = dataset(clicks, vector=vectors), np.arange(len(clicks))
    declared = replace(plain.manifest, columns=replace(plain.manifest.columns, vector=("vector",)))
    derived = replace(declared, derived=("vector",))
    told_apart = Dataset("memory", declared, plain.contents)
    alike = Dataset("memory", derived, plain.contents)
    assert dataset_overdispersion(told_apart, rows) == 1  # no twins are left
    assert dataset_overdispersion(alike, rows) == pytest.approx(3, abs=0.25)


def test_few_twins_tell_nothing(clicks):
    """20 twins beyond the first of each kind are needed: 6 tests of 4 arms have 18, 7 have 21."""
    few = dataset(clicks)
    assert dataset_overdispersion(few, np.arange(6 * ARMS)) == 1
    assert dataset_overdispersion(few, np.arange(7 * ARMS)) > 1
    alone = dataset(clicks, other=np.arange(len(clicks)))
    assert dataset_overdispersion(alone, np.arange(len(clicks))) == 1


def test_contents_of_no_test_and_never_shown_are_no_twins(clicks):
    """They are left out, and nothing is divided by 0."""
    contents = dataset(clicks).contents
    contents.loc[:3, "test"] = None
    contents.loc[4:7, ["shown", "clicked"]] = 0
    rows = np.arange(8 * ARMS)
    found = dataset_overdispersion(Dataset("memory", dataset(clicks).manifest, contents), rows)
    assert found == 1  # of 6 tests


def test_by_hand():
    """21 pairs of 40 and 60 clicks of 100, so one degree of freedom each."""
    clicks = np.tile([40.0, 60.0], 21)
    found = overdispersion(np.repeat(np.arange(21), 2), clicks, np.full(42, 100.0))
    difference = 2 * np.log(60.5 / 40.5)
    variance = 2 / (100 * (40.5 / 101) * (60.5 / 101))
    assert found == pytest.approx(difference**2 / variance)

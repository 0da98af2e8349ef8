"""What is promised of a stream and observed in it, by hand."""

import numpy as np
import pandas as pd
import pytest
from pictured import M2FN, NI, write_pictured

from ni_platform.metrics.scored import Observed
from ni_platform.models.scorer import build_scorer
from ni_platform.monitoring.distances import embeddings, nearest
from ni_platform.monitoring.logged import named
from ni_platform.monitoring.streams import (
    Stream,
    bounds,
    per_test,
    promise,
    ranks,
    right_order,
    watched,
)
from ni_platform.monitoring.verdict import verdict_of

FIRST = np.datetime64("2026-01-01")


def test_bounds_are_those_of_clopper_and_pearson():
    """By their published values for 0 and 3 of 10; open where nothing was seen."""
    assert bounds(np.zeros(10)) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert bounds(np.r_[np.ones(3), np.zeros(7)]) == pytest.approx((0.0667, 0.6525), abs=1e-4)
    assert bounds(np.ones(10)) == pytest.approx((0.6915, 1.0), abs=1e-4)
    assert bounds(np.empty(0)) == (0.0, 1.0)


def test_a_promise_is_the_bound_with_a_tolerance():
    """None where nothing could break it."""
    assert promise("far", np.zeros(10), 0.05) == pytest.approx(0.3585, abs=1e-4)
    assert promise("accuracy", np.ones(10), 0.1) == pytest.approx(0.5915, abs=1e-4)
    assert promise("missing", np.ones(10), 0.05) is None
    assert promise("accuracy", np.zeros(10), 0.0) is None
    assert promise("far", np.empty(0), 0.05) is None


def test_a_test_is_one_observation():
    """The mean of its contents; what does not apply is left out."""
    found = per_test(np.array([1, 0, 1, np.nan, np.nan]), ["a", "a", "b", "b", "c"])
    assert found.to_dict() == {"a": 0.5, "b": 1.0}


def test_ranks_count_equal_values_half():
    """Among 1, 2, 2, 4."""
    np.testing.assert_allclose(ranks([0, 2, 3, 9], [4, 2, 1, 2]), [0, 0.5, 0.75, 1])


def test_the_right_order_of_pairs_within_tests():
    """Of two tests; equal rates, equal inputs and contents that nobody saw do not count."""
    observed = Observed(
        clicks=[30, 20, 10, 10, 10, 5, 1],
        impressions=[100, 100, 100, 100, 100, 100, 0],
        ab_test=["a", "a", "a", "b", "b", None, "a"],
        inputs=["1", "2", "3", "4", "5", "6", "7"],
    )
    found = right_order([0.3, 0.1, 0.2, 0.5, 0.4, 0.1, 0.9], observed)
    assert found.to_dict() == {"a": pytest.approx(2 / 3)}
    assert right_order([0.1], Observed(clicks=[0], impressions=[0], ab_test=["a"])).empty


def accuracy(values, domain=""):
    """A stream of accuracy, a test a day."""
    days = FIRST + np.arange(len(values))
    return Stream(
        kind="accuracy", subject=domain, usual=0.8, promised=0.7,
        values=np.array(values, dtype=float), days=days,
    )  # fmt: skip


def test_a_fall_everywhere_distrusts_no_domain_more_than_another():
    """A fall in one domain alone distrusts that one, without a word about training."""
    bad, good = [0.0] * 40, [1.0] * 40
    everywhere = watched([accuracy(bad), accuracy(bad, "mail"), accuracy(bad, "web")], 0.05)
    assert verdict_of(everywhere, {}).actions == ("retrain",)
    in_one = watched([accuracy(good), accuracy(bad, "mail"), accuracy(good, "web")], 0.05)
    assert verdict_of(in_one, {}).actions == ("distrust domain mail",)
    # The test part shows no accuracy over all where tests of its own domains are too few.
    alone = watched([accuracy(bad, "mail")], 0.05)
    assert verdict_of(alone, {}).actions == ("distrust domain mail",)
    nowhere = watched([accuracy(good), accuracy(good, "mail")], 0.05)
    assert verdict_of(nowhere, {}).tag == "healthy"
    assert str(verdict_of(nowhere, {})) == "nothing"


def test_distances_are_standardised_to_the_nearest():
    """Each dimension by the deviation of the sample; nan stays nan."""
    sample = np.array([[0, 0], [2, 20], [0, 20], [2, 0]], dtype=np.float32)
    asked = np.array([[0, 0], [4, 20], [2, 40], [np.nan, 0]], dtype=np.float32)
    np.testing.assert_allclose(nearest(asked, sample), [0, 2, 2, np.nan], atol=1e-3)
    assert np.isnan(nearest(asked, sample[:0])).all()


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """A dataset with every modality."""
    return write_pictured(tmp_path_factory.mktemp("pictured") / "data")


@pytest.mark.parametrize(("config", "modality"), [(NI, "image"), (NI, "text"), (M2FN, "image")])
def test_each_encoder_gives_one_vector_per_content(pictured, config, modality):
    """Of a map the mean over places, and none where the modality is missing."""
    scorer = build_scorer(config, pictured, np.arange(60), seed=0)
    frame = pictured.inputs(np.arange(12))
    found = embeddings(scorer, modality, frame)
    assert found.ndim == 2
    columns = [name for name, role in scorer.roles.items() if role == modality]
    missing = frame[columns].isna().all(axis=1).to_numpy()
    assert missing.any()
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), missing)
    assert np.isfinite(found[~missing]).all()


def test_names_are_looked_for_in_lists():
    """With commas between; whole names, and nothing in nulls."""
    lists = pd.Series(["text,image", None, "", "imagery", "image"])
    np.testing.assert_array_equal(named(lists, "image"), [1, 0, 0, 0, 1])

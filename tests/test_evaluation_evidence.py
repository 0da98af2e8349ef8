"""What figures count: randomised A/B tests with the planned shares, others in their own slice."""

import numpy as np
import pandas as pd
import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.evaluation import (
    EvaluationConfig,
    evaluate_pairs,
    evaluate_slices,
    outcome_table,
)
from ni_platform.metrics.pair_probability import PredictedPairs
from ni_platform.metrics.scored import Observed, judged

QUICK = EvaluationConfig(replicates=0)
MANIFEST = Manifest(
    name="x",
    columns=Columns(content_id="id", ab_test="test", assignment="how"),
    target=Target(impressions="n", clicks="c"),
)
# Two randomised tests, one of them with a mismatch; two that a platform delivered; one alone.
FRAME = pd.DataFrame(
    {
        "id": list("abcdefghi"),
        "test": ["good", "good", "bad", "bad", "ads", "ads", "more", "more", None],
        "how": ["randomised"] * 4 + ["platform"] * 4 + [None],
        "n": [1000, 1000, 1000, 2000, 500, 9000, 400, 400, 1000],
        "c": [10, 20, 90, 10, 20, 30, 4, 8, 10],
    }
)
PREDICTED = np.array([0.1, 0.2, 0.1, 0.2, 0.2, 0.1, 0.2, 0.1, 0.3])
"""Right in `good` and `ads`, wrong in `bad` and `more`."""


@pytest.fixture
def table():
    """All contents as a test part, with predictions."""
    dataset = Dataset("memory", MANIFEST, FRAME)
    part = {"content_key": FRAME["id"], "content_id": FRAME["id"], "part": "in_domain"}
    membership = pd.DataFrame(part).assign(group=range(len(FRAME)))
    return outcome_table(dataset, membership, np.arange(len(FRAME))).assign(prediction=PREDICTED)


def test_figures_within_tests_count_randomised_ones_that_hold(table):
    """One pair, which is right; a platform's contents count as contents, the mismatch's never."""
    metrics = evaluate_slices(table, QUICK)
    test = metrics["test"]
    assert (test["n_tests"].value, test["n_contents"].value) == (1, 7)
    assert (test["pairwise_within"].value, test["n_pairs_within"].value) == (1.0, 1)
    counted = [0, 1, 4, 5, 6, 7, 8]
    error = PREDICTED - FRAME["c"] / FRAME["n"]
    assert test["rmse"].value == pytest.approx(np.sqrt((error[counted] ** 2).mean()))


def test_a_platform_has_its_own_slice(table):
    """Of its two A/B tests one is ordered right; without such tests there is no slice."""
    platform = evaluate_slices(table, QUICK)["platform"]
    assert (platform["n_tests"].value, platform["n_contents"].value) == (2, 4)
    assert platform["pairwise_within"].value == 0.5
    assert "platform" not in evaluate_slices(table[table["evidence"] != "platform"], QUICK)


def test_tables_of_earlier_runs_count_every_test(table):
    """They say nothing of evidence, and their A/B tests are all taken for randomised."""
    old = table.drop(columns=["evidence", "platform_test"]).assign(ab_test=FRAME["test"])
    assert len(judged(old)) == 9
    metrics = evaluate_slices(old, QUICK)
    assert metrics["test"]["n_tests"].value == 4
    assert "platform" not in metrics
    assert (np.asarray(Observed.of(old).impressions) == FRAME["n"]).all()


def test_probabilities_of_pairs_are_judged_within_randomised_tests(table):
    """A Gaussian process says something of every pair; the one that counts is in its interval."""
    first, second = np.array([0, 2, 4, 6]), np.array([1, 3, 5, 7])
    pairs = PredictedPairs(
        first=first, second=second, difference=np.full(4, -0.5), variance=np.full(4, 0.1)
    )
    found = evaluate_pairs(table, pairs, QUICK)["test"]
    assert found["pair_coverage"].value == 1.0
    every = evaluate_pairs(table.assign(ab_test=FRAME["test"]), pairs, QUICK)["test"]
    assert every["pair_coverage"].value < 1

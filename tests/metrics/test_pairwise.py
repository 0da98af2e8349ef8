from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, kendalltau

from ni_platform.metrics.concordance import concordance, count_smaller_before
from ni_platform.metrics.pairs import MAX_DISTANCE, within_test_pairs
from ni_platform.metrics.pairwise import (
    accuracy_by_confidence,
    pairwise_accuracy,
    pairwise_within,
)
from ni_platform.metrics.scored import Observed
from tests.metrics.columns import evaluate


def hits_and_pairs(prediction, truth, pairs):
    """NI Algorithm 2 as written, with half a hit for tied predictions."""
    hits = count = 0
    for i, j in pairs:
        if truth[i] != truth[j]:
            count += 1
            order = np.sign(prediction[i] - prediction[j]) * np.sign(truth[i] - truth[j])
            hits += (1 + order) / 2
    return hits, count


def test_pairwise_accuracy_by_hand():
    """Of the 5 pairs that differ, 3 are right and 1 is tied: 3.5 / 5."""
    # Truths 1 1 2 3: pairs 02+ 03+ 12= 13+ 23- ; the pair 01 has equal truths.
    assert pairwise_accuracy([0.1, 0.4, 0.4, 0.3 + 0.1], [1, 1, 2, 3]) == pytest.approx(
        (1 + 1 + 0.5 + 0.5 + 0.5) / 5
    )
    assert pairwise_accuracy([0.1, 0.4, 0.4, 0.5], [1, 1, 2, 3]) == pytest.approx(4.5 / 5)
    assert pairwise_accuracy([0.5, 0.4, 0.3], [1, 2, 3]) == 0.0


def test_pairwise_accuracy_without_a_pair_is_undefined():
    """Equal truths leave no pair, so the accuracy is NaN."""
    assert np.isnan(pairwise_accuracy([0.1, 0.2], [1, 1]))


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 100])
@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_concordance_agrees_with_counting_every_pair(size, levels):
    """Hits and pairs of each content are those of the double loop, whatever the ties."""
    rng = np.random.default_rng(size * levels)
    p, y = rng.integers(0, levels, (2, size)).astype(float)
    hits, pairs = concordance(p, y)
    for i in range(size):
        expected = hits_and_pairs(p, y, [(i, j) for j in range(size) if j != i])
        assert (hits[i], pairs[i]) == expected


def test_count_smaller_before_by_hand():
    """Each value counts the strictly smaller ones before it."""
    assert count_smaller_before(np.array([3, 1, 2, 2, 5, 1])).tolist() == [0, 0, 1, 1, 4, 0]


def test_pairwise_accuracy_agrees_with_kendalls_tau():
    """Without ties the accuracy is (1 + Kendall's τ) / 2."""
    rng = np.random.default_rng(0)
    p, y = rng.normal(size=(2, 5000))
    assert pairwise_accuracy(p, y) == pytest.approx((1 + kendalltau(p, y).statistic) / 2)


def test_three_forms_agree_with_counting_every_pair(planted_tests):
    """All three forms are those of loops over pairs, with scipy's χ² test as significance."""
    data = planted_tests(tests=25, arms=4, impressions=600)
    test = data["ab_test"].astype(object)
    test[:6] = None
    prediction = np.round(data["prediction"], 2)
    clicks, seen = data["clicks"], data["impressions"]
    truth = clicks / seen
    found = evaluate(prediction, clicks, seen, ab_test=test, replicates=0)

    def differs(i, j):
        if not clicks[i] + clicks[j]:
            return False
        table = [[clicks[i], seen[i] - clicks[i]], [clicks[j], seen[j] - clicks[j]]]
        return chi2_contingency(table, correction=False).pvalue < 0.05

    every = list(combinations(range(len(test)), 2))
    within = [(i, j) for i, j in every if test[i] is not None and test[i] == test[j]]
    significant = [(i, j) for i, j in within if differs(i, j)]
    for name, pairs in {
        "pairwise_accuracy": every,
        "pairwise_within": within,
        "pairwise_significant": significant,
    }.items():
        hits, count = hits_and_pairs(prediction, truth, pairs)
        assert found[name].value == pytest.approx(hits / count), name
    assert found["n_pairs_within"].value == hits_and_pairs(prediction, truth, within)[1]
    assert found["n_pairs_significant"].value == len(significant) > 10
    assert pairwise_within(prediction, clicks, seen, test) == pytest.approx(
        found["pairwise_within"].value
    )


def test_pairs_of_each_test_come_once():
    """Every pair of one test comes once, none of two tests or of contents outside tests."""
    codes = np.array([2, 0, 2, -1, 2, 0, 1, -1])
    pairs = [
        tuple(sorted(pair))
        for first, second in within_test_pairs(codes)
        for pair in zip(first.tolist(), second.tolist())
    ]
    assert sorted(pairs) == [(0, 2), (0, 4), (1, 5), (2, 4)]


def test_pairs_of_a_huge_test_are_bounded():
    """A test beyond 257 contents gives each content at most 256 partners after it."""
    batches = list(within_test_pairs(np.zeros(1500, dtype=np.int64)))
    assert len(batches) == MAX_DISTANCE
    assert all(len(np.unique(first)) == len(first) for first, _ in batches)


def test_no_tests_leave_within_test_accuracy_undefined():
    """Contents outside A/B tests have no within-test pair: NaN and a count of 0."""
    found = evaluate([0.1, 0.2, 0.3], [1, 2, 3], [10, 10, 10])
    assert np.isnan(found["pairwise_within"].value)
    assert np.isnan(found["ceiling_within"].value)
    assert found["n_pairs_within"].value == found["n_tests"].value == 0


def test_pairs_with_equal_inputs_are_left_out_of_the_distinct_forms():
    """Two arms that look alike to a model count half overall and not at all as distinct."""
    estimates = evaluate(
        prediction=[0.3, 0.3, 0.1],
        clicks=[300, 200, 100],
        impressions=[1000, 1000, 1000],
        ab_test=["t", "t", "t"],
        inputs=["same", "same", "other"],
        replicates=0,
    )

    # Pairs: the twins tie (half a hit), both others are in the right order.
    assert estimates["pairwise_within"].value == pytest.approx(2.5 / 3)
    assert estimates["pairwise_within_distinct"].value == 1.0
    assert estimates["n_pairs_within_distinct"].value == 2


def test_without_twins_there_are_no_distinct_forms():
    """Where every arm has its own inputs the distinct metrics would say the same twice."""
    estimates = evaluate([0.3, 0.1], [30, 10], [100, 100], ab_test=["t", "t"], inputs=["a", "b"])

    assert not any(name.endswith("_distinct") for name in estimates)


def test_accuracy_by_confidence():
    """Pairs far apart and near one another are judged apart: here all right, and half right."""
    tests = np.repeat(np.arange(40), 4)
    clicks = np.tile([10, 20, 30, 40], 40)
    # Far pairs are in the right order, and of the near ones, the first of two tests' pairs.
    prediction = np.tile([0.1, 0.11, 0.3, 0.31, 0.11, 0.1, 0.31, 0.3], 20)
    observed = Observed(clicks=clicks, impressions=np.full(160, 100), ab_test=tests)
    near, *far = accuracy_by_confidence(prediction, observed, bins=3)
    assert near[0] == pytest.approx(0.01)
    assert near[1].value == pytest.approx(0.5)
    assert near[1].low < 0.5 < near[1].high
    assert [accuracy.value for _, accuracy in far] == [1.0, 1.0]


def test_accuracy_by_confidence_without_pairs():
    """Contents that stand alone have none."""
    observed = Observed(clicks=[1, 2], impressions=[10, 10], ab_test=["a", "b"])
    assert accuracy_by_confidence([0.1, 0.2], observed) == []

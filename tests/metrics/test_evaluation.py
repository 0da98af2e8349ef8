import numpy as np
import pandas as pd
import pytest

from ni_platform.metrics.catalogue import METRICS as CATALOGUE
from ni_platform.metrics.evaluation import (
    change_versus,
    evaluate_by_domain,
    evaluate_scored,
)
from ni_platform.metrics.intervals import Estimate
from ni_platform.metrics.scored import EvaluationError, ScoredContents
from tests.metrics.columns import evaluate, observed, paired_difference, scored_contents

OUTCOME = ("clicks", "impressions", "ab_test")
METRICS = [
    name
    for name, metric in CATALOGUE.items()
    if not name.endswith("_distinct") and metric.family and metric.of_deviations is None
]


def test_every_metric_and_count_is_reported(planted_tests):
    """The result holds every metric of the families, each within its interval, and counts."""
    data = planted_tests()
    del data["rate"]
    found = evaluate(**data)
    counts = {"n_contents": 240, "n_tests": 60}
    assert set(found) == {*METRICS, *counts, "n_pairs_within", "n_pairs_significant"}
    for name in METRICS:
        assert found[name].low <= found[name].value <= found[name].high, name
    for name, count in counts.items():
        assert found[name].value == count
        assert np.isnan(found[name].low)


def test_merged_workers_equal_the_whole(planted_tests):
    """Rows of three workers merged give the metrics of all rows at once."""
    data = planted_tests()
    del data["rate"]
    shards = np.array_split(np.random.default_rng(0).permutation(240), 3)
    parts = [scored_contents(**{k: v[rows] for k, v in data.items()}) for rows in shards]
    merged = evaluate_scored(ScoredContents.concatenate(parts), replicates=0)
    whole = evaluate(**data, replicates=0)
    for name in METRICS:
        assert merged[name].value == pytest.approx(whole[name].value), name


def test_labels_may_be_of_any_kind(planted_tests):
    """Strings, numbers with -1, floats with NaN and pandas columns name the same tests."""
    data = planted_tests(tests=12)
    columns = {key: data[key] for key in ("prediction", "clicks", "impressions")}
    code = data["ab_test"].copy()
    code[:3] = -1
    kinds = [
        code,
        np.where(code < 0, np.nan, code),
        [None if c < 0 else f"test {c}" for c in code],
        pd.Series(pd.array(np.where(code < 0, None, code), dtype="Int64")),
        pd.Series([None if c < 0 else f"test {c}" for c in code], dtype="str"),
    ]
    results = [evaluate(**columns, ab_test=labels) for labels in kinds]
    for result in results[1:]:
        assert repr(result) == repr(results[0])


def test_contents_without_impressions_are_left_out():
    """A content that nobody saw has no observed rate and changes nothing."""
    seen = evaluate([0.1, 0.3], [1, 2], [10, 10])
    with_unseen = evaluate([0.1, 0.9, 0.3], [1, 0, 2], [10, 0, 10])
    assert repr(seen) == repr(with_unseen)


def test_given_success_rates_are_the_truth():
    """Mean ratings given as success rates are what predictions are compared with."""
    found = evaluate([0.5, 0.7], [5.0, 5.0], [10, 10], success_rate=[0.4, 0.9])
    assert found["mae"].value == pytest.approx(0.15)
    assert found["pairwise_accuracy"].value == 1.0


def test_paired_difference_of_equal_predictions_is_zero(planted_tests):
    """A prediction compared with itself differs by exactly 0 in every metric."""
    data = planted_tests()
    outcome = {key: data[key] for key in OUTCOME}
    for metric in METRICS:
        found = paired_difference(metric, data["prediction"], data["prediction"], **outcome)
        assert (found.value, found.low, found.high) == (0, 0, 0), metric


def test_paired_difference_cancels_what_is_shared(planted_tests):
    """The difference of two similar predictions has a narrower interval than either."""
    data = planted_tests(tests=200)
    outcome = {key: data[key] for key in OUTCOME}
    worse = data["prediction"] * np.exp(np.random.default_rng(5).normal(0, 0.05, 800))
    metric = "pairwise_within"
    a = evaluate(data["prediction"], **outcome)[metric]
    b = evaluate(worse, **outcome)[metric]
    found = paired_difference(metric, data["prediction"], worse, **outcome)
    assert found.value == pytest.approx(a.value - b.value)
    assert found.high - found.low < 0.5 * (a.high - a.low)


def test_oracle_beats_noise_in_the_paired_interval(planted_tests):
    """The true rate is better than a noisy copy of it with a whole interval above 0."""
    data = planted_tests(tests=200)
    outcome = {key: data[key] for key in OUTCOME}
    noisy = data["rate"] * np.exp(np.random.default_rng(5).normal(0, 1, 800))
    found = paired_difference("pairwise_within", data["rate"], noisy, **outcome)
    assert found.low > 0


def test_percent_changes_agree(planted_tests):
    """`percent=True` and `change_versus` give the same change of the RMSE."""
    data = planted_tests()
    outcome = {key: data[key] for key in OUTCOME}
    reference = evaluate(data["prediction"] * 1.3, **outcome, replicates=0)
    candidate = evaluate(data["prediction"], **outcome, replicates=0)
    paired = paired_difference(
        "rmse", data["prediction"], data["prediction"] * 1.3, **outcome, percent=True
    )
    assert paired.value == pytest.approx(change_versus(reference, candidate)["rmse"])


def test_change_versus_by_hand():
    """An RMSE that falls from 0.10 to 0.06 changes by −40 %, an accuracy from 0.5 to 0.6 by 20."""
    reference = {"rmse": Estimate(0.10), "pairwise_accuracy": Estimate(0.5)}
    candidate = {"rmse": Estimate(0.06), "pairwise_accuracy": Estimate(0.6)}
    assert change_versus(reference, candidate) == pytest.approx(
        {"rmse": -40.0, "pairwise_accuracy": 20.0}
    )


def test_domains_are_evaluated_on_their_own_contents(planted_tests):
    """Each domain's row is `evaluate` of its contents; contents without a domain have no row."""
    data = planted_tests(tests=30)
    del data["rate"]
    domain = np.array(["home", "checkout", None], dtype=object)[data["ab_test"] % 3]
    found = observed(data["clicks"], data["impressions"], ab_test=data["ab_test"])
    table = evaluate_by_domain(data["prediction"], found, domain)
    assert table["domain"].tolist() == ["checkout", "home"]
    rows = domain == "home"
    expected = evaluate(**{key: column[rows] for key, column in data.items()})
    home = table.set_index("domain").loc["home"]
    assert home["rmse"] == expected["rmse"].value
    assert home["spearman_low"] == expected["spearman"].low
    assert home["n_contents"] == 40
    assert "n_contents_low" not in table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": [0.1, np.nan]}, "prediction must be a finite number.*row 1"),
        ({"clicks": [1, 20]}, "clicks <= impressions.*row 1 with 20 clicks and 10"),
        ({"impressions": [0, 0], "clicks": [0, 0]}, "at least one content with impressions"),
        ({"ab_test": ["a"]}, "ab_test has shape"),
        ({"clicks": [1]}, "clicks has shape"),
    ],
)
def test_bad_columns_are_named(change, message):
    """Columns that cannot be compared raise one error that says which and what to do."""
    columns = {"prediction": [0.1, 0.2], "clicks": [1, 2], "impressions": [10, 10]} | change
    with pytest.raises(EvaluationError, match=message):
        evaluate(**columns)


def test_unknown_metric_names_the_nearest():
    """An unknown metric is an error that suggests the nearest one."""
    with pytest.raises(EvaluationError, match="did you mean 'rmse'"):
        paired_difference("rmsee", [0.1], [0.2], [1], [10])
    with pytest.raises(EvaluationError, match="of rates that is spearman"):
        paired_difference("spearman_std", [0.1], [0.2], [1], [10])

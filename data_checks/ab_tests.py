"""Checks on A/B tests: enough of them to evaluate, complete, and fairly randomised."""

from __future__ import annotations

import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np
import pandas as pd
from scipy.stats import chi2

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import TEST_PARTS, Splits, used

LEAST_TESTS = 10
"""Fewer A/B tests give no interval worth the name."""
SHARE_OF_FAIR_TESTS = 0.9
_NEARLY_EVEN = 1.5
_MISMATCH_P = 1e-4


def applies(dataset: Dataset, splits: Splits | None) -> bool:
    """Only datasets that declare an A/B test column have A/B tests."""
    return dataset.manifest.columns.ab_test is not None


def table(dataset: Dataset, splits: Splits | None) -> pd.DataFrame:
    """One row per A/B test.

    Columns: ab_test, contents, controls (where arms are declared), evaluable (1 where two or more
    contents are in the test part, or in the dataset where it has not been split) and mismatch_p,
    the p-value of a chi-square test of equal impressions. People are assigned at random, so arms
    planned to be equal differ only by chance; arms that are nearly equal, but not by chance,
    betray faulty randomisation ("sample ratio mismatch"; Fabijan et al., KDD 2019). Arms that
    differ by more than half were planned to be unequal, and get no p-value.
    """
    dataset, splits = used(dataset, splits)
    tests = dataset.ab_test
    evaluated = np.ones(len(dataset)) if splits is None else np.isin(splits.part, TEST_PARTS)
    frame = pd.DataFrame(
        {
            "ab_test": tests,
            "impressions": dataset.impressions,
            "evaluated": evaluated.astype(int),
            "control": 0 if dataset.arm is None else (dataset.arm == "control").astype(int),
        }
    )
    by_test = frame[tests.notna()].groupby("ab_test", sort=False)
    counts = by_test.agg(
        contents=("impressions", "size"),
        controls=("control", "sum"),
        in_test_part=("evaluated", "sum"),
        shown=("impressions", "sum"),
        most=("impressions", "max"),
        least=("impressions", "min"),
    ).reset_index()
    counts["evaluable"] = (counts["in_test_part"] >= 2).astype(int)
    counts["mismatch_p"] = _mismatch(frame, counts)
    return counts.drop(columns=["in_test_part", "shown", "most", "least"])


def suite(dataset: Dataset) -> gx.ExpectationSuite:
    """Rules for A/B tests."""
    rules: list[gxe.Expectation] = [
        gxe.ExpectColumnSumToBeBetween(
            column="evaluable",
            min_value=LEAST_TESTS,
            description=f"At least {LEAST_TESTS} A/B tests have two or more contents to compare "
            "in the test part.",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="contents",
            min_value=2,
            mostly=0.5,
            description="At least half of the A/B tests have two or more contents.",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="mismatch_p",
            min_value=_MISMATCH_P,
            mostly=SHARE_OF_FAIR_TESTS,
            description=f"In {SHARE_OF_FAIR_TESTS:.0%} of the A/B tests with nearly equal arms, "
            f"impressions differ as by chance (chi-square p at least {_MISMATCH_P:g}): the "
            "randomisation worked.",
        ),
    ]
    if dataset.manifest.columns.arm is not None:
        rules.append(
            gxe.ExpectColumnValuesToBeBetween(
                column="controls",
                max_value=1,
                description="No A/B test has more than one control.",
            )
        )
    return gx.ExpectationSuite(name="ab_tests", expectations=rules)


def _mismatch(frame: pd.DataFrame, counts: pd.DataFrame) -> np.ndarray:
    """p-value per A/B test, nan where its arms were not planned to be equal."""
    expected = frame["ab_test"].map(
        (counts["shown"] / counts["contents"]).set_axis(counts["ab_test"])
    )
    distance = (frame["impressions"] - expected.astype(float)) ** 2 / expected.astype(float)
    statistic = distance.groupby(frame["ab_test"]).sum().reindex(counts["ab_test"]).to_numpy()
    comparable = (counts["contents"] >= 2) & (counts["most"] <= _NEARLY_EVEN * counts["least"])
    p_value = chi2.sf(statistic, np.maximum(counts["contents"] - 1, 1))
    return np.where(comparable, p_value, np.nan)

"""Checks on A/B tests: enough of them to evaluate, complete, and fairly randomised."""

from __future__ import annotations

import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.data.sample_ratio import MISMATCH_P
from ni_platform.data.splits import TEST_PARTS, Splits, used

LEAST_TESTS = 10
"""Fewer A/B tests give no interval worth the name."""
SHARE_OF_FAIR_TESTS = 0.9
"""Some A/B tests that fail are left out of the evaluation; many betray a fault of all."""


def applies(dataset: Dataset, splits: Splits | None) -> bool:
    """Only datasets that declare an A/B test column have A/B tests."""
    return dataset.manifest.columns.ab_test is not None


def table(dataset: Dataset, splits: Splits | None) -> pd.DataFrame:
    """One row per A/B test.

    Columns: ab_test, contents, controls (where arms are declared), evaluable (1 where two or more
    contents are in the test part, or in the dataset where it has not been split) and mismatch_p,
    the p-value of its impressions under the planned shares (`Dataset.sample_ratio`, of all
    contents; nan where it is not randomised, shares are unknown or impressions few).
    """
    mismatch = dataset.sample_ratio.table.set_index("ab_test")["p"]
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
    ).reset_index()
    counts["evaluable"] = (counts["in_test_part"] >= 2).astype(int)
    counts["mismatch_p"] = counts["ab_test"].map(mismatch).astype(float)
    return counts.drop(columns=["in_test_part"])


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
    ]
    if dataset.sample_ratio.table["p"].notna().any():
        # Where no A/B test can be checked, nobody shall read that all passed.
        rules.append(
            gxe.ExpectColumnValuesToBeBetween(
                column="mismatch_p",
                min_value=MISMATCH_P,
                mostly=SHARE_OF_FAIR_TESTS,
                description=f"In {SHARE_OF_FAIR_TESTS:.0%} of the randomised A/B tests impressions "
                f"differ from the planned shares as by chance (p at least {MISMATCH_P:g}): the "
                "randomisation worked.",
            )
        )
    if dataset.manifest.columns.arm is not None:
        rules.append(
            gxe.ExpectColumnValuesToBeBetween(
                column="controls",
                max_value=1,
                description="No A/B test has more than one control.",
            )
        )
    return gx.ExpectationSuite(name="ab_tests", expectations=rules)

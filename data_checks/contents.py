"""Checks on the contents table: ids, counts, outcomes and the cells that a model will read."""

from __future__ import annotations

import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np
import pandas as pd

from ni_platform.data import storage
from ni_platform.data.click_log.report import REPORT_FILE
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import Splits, used
from ni_platform.data.total_rows import total_rows
from ni_platform.data.vectors import stacked

LEAST_CONTENTS = 20
"""Fewer contents cannot be split into parts that say anything."""
MOST_LEVELS_FREELY = 50
"""A categorical column may have this many levels; beyond it, half as many levels as contents."""
_FINITE = 1e30
_TOTALS = "totals of all others"


def applies(dataset: Dataset, splits: Splits | None) -> bool:
    """Every dataset has contents."""
    return True


def table(dataset: Dataset, splits: Splits | None) -> pd.DataFrame:
    """One row per content: declared columns (of vectors the length) and what follows from them."""
    totals = _total_rows(dataset)
    dataset, _ = used(dataset, splits)
    columns = dataset.manifest.columns
    found = {columns.content_id: dataset.content_id}
    for name in (*columns.inputs, columns.arm, columns.split):
        if name is not None:
            found[name] = dataset.contents[name]
    for name in columns.vector:
        values_ND, present_N = stacked(dataset.contents[name])
        found[name] = pd.Series(np.linalg.norm(values_ND, axis=1)).where(present_N)
    for name in (*columns.text, *_labels(dataset)):
        cells = dataset.contents[name].astype(object)
        found[name] = cells.where(cells.isna(), cells.astype(str))
    for name in dataset.manifest.target.declared.values():
        counts = dataset.contents[name].to_numpy(dtype=np.float64, na_value=np.nan)
        found[name] = pd.Series(counts)
        with np.errstate(invalid="ignore"):
            found[_fraction(name)] = pd.Series(np.abs(counts - np.rint(counts)))
    found["number of ratings" if dataset.manifest.target.ratings else "impressions shown"] = (
        pd.Series(dataset.impressions)
    )
    found[_TOTALS] = dataset.content_id.isin(totals)
    found["success rate"] = pd.Series(dataset.success_rate)
    if columns.inputs:
        found["filled inputs"] = dataset.contents[list(columns.inputs)].notna().sum(axis=1)
    return pd.DataFrame(found)


def suite(dataset: Dataset) -> gx.ExpectationSuite:
    """Rules for the declared columns of this dataset."""
    columns = dataset.manifest.columns
    rules = [
        gxe.ExpectTableRowCountToBeBetween(
            min_value=LEAST_CONTENTS,
            description=f"There are at least {LEAST_CONTENTS} contents.",
        ),
        gxe.ExpectColumnValuesToNotBeNull(
            column=columns.content_id, description="Every content has an id."
        ),
        gxe.ExpectColumnValuesToBeUnique(
            column=columns.content_id, description="No content id comes twice."
        ),
        *_outcome_rules(dataset),
        *_text_rules(dataset),
        *_attribute_rules(dataset),
        *_role_rules(dataset),
    ]
    return gx.ExpectationSuite(name="contents", expectations=rules)


def _outcome_rules(dataset: Dataset) -> list[gxe.Expectation]:
    target = dataset.manifest.target
    rules: list[gxe.Expectation] = []
    for name in target.declared.values():
        rules += [
            gxe.ExpectColumnValuesToNotBeNull(
                column=name, description=f"{name} is given for every content."
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column=name,
                min_value=0,
                max_value=_FINITE,
                description=f"{name} is a finite number that is not negative.",
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column=_fraction(name),
                max_value=0,
                description=f"{name} is a whole number: a count, not a rate.",
            ),
        ]
    shown = "number of ratings" if target.ratings else "impressions shown"
    rules.append(
        gxe.ExpectColumnValuesToBeBetween(
            column=shown,
            min_value=1,
            description="Every content was shown or rated at least once.",
        )
    )
    if target.ratings is None:
        rules.append(
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=target.impressions,
                column_B=target.clicks,
                or_equal=True,
                ignore_row_if="either_value_is_missing",
                description=f"Clicks ({target.clicks}) never exceed impressions "
                f"({target.impressions}).",
            )
        )
    rules.append(
        gxe.ExpectColumnValuesToBeInSet(
            column=_TOTALS,
            value_set=[False],
            description="No row holds the totals of all other rows, as reports end with.",
        )
    )
    rules.append(
        gxe.ExpectColumnUniqueValueCountToBeBetween(
            column="success rate",
            min_value=2,
            description="Success rates differ: there is something to learn.",
        )
    )
    return rules


def _text_rules(dataset: Dataset) -> list[gxe.Expectation]:
    columns = dataset.manifest.columns
    rules: list[gxe.Expectation] = [
        gxe.ExpectColumnValuesToMatchRegex(
            column=name,
            regex=r"\S",
            description=f"{name} is not blank: a missing text or label is a null cell.",
        )
        for name in (*columns.text, *_labels(dataset))
    ]
    if columns.inputs:
        rules.append(
            gxe.ExpectColumnValuesToBeBetween(
                column="filled inputs",
                min_value=1,
                description="Every content has a picture, a text, a domain or an attribute.",
            )
        )
    return rules


def _attribute_rules(dataset: Dataset) -> list[gxe.Expectation]:
    columns = dataset.manifest.columns
    most = max(MOST_LEVELS_FREELY, len(dataset) // 2)
    rules: list[gxe.Expectation] = [
        gxe.ExpectColumnProportionOfNonNullValuesToBeBetween(
            column=name,
            min_value=0,
            strict_min=True,
            description=f"{name}, declared as an input, is given for some contents.",
        )
        for name in columns.inputs
    ]
    rules += [
        gxe.ExpectColumnUniqueValueCountToBeBetween(
            column=name,
            max_value=most,
            description=f"{name} has at most {most} levels: it is a category, not an id.",
        )
        for name in columns.categorical
    ]
    rules += [
        gxe.ExpectColumnValuesToBeBetween(
            column=name,
            min_value=-_FINITE,
            max_value=_FINITE,
            description=f"{name} is finite where it is given.",
        )
        for name in columns.numeric
    ]
    rules += [
        gxe.ExpectColumnValuesToBeBetween(
            column=name,
            min_value=0,
            strict_min=True,
            description=f"{name} is not all zeros: a missing vector is a null cell.",
        )
        for name in columns.vector
    ]
    return rules


def _role_rules(dataset: Dataset) -> list[gxe.Expectation]:
    columns = dataset.manifest.columns
    rules: list[gxe.Expectation] = []
    if columns.arm is not None:
        rules.append(
            gxe.ExpectColumnValuesToBeInSet(
                column=columns.arm,
                value_set=["control", "treatment"],
                description=f'{columns.arm} is "control" or "treatment" where it is given.',
            )
        )
    if columns.split is not None:
        allowed = ["train", "validation", "test"]
        rules += [
            gxe.ExpectColumnValuesToNotBeNull(
                column=columns.split, description=f"{columns.split} is given for every content."
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column=columns.split,
                value_set=allowed,
                description=f"{columns.split} is one of {', '.join(allowed)}.",
            ),
        ]
    return rules


def _total_rows(dataset: Dataset) -> list[str]:
    """Ids of rows of totals, among all contents: also of those that an experiment leaves out.

    Counts that were made of single events hold no totals.
    """
    if storage.exists(storage.join(dataset.root, REPORT_FILE)):
        return []
    outcomes = dataset.contents[list(dataset.manifest.target.declared.values())]
    places = total_rows(outcomes.to_numpy(dtype=np.float64, na_value=np.nan))
    return dataset.content_id.iloc[places].tolist()


def _labels(dataset: Dataset) -> tuple[str, ...]:
    """Columns of labels, which are compared as text."""
    columns = dataset.manifest.columns
    return (*columns.categorical, *((columns.domain,) if columns.domain else ()))


def _fraction(name: str) -> str:
    return f"fraction of {name}"

"""Checks on a dataset that was counted from a click log: it is what `aggregation.json` says."""

from __future__ import annotations

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd

from ni_platform.data import storage
from ni_platform.data.click_log.report import REPORT_FILE, Aggregation
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import Splits

_REJECTED = "share of rows rejected"
_ASTRAY = "rows of the log gone astray"


def applies(dataset: Dataset, splits: Splits | None) -> bool:
    """Only datasets that `ni data aggregate` has written have its report beside them."""
    return storage.exists(storage.join(dataset.root, REPORT_FILE))


def table(dataset: Dataset, splits: Splits | None) -> pd.DataFrame:
    """One row per combination.

    Columns: content id, keys, impressions and clicks; per attribute the impressions that the log
    has of the row's level, rare combinations included; and, the same in all rows, the share of
    rejected rows and the rows that were neither rejected, dropped, left out nor counted.
    """
    report = Aggregation.of(dataset.root)
    target = dataset.manifest.target
    counts = [name for name in (target.impressions, target.clicks) if name is not None]
    columns = [dataset.manifest.columns.content_id, *report.keys, *counts]
    found = dataset.contents[columns].copy()
    for attribute, levels in report.levels.items():
        found[_of_level(attribute)] = found[attribute].map(levels).astype(float)
    found[_REJECTED] = report.rejected / report.rows
    known = report.rejected + sum(report.dropped.values()) + report.impressions
    left_out = report.impressions_below_min + report.impressions_without_creative
    found[_ASTRAY] = report.rows - known - left_out
    return found


def suite(dataset: Dataset) -> gx.ExpectationSuite:
    """Rules for a dataset counted from a log."""
    report = Aggregation.of(dataset.root)
    impressions = dataset.manifest.target.impressions
    clicks = dataset.manifest.target.clicks
    rules: list[gxe.Expectation] = [
        gxe.ExpectTableRowCountToEqual(
            value=report.contents,
            description=f"There are the {report.contents:,} combinations that were counted.",
        ),
        gxe.ExpectCompoundColumnsToBeUnique(
            column_list=report.keys,
            ignore_row_if="never",
            description="No combination of content and attributes comes twice.",
        )
        if len(report.keys) > 1
        else gxe.ExpectColumnValuesToBeUnique(
            column=report.keys[0], description="No content comes twice."
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column=impressions,
            min_value=max(1, report.min_impressions),
            description=f"Every combination was shown at least {max(1, report.min_impressions):,} "
            "times (min_impressions).",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column=clicks, min_value=0, description="Clicks are not negative."
        ),
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=impressions,
            column_B=clicks,
            or_equal=True,
            description="Every exposure was clicked at most once.",
        ),
        *(
            gxe.ExpectColumnSumToBeBetween(
                column=name,
                min_value=total,
                max_value=total,
                description=f"{name} add up to the {total:,} that were counted.",
            )
            for name, total in ((impressions, report.impressions), (clicks, report.clicks))
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column=_REJECTED,
            max_value=report.max_rejected,
            description=f"At most {report.max_rejected:.2%} of the log's rows were rejected "
            "(max_rejected).",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column=_ASTRAY,
            min_value=0,
            max_value=0,
            description="Every row of the log was counted, rejected, dropped or left out.",
        ),
    ]
    for attribute, levels in report.levels.items():
        rules += _level_rules(attribute, levels, report.min_level_impressions)
    return gx.ExpectationSuite(name="click_log", expectations=rules)


def _level_rules(attribute: str, levels: dict[str, int], least: int) -> list[gxe.Expectation]:
    rules: list[gxe.Expectation] = [
        gxe.ExpectColumnValuesToBeInSet(
            column=attribute,
            value_set=list(levels),
            description=f"Every level of {attribute} is one that was counted.",
        )
    ]
    if len(levels) > 1:  # a single level has none to be merged with
        rules.append(
            gxe.ExpectColumnValuesToBeBetween(
                column=_of_level(attribute),
                min_value=least,
                description=f"Every level of {attribute} was shown at least {least:,} times "
                "(min_level_impressions).",
            )
        )
    return rules


def _of_level(attribute: str) -> str:
    return f"impressions of its {attribute}"

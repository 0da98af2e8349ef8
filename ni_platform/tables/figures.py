"""Figures of a table from the predictions and compared pairs of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ni_platform.errors import ConfigError
from ni_platform.evaluation import OBSERVED_STD, PREDICTED_STD, SLICES
from ni_platform.insights.correlation import mean_correlation
from ni_platform.insights.record import recorded_pairs
from ni_platform.metrics.catalogue import known_metric
from ni_platform.metrics.evaluation import averaged, percent_change
from ni_platform.metrics.intervals import Draws, Estimate
from ni_platform.metrics.pairwise import within_test_metrics
from ni_platform.metrics.scored import Observed
from ni_platform.tables.paper_table import (
    CONTROL_BEST,
    INSIGHT,
    Column,
    MeasuredRow,
    PaperTable,
    Row,
    full_label,
)
from ni_platform.tracking.run_queries import read_table_artifact
from ni_platform.tracking.store import Store


def measure(
    store: Store,
    table: PaperTable,
    rows: Sequence[Row],
    runs: Mapping[str, Sequence[str]],
    replicates: int,
) -> tuple[tuple[MeasuredRow, ...], dict[str, list[pd.DataFrame]]]:
    """Return each row's figures, and by label the predictions of its runs.

    `runs` holds the runs of each row by its label; `replicates` stand behind each interval.
    """
    predictions = {
        label: [read_table_artifact(store, run, "predictions/test.parquet") for run in ids]
        for label, ids in runs.items()
    }
    pairs = {
        full_label(row): [
            table[table["method"] == row.method]
            for table in (recorded_pairs(store, run) for run in runs[full_label(row)])
        ]
        for row in rows
        if row.method is not None
    }
    found = []
    for row in rows:
        figures: dict[str, Estimate] = {}
        spread: dict[str, float] = {}
        for column in table.columns:
            measured = pairs if column.metric.startswith(INSIGHT) else predictions
            own = measured[full_label(row)]
            reference = None
            if column.relative_to is not None:
                reference = measured[full_label(reference_row(column, row, rows))]
            estimate = _figure(column, own, reference, replicates)
            if estimate is None:
                continue
            figures[column.title] = estimate
            if len(own) > 1 and reference is None:
                each = [_figure(column, [one], None, 0) for one in own]
                spread[column.title] = float(np.std([e.value for e in each if e], ddof=1))
        found.append(
            MeasuredRow(
                row=row,
                runs=tuple(runs[full_label(row)]),
                figures=figures,
                spread=spread,
            )
        )
    return tuple(found), predictions


def _figure(
    column: Column,
    own: Sequence[pd.DataFrame],
    reference: Sequence[pd.DataFrame] | None,
    replicates: int,
) -> Estimate | None:
    """Return the column's figure; None where the slice is empty or the metric not defined."""
    if column.metric.startswith(INSIGHT):
        return _insight_correlation(column, own, reference, replicates)
    part, _, metric = column.metric.partition("/")
    predicted, observed = "prediction", "success_rate"
    if (of_rates := known_metric(metric).of_deviations) is not None:
        metric, predicted, observed = of_rates, PREDICTED_STD, OBSERVED_STD
    rows = own[0]["part"].isin(SLICES[part]).to_numpy()
    if not rows.any() or predicted not in own[0]:
        return None
    if part == "in_domain" and not (own[0]["part"] == "out_of_domain").any():
        return None  # it is the whole test part
    first = own[0][rows]
    within_tests = known_metric(metric).family is within_test_metrics
    if within_tests and not first["ab_test"].notna().any():
        return None
    estimate = averaged(
        metric,
        [table.loc[rows, predicted] for table in own],
        replace(Observed.of(first), success_rate=first[observed]),
        reference=None
        if reference is None
        else [table.loc[rows, predicted] for table in reference],
        replicates=replicates,
    )
    return estimate if np.isfinite(estimate.value) else None


def _insight_correlation(
    column: Column,
    own: Sequence[pd.DataFrame],
    reference: Sequence[pd.DataFrame] | None,
    replicates: int,
) -> Estimate | None:
    """As `_figure`, from the pairs that each run compared; a change is on the same draws."""

    def mean(trainings: Sequence[pd.DataFrame]) -> Draws:
        modality = column.metric.removeprefix(INSIGHT).removesuffix(CONTROL_BEST)
        chosen = [table[table["modality"] == modality] for table in trainings]
        if column.metric.endswith(CONTROL_BEST):
            chosen = [table[table["control_best"]] for table in chosen]
        return mean_correlation(chosen, replicates=replicates)

    found = mean(own)
    if reference is not None:
        found = percent_change(found, mean(reference))
    return found.estimate() if np.isfinite(found.value) else None


def reference_row(column: Column, row: Row, rows: Iterable[Row]) -> Row:
    """Return the row that a column of a row is measured against."""
    for other in rows:
        if (other.group, other.label) == (row.group, column.relative_to):
            return other
    raise ConfigError(
        f"{column.title!r} of {full_label(row)!r} is a change against {column.relative_to!r}, but "
        "there is no such row in its group; add it, or name another in relative_to"
    )

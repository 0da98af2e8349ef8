"""What came of predictions, as a run: tables, figures, a plot, and what it says in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ni_platform.hindsight.figures import RATE_COVERAGE
from ni_platform.hindsight.judging import Outcomes, label
from ni_platform.tracking.metric_table import COLUMNS, add_metrics
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPERIMENT = "outcomes"
SLICE = "outcomes"
PLOT = "plots/outcomes.png"
_LEFT_OUT = ["covariance", "place", "row"]
"""Columns that say nothing once predictions and outcomes are joined."""
_DRAWN = (
    "pairwise_within_distinct",
    "pairwise_within",
    "pairwise_accuracy",
    "pair_coverage",
    RATE_COVERAGE,
)
"""Shares, which are drawn on one axis."""


def record_outcomes(store: Store, found: Outcomes, results: Sequence[str | Path]) -> str:
    """Write everything into a run of the experiment `outcomes`; return its id."""
    dataset = found.dataset
    record = RunRecord.start(
        store,
        EXPERIMENT,
        run_name=f"outcomes {dataset.manifest.name}",
        parameters={"results": ", ".join(Path(str(one)).name for one in results) or "none"},
        tags={
            "ni.dataset": dataset.root,
            "ni.dataset_fingerprint": dataset.fingerprint(),
            "ni.dataset_before": None if found.appended is None else found.appended.before,
        },
    )
    with record:
        record.log_table(found.predictions.drop(columns=_LEFT_OUT), "outcomes/predictions.parquet")
        record.log_table(found.figures, "outcomes/figures.parquet")
        record.log_table(found.plans, "outcomes/plans.parquet")
        record.log_table(found.shadows, "outcomes/shadows.parquet")
        used = found.figures[~found.figures["shadow"].astype(bool)]
        if len(used):
            # Of the model that predicted most; a run shows one figure of each name.
            run = used["model_run"].iloc[int(np.argmax(used["contents"]))]
            own = used[used["model_run"] == run].assign(slice=SLICE)
            own = own.rename(columns={"contents": "n"})
            add_metrics(record, own[list(COLUMNS)])
            record.log_metrics(
                {f"{SLICE}/{row['metric']}": row["value"] for row in own.to_dict("records")}
            )
        figure = outcomes_figure(found)
        if figure is not None:
            record.log_figure(figure, PLOT)
        lines = ["## What came of predictions", *(f"- {words}" for words in found.sentences())]
        record.describe("\n".join(lines))
    return record.run_id


def outcomes_figure(found: Outcomes) -> Figure | None:
    """Shares on new contents beside those of the test part, a row per model and figure."""
    # Matplotlib takes half a second to import.
    from matplotlib.figure import Figure

    table = found.figures[found.figures["metric"].isin(_DRAWN)].reset_index(drop=True)
    if table.empty:
        return None
    figure = Figure(figsize=(7, 1.2 + 0.5 * len(table)), layout="constrained")
    axes = figure.subplots()
    for start, name, mark, colour, offset in (
        ("then_", "when it was tested", "o", "0.55", 0.12),
        ("", "on what came after", "s", "C0", -0.12),
    ):
        value, low, high = (
            table[name].to_numpy(float)
            for name in (("then" if start else "value"), f"{start}low", f"{start}high")
        )
        # An interval of one cluster is not known.
        reach = np.nan_to_num(np.stack([value - low, high - value]))
        place = np.arange(len(table)) + offset
        axes.errorbar(value, place, xerr=reach, fmt=mark, color=colour, capsize=3, label=name)
    names = [f"{row['model']}\n{label(row['metric'])}" for row in table.to_dict("records")]
    axes.set_yticks(range(len(table)), names)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlabel("share, with 95 % interval")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return figure

"""`ni outcomes`: new results into the dataset, beside the predictions made before them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from ni_platform.cli.data.options import dates_option, text_table_options
from ni_platform.cli.output import console, json_option, print_json, table

if TYPE_CHECKING:
    from ni_platform.hindsight.judging import Outcomes


_SHOWN_PLANS = 20


@click.command("outcomes")
@click.argument("results", nargs=-1, metavar="[RESULTS]...")
@click.argument("folder")
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="PLACE",
    help="Folder or s3:// prefix of a served model's predictions; NI_LOG_PREDICTIONS if not given.",
)
@click.option("--images", metavar="FOLDER", help="Pictures of new contents; the table's folder.")
@dates_option
@json_option
@text_table_options
def command(
    results: tuple[str, ...],
    folder: str,
    logs: tuple[str, ...],
    images: str | None,
    dates: Any,
    as_json: bool,
    form: Any,
    say: Any,
) -> None:
    """Add RESULTS to the dataset FOLDER, and say what came of predictions made before them.

    RESULTS are exports of the kind that the folder was imported from, or tables with its columns.
    Predictions are those of recorded plans, and of --log. Without RESULTS, contents with a day are
    compared that the folder has already.
    """
    from ni_platform.hindsight.judging import judge_outcomes
    from ni_platform.hindsight.record import record_outcomes
    from ni_platform.registry.served_log import VARIABLE
    from ni_platform.tracking.store import open_store

    store = open_store()
    # Not by click, which takes a blank in the variable for the end of a place.
    logs = logs or tuple(filter(None, [os.environ.get(VARIABLE)]))
    found = judge_outcomes(
        store, folder, results, logs=logs, images=images, dates=dates, form=form, say=say
    )
    run_id = record_outcomes(store, found, results)
    print_outcomes(found)
    console.print(f"Run:   {run_id}\nNext:  ni ui, artifact plots/outcomes.png", highlight=False)
    if as_json:
        print_json(
            {
                "run_id": run_id,
                "figures": found.figures.to_dict("records"),
                "plans": found.plans.to_dict("records"),
                "shadows": found.shadows.to_dict("records"),
                "sentences": found.sentences(),
            }
        )


def print_outcomes(found: Outcomes) -> None:
    """Print figures now and then, followed plans, and what follows in words."""
    from ni_platform.hindsight.judging import label

    rows = [
        (
            f"{row['model']}{' (shadow)' if row['shadow'] else ''}",
            label(row["metric"]),
            _estimate(row["value"], row["low"], row["high"]),
            _estimate(row["then"], row["then_low"], row["then_high"]),
            _estimate(row["difference"], row["difference_low"], row["difference_high"]),
        )
        for row in found.figures.to_dict("records")
    ]
    if rows:
        heads = ("model", "figure", "on what came after", "when it was tested", "difference")
        table("Predictions and outcomes", heads, rows)
    plans = [
        (row["request"], row["ab_test"], row["first"], row["best"], f"{row['gain']:+.2f}")
        for row in found.plans.tail(_SHOWN_PLANS).to_dict("records")
    ]
    if plans:
        heads = ("plan", "A/B test", "first choice", "winner", "clicks per 1,000 against all")
        table("Plans that were followed", heads, plans)
        if (more := len(found.plans) - len(plans)) > 0:
            console.print(f"and {more:,} more: outcomes/plans.parquet of the run", highlight=False)
    for sentence in found.sentences():
        console.print(sentence, highlight=False, markup=False)


def _estimate(value: float, low: float, high: float) -> str:
    if value != value:
        return "–"
    return f"{value:.3f}" if low != low else f"{value:.3f}\n[dim]{low:.3f} – {high:.3f}[/dim]"

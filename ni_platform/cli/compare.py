"""`ni compare`: recorded runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ni_platform.cli.output import console, json_option, print_json, table

COMPARED = {
    "test/rmse": "RMSE",
    "test/spearman": "Spear.",
    "test/pairwise_accuracy": "pairs",
    "test/pairwise_within": "tests",
    "test/pairwise_significant": "signif",
    "test/pairwise_within_distinct": "tests*",
    "test/pairwise_significant_distinct": "signif*",
}
"""The metrics that are shown unless others are asked for, under headings that fit a terminal."""


@click.command("compare")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--experiment", help="Only runs of this experiment definition.")
@click.option("--metric", "metrics", multiple=True, help="Metric to show, such as test/rmse.")
@click.option("--limit", default=20, show_default=True, help="Newest runs to show.")
@json_option
def command(
    runs: tuple[str, ...],
    experiment: str | None,
    metrics: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """Compare the newest runs, or the RUNs given, by their metrics on the test split.

    RUN is a run id, or the name of a run or an experiment, of which the newest is taken. Metrics of
    runs on different data cannot be compared; the column `data` tells them apart.
    """
    from ni_platform.comparison import compare_runs, page_of
    from ni_platform.tracking.store import open_store

    labels = {name: name for name in metrics} or COMPARED
    store = open_store()
    found = compare_runs(store, runs, experiment=experiment, limit=limit)
    shown = [name for name in labels if name in found and found[name].notna().any()]
    if found.empty:
        console.print("no runs yet; [bold]ni train[/bold] records one")
    else:
        table(
            "Runs, newest first; metrics on the test part with 95 % intervals",
            ("name, data, status, run", *(labels[name] for name in shown)),
            [
                (
                    f"{run['run_name']}\n{_dataset(run['dataset'])}, "
                    f"{run['status'].lower()}\n[dim]{run['run_id']}[/dim]",
                    *(_figure(run, name) for name in shown),
                )
                for _, run in found.iterrows()
            ],
        )
        if not metrics:
            console.print(
                "Pairwise accuracy of all pairs, of pairs within A/B tests, of significant pairs;\n"
                "* of those whose inputs differ. Compare only runs on the same data.",
                style="dim",
            )
        if len(found) > 1:
            # In one piece, so that a terminal opens it.
            console.print(f"In MLflow: {page_of(store, found)}", highlight=False, soft_wrap=True)
    if as_json:
        print_json({"runs": json.loads(found.to_json(orient="records", date_format="iso"))})


def _dataset(place: str | None) -> str:
    """The folder's name, or a dash for a run of no dataset."""
    return Path(place).name if isinstance(place, str) else "–"


def _figure(run: Any, name: str) -> str:
    """A figure of a row of `compare_runs`, its interval below; a dash where it has none."""
    value, low, high = (run[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None or value != value:
        return "–"
    return f"{value:.3f}" if low != low else f"{value:.3f}\n[dim]{low:.3f}–{high:.3f}[/dim]"

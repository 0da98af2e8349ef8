"""`ni compare`: recorded runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ni_platform.cli.output import console, json_option, print_json, table

COMPARED = {
    "test/rmse": "RMSE",
    "test/spearman": "Spear.",
    "test/pairwise_accuracy": "pairs",
    "test/pairwise_accuracy_within_tests": "tests",
    "test/pairwise_accuracy_significant": "signif",
    "test/pairwise_accuracy_within_tests_distinct": "tests*",
    "test/pairwise_accuracy_significant_distinct": "signif*",
}
"""The metrics that are shown unless others are asked for, under headings that fit a terminal."""


@click.command("compare")
@click.argument("runs", nargs=-1, metavar="[RUN_ID]...")
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
    """Compare the newest runs, or the RUN_IDs given, by their metrics on the test split.

    Metrics of runs on different data cannot be compared; the column `data` tells them apart.
    """
    from ni_platform.tracking.run_queries import list_runs
    from ni_platform.tracking.store import open_store

    found = list_runs(open_store(), experiment, limit=None if runs else limit)
    if runs:
        found = found[found["run_id"].isin(runs)]
    labels = {name: name for name in metrics} or COMPARED
    shown = [name for name in labels if name in found and found[name].notna().any()]
    if found.empty:
        console.print("no runs yet; [bold]ni train[/bold] records one")
    else:
        table(
            "Runs, newest first; metrics on the test part",
            ("name, data, status, run", *(labels[name] for name in shown)),
            [
                (
                    f"{run['run_name']}\n{_dataset(run['dataset'])}, "
                    f"{run['status'].lower()}\n[dim]{run['run_id']}[/dim]",
                    *(_figure(run[name]) for name in shown),
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
    if as_json:
        print_json({"runs": json.loads(found.to_json(orient="records", date_format="iso"))})


def _dataset(place: str | None) -> str:
    """The folder's name, or a dash for a run of no dataset."""
    return Path(place).name if isinstance(place, str) else "–"


def _figure(value: float | None) -> str:
    """Three digits, or a dash for a run that does not have the metric."""
    return "–" if value is None or value != value else f"{value:.3f}"

"""`ni compare`: recorded runs side by side."""

from __future__ import annotations

import json

import click

from ni_platform.cli.output import console, json_option, print_json, table


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
    from ni_platform.evaluation import HEADLINE
    from ni_platform.tracking.run_queries import list_runs

    found = list_runs(experiment, limit=None if runs else limit)
    if runs:
        found = found[found["run_id"].isin(runs)]
    wanted = metrics or tuple(f"test/{name}" for name in HEADLINE)
    shown = [name for name in wanted if name in found and found[name].notna().any()]
    if found.empty:
        console.print("no runs yet; [bold]ni train[/bold] records one")
    else:
        table(
            "Runs, newest first (metrics on the test slice unless named otherwise)",
            ("run", "name", "status", "data", *(name.removeprefix("test/") for name in shown)),
            found[["run_id", "run_name", "status", "dataset", *shown]].to_numpy(object).tolist(),
        )
    if as_json:
        print_json({"runs": json.loads(found.to_json(orient="records", date_format="iso"))})

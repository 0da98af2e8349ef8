"""`ni compare`: recorded runs side by side."""

from __future__ import annotations

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
    from ni_platform.tracking.run_record import list_runs

    found = list_runs(run_ids=runs, experiment=experiment, limit=limit)
    wanted = metrics or tuple(f"test/{name}" for name in HEADLINE)
    shown = [name for name in wanted if any(name in run.metrics for run in found)]
    if not found:
        console.print("no runs yet; [bold]ni train[/bold] records one")
    else:
        table(
            "Runs, newest first",
            ("run", "name", "status", "data", *(name.removeprefix("test/") for name in shown)),
            [
                (
                    run.run_id,
                    run.name,
                    run.status,
                    f"{run.dataset} {run.dataset_fingerprint[:6]}",
                    *(run.metrics.get(name) for name in shown),
                )
                for run in found
            ],
        )
    if as_json:
        print_json({"runs": [run.to_json() for run in found]})

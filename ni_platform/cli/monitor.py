"""`ni monitor`: whether a model still does what it was promoted for."""

from __future__ import annotations

import click

from ni_platform.cli.output import console, data_option, json_option, print_json, table

TO_DO = 3
"""Exit code where something is to be done about the model."""


@click.command("monitor")
@click.argument("model")
@data_option()
@click.option(
    "--log",
    metavar="PLACE",
    envvar="NI_LOG_PREDICTIONS",
    show_envvar=True,
    help="Folder or s3:// prefix of logged predictions, which are watched as well.",
)
@json_option
def command(model: str, data: str, log: str | None, as_json: bool) -> None:
    """Watch MODEL by what came in --data since it was trained: say what is to be done.

    MODEL is models:/NAME@champion, models:/NAME/VERSION or a run id; --data is a later version of
    the dataset that it was trained on, with days. Ends with exit code 0 where nothing is to be
    done and with 3 where the model is to be retrained or a domain distrusted. The version is
    tagged (ni.health, ni.health_at); a run in the experiment "monitor" holds the course over time,
    monitor/report.html.
    """
    from ni_platform.api.progress import ScoringProgress
    from ni_platform.monitoring.monitoring import monitor_model
    from ni_platform.monitoring.record import HEADS, PAGE
    from ni_platform.tracking.store import open_store

    with ScoringProgress() as progress:
        run_id, health = monitor_model(open_store(), model, data, log=log, on_scored=progress)
    if health.watched:
        table(f"Health of {model}", HEADS, health.rows)
        console.print(
            "usual: of what the model was judged on; promised: what its interval and a tolerance "
            "allow; seen: A/B tests, of a log days; e-value: evidence of a change, and from where "
            "on it is an alarm",
            highlight=False,
        )
    for sentence in health.sentences:
        console.print(sentence, highlight=False, markup=False)
    console.print(f"Run:   {run_id}\nNext:  ni ui, artifact {PAGE}", highlight=False)
    if as_json:
        print_json({"run_id": run_id, **health.to_json()})
    if not health.verdict.healthy:
        click.get_current_context().exit(TO_DO)

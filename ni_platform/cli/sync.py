"""`ni sync`: runs that were made offline go to the team's server."""

from __future__ import annotations

import click

from ni_platform.cli.output import console, json_option, note, print_json, say, table


@click.command("sync")
@click.argument("tracking_uri")
@click.argument("runs", nargs=-1, metavar="[RUN ...]")
@json_option
def command(tracking_uri: str, runs: tuple[str, ...], as_json: bool) -> None:
    """Copy RUNs, or all finished ones, to the tracking server TRACKING_URI, each once.

    With them go their children, artifacts and models, and the registered versions of these. The
    originals stay. Repeated, it copies what is new; interrupted, it goes on. A champion of the
    server's keeps its place.
    """
    from ni_platform.registry.sync import sync
    from ni_platform.tracking.store import open_store

    target = open_store(tracking_uri)
    report = sync(open_store(), target, runs, on_event=note)
    if report.runs:
        rows = [(run.run_id, run.name, run.copy) for run in report.runs]
        table("Copied runs", ("run", "name", "copy"), rows)
    if report.versions:
        table(
            "Registered versions",
            ("model", "version here", "version there"),
            [(v.model_name, v.version, v.copy) for v in report.versions],
        )
    for text in report.notes:
        say(text)
    console.print(
        f"{report.target}: {len(report.runs)} runs copied, {report.present} were there before",
        highlight=False,
    )
    if as_json:
        print_json(report.to_json())

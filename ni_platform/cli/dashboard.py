"""`ni dashboard`: the marketer's page."""

from __future__ import annotations

import click

from ni_platform.cli.output import console, data_option


@click.command("dashboard")
@click.argument("model")
@data_option()
@click.option("--host", default="127.0.0.1", show_default=True, help="What to listen on.")
@click.option("--port", default=8050, show_default=True, help="0 takes a free one.")
@click.option("--token", help="What visitors must know; drawn if --host is not loopback.")
@click.option(
    "--ensemble",
    multiple=True,
    metavar="URI",
    help="Further model of the same kind, for intervals of predicted changes; any number.",
)
@click.option(
    "--record/--no-record",
    default=True,
    show_default=True,
    help="Let visitors keep plans as runs, to be compared with outcomes.",
)
def command(
    model: str,
    data: str,
    host: str,
    port: int,
    token: str | None,
    ensemble: tuple[str, ...],
    record: bool,
) -> None:
    """Open MODEL (a run id, models:/NAME@champion or another model URI) as a page in the browser.

    It shows what the model predicts for contents of --data and for uploaded ones, why, what past
    insights recommend and what an edit would change. It needs no outside network.
    """
    from ni_platform.api.progress import ScoringProgress
    from ni_platform.dashboard.opening import open_studio
    from ni_platform.dashboard.server import serve
    from ni_platform.tracking.store import open_store

    with ScoringProgress() as progress:
        studio = open_studio(
            open_store(), model, data, ensemble=ensemble, record=record, on_scored=progress
        )
    if studio.insights is None:
        console.print(
            f"no insights are recorded; [bold]ni insights {model} --data {data}[/bold] makes them"
        )
    serve(
        studio,
        host=host,
        port=port,
        token=token,
        on_ready=lambda address: console.print(
            f"{address}  (Ctrl-C ends it)", highlight=False, markup=False, soft_wrap=True
        ),
    )

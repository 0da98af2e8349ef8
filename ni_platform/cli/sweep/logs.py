"""`ni sweep logs`: what the driver of a submitted sweep prints."""

from __future__ import annotations

import click


@click.command("logs")
@click.argument("name")
@click.option("--follow", is_flag=True, help="Go on until the sweep is over; Ctrl-C leaves it be.")
@click.option(
    "--lines",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Without --follow: the last so many.",
)
def command(name: str, follow: bool, lines: int) -> None:
    """Print what the sweep NAME, sent from this folder, has printed on its cluster."""
    from ni_platform.tuning.cluster.submission import job_logs, read_submission

    chunks = job_logs(read_submission(name), follow=follow)
    if follow:
        for chunk in chunks:
            click.echo(chunk, nl=False)
        return
    click.echo("\n".join("".join(chunks).splitlines()[-lines:]))

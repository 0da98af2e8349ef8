"""`ni ui`: the MLflow UI on the recorded runs."""

from __future__ import annotations

import click

from ni_platform.cli.output import console
from ni_platform.tracking.address import LOCAL_PORT, page, server_url, ui_command


@click.command("ui")
@click.option("--port", default=LOCAL_PORT, show_default=True)
@click.option("--print-command", is_flag=True, help="Print the command in place of running it.")
def command(port: int, print_command: bool) -> None:
    """Open the MLflow UI on the recorded runs: on loopback, or a tracking server's own page."""
    import os
    import shlex

    words = shlex.split(ui_command())
    if server_url():
        hint = "it asks for your account, if it has any"
    else:
        words += ["--host", "127.0.0.1", "--port", str(port)]
        hint = "Ctrl-C ends it"
    console.print(f"{page('experiments', port=port)}  ({hint})", highlight=False)
    if print_command:
        click.echo(shlex.join(words))
        return
    for name, address in _pages(port).items():
        console.print(f"  {name}: {address}", highlight=False, soft_wrap=True)
    os.execvp(words[0], words)  # noqa: S606  # the UI takes this process over, signals included


def _pages(port: int) -> dict[str, str]:
    """Where each experiment opens with the columns that compare models; the newest five."""
    from ni_platform.errors import TrackingError
    from ni_platform.tracking.store import open_store
    from ni_platform.tracking.views import experiment_pages

    try:
        return dict(list(experiment_pages(open_store(), port).items())[:5])
    except TrackingError:  # the UI itself says what is wrong with it
        return {}

"""`ni ui`: the MLflow UI on the recorded runs."""

from __future__ import annotations

import click

from ni_platform.cli.output import console


@click.command("ui")
@click.option("--port", default=5000, show_default=True)
@click.option("--print-command", is_flag=True, help="Print the command in place of running it.")
def command(port: int, print_command: bool) -> None:
    """Open the MLflow UI on the recorded runs: on loopback, or a tracking server's own page."""
    import os
    import shlex

    from ni_platform.tracking.address import server_url, ui_command

    words = shlex.split(ui_command())
    if server := server_url():
        console.print(f"{server}  (it asks for your account, if it has any)", highlight=False)
    else:
        words += ["--host", "127.0.0.1", "--port", str(port)]
        console.print(f"http://127.0.0.1:{port}  (Ctrl-C ends it)", highlight=False)
    if print_command:
        click.echo(shlex.join(words))
        return
    os.execvp(words[0], words)  # noqa: S606  # the UI takes this process over, signals included

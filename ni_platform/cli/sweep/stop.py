"""`ni sweep stop`: end a sweep so that it can be resumed."""

from __future__ import annotations

import click

from ni_platform.cli.output import console
from ni_platform.cli.sweep.options import storage_option


@click.command("stop")
@click.argument("name")
@storage_option
def command(name: str, storage: str | None) -> None:
    """Let sweep NAME stop after the epochs under way; all results are written."""
    from ni_platform.tuning.definition import SweepFolder
    from ni_platform.tuning.driver import stop_driver

    stop_driver(SweepFolder.named(name, storage))
    console.print(f"Told to stop. Go on by: ni sweep resume {name}", highlight=False)

"""`ni experiments`: what can be trained."""

from __future__ import annotations

import click

from ni_platform.cli.output import table


@click.command("experiments")
def command() -> None:
    """List the experiment definitions of this package and of ./experiments."""
    from ni_platform.experiment_config import list_experiments

    table("Experiments", ("name", "what it is"), list_experiments())

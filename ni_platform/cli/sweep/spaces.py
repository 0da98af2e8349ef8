"""`ni sweep spaces`: what can be searched."""

from __future__ import annotations

import click

from ni_platform.cli.output import table


@click.command("spaces")
def command() -> None:
    """List the search spaces of the folder tune_spaces, the installed ones and your own."""
    from ni_platform.tuning.search.spaces import list_spaces

    table("Search spaces", ("name", "what it varies"), list_spaces())

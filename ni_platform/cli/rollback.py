"""`ni rollback`: the previous champion comes back."""

from __future__ import annotations

import click

from ni_platform.cli.output import console, json_option, note, print_json


@click.command("rollback")
@click.argument("model")
@json_option
def command(model: str, as_json: bool) -> None:
    """Bring the previous champion of the registered MODEL back."""
    from ni_platform.registry.promotion import rollback
    from ni_platform.tracking.store import open_store

    restored = rollback(open_store(), model, on_wait=note)
    console.print(f"[bold]{model}[/bold]: champion is version {restored.version} again")
    if as_json:
        print_json(restored.to_json())

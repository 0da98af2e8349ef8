"""`ni sweep status`: how far a sweep is."""

from __future__ import annotations

from functools import cache

import click

from ni_platform.cli.output import console, json_option, print_json, table
from ni_platform.cli.sweep.options import storage_option

_COLUMNS = ("name", "state", "trials", "complete", "pruned", "failed", "best", "objective")


@click.command("status")
@click.argument("name", required=False)
@storage_option
@json_option
def command(name: str | None, storage: str | None, as_json: bool) -> None:
    """Tell how far sweep NAME is, here or on a cluster; without NAME, list all sweeps."""
    from ni_platform.tracking.store import open_store
    from ni_platform.tuning.results.status import list_statuses, sweep_status

    opened = cache(open_store)
    found = [sweep_status(opened, name, storage)] if name else list_statuses(opened, storage)
    states = [status.to_json() for status in found]
    table("Sweeps", _COLUMNS, [tuple(state[column] for column in _COLUMNS) for state in states])
    for state in states:
        if state["note"]:
            console.print(f"{state['name']}: {state['note']}", highlight=False, markup=False)
    if name:
        seconds = states[0]["seconds_since_last_result"]
        ago = "" if seconds is None else f"Last result {seconds} s ago. "
        console.print(f"{ago}Run: {states[0]['run_id'] or 'none yet'}", highlight=False)
    if as_json:
        print_json(states[0] if name else {"sweeps": states})

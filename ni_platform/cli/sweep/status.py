"""`ni sweep status`: how far a sweep is."""

from __future__ import annotations

import time
from typing import Any

import click

from ni_platform.cli.output import console, json_option, print_json, table
from ni_platform.cli.sweep.options import storage_option


@click.command("status")
@click.argument("name", required=False)
@storage_option
@json_option
def command(name: str | None, storage: str | None, as_json: bool) -> None:
    """Tell how far sweep NAME is; without NAME, list all sweeps."""
    from ni_platform.tuning.definition import SweepFolder, list_sweeps

    names = [name] if name else list_sweeps(storage)
    states = [_state(SweepFolder.named(each, storage)) for each in names]
    columns = ("name", "state", "trials", "complete", "pruned", "failed", "best", "objective")
    table("Sweeps", columns, [tuple(state[column] for column in columns) for state in states])
    if name:
        console.print(
            f"Last result {states[0]['seconds_since_last_result']} s ago. Run: "
            f"{states[0]['run_id']}",
            highlight=False,
        )
    if as_json:
        print_json(states[0] if name else {"sweeps": states})


def _state(folder: Any) -> dict[str, Any]:
    from ni_platform.tuning.driver import is_running
    from ni_platform.tuning.journal import ranked, read_trials

    config, run_id = folder.read()
    trials = read_trials(folder.journal)
    counts = {
        status: sum(trial.status == status for trial in trials.values())
        for status in ("complete", "pruned", "failed")
    }
    best = ranked(trials, config.lower_is_better)
    ended = sum(counts.values())
    last = max((trial.ended or trial.started for trial in trials.values()), default=None)
    state = "running" if is_running(folder) else "finished" if ended >= config.trials else "stopped"
    return {
        "name": config.name,
        "state": state,
        "trials": f"{ended}/{config.trials}",
        **counts,
        "best": best[0].value if best else None,
        "objective": config.objective,
        "run_id": run_id,
        "seconds_since_last_result": None if last is None else round(time.time() - last),
    }

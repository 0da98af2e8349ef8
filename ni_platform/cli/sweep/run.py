"""`ni sweep run`: search a space."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ni_platform.cli.output import console, data_option, json_option, print_json
from ni_platform.cli.sweep.options import settings, storage_option, sweep_config
from ni_platform.cli.sweep.report import print_summary

if TYPE_CHECKING:
    from ni_platform.tuning.config import SweepConfig
    from ni_platform.tuning.sweep import FinishedSweep


@click.command("run")
@click.argument("space")
@data_option()
@click.option("--name", required=True, help="Name of the sweep, to resume, report or promote it.")
@settings
@storage_option
@click.option("--allow-failed-checks", is_flag=True, help="Sweep although data checks failed.")
@click.option("--dry-run", is_flag=True, help="Print configs of trials drawn at random, and stop.")
@json_option
def command(
    space: str,
    storage: str | None,
    allow_failed_checks: bool,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train --experiment with settings of SPACE (such as fusion.neural_insights).

    Each trial is a run below the sweep's in MLflow. Ctrl-C is safe: `ni sweep resume NAME` goes
    on, and so does this command, also with more --trials.
    """
    config = sweep_config(space, **given)
    if dry_run:
        print_draws(config)
        return
    run_and_print(config, storage, allow_failed_checks, as_json)


def run_and_print(
    config: SweepConfig, storage: str | None, allow_failed_checks: bool, as_json: bool
) -> None:
    """Run a sweep under a progress table, and print its best trials."""
    from ni_platform.api.sweep_progress import SweepDisplay
    from ni_platform.tracking.store import open_store
    from ni_platform.tuning.sweep import run_sweep

    with SweepDisplay(config) as display:
        finished = run_sweep(
            open_store(),
            config,
            storage=storage,
            allow_failed_checks=allow_failed_checks,
            on_event=display,
        )
    print_sweep(finished)
    if as_json:
        best = finished.best[0] if finished.best else None
        print_json(
            {
                "run_id": finished.run_id,
                "folder": str(finished.folder.path),
                "trials": len(finished.trials),
                "best": best and {"trial": best.number, "objective": best.value},
            }
        )


def print_draws(config: SweepConfig) -> None:
    """Print what the space draws, and that the experiment takes it."""
    from ni_platform.tuning.search.spaces import check_search, draw, load_space

    check_search(config)
    space = load_space(config.space, config.space_source)
    for number, (_, overrides) in enumerate(draw(space, 3, config.seed)):
        click.echo(f"trial {number}")
        for path, value in overrides.items():
            click.echo(f"  {path} = {json.dumps(value)}")
    click.echo(f"{config.experiment.name} takes all that was drawn; nothing was trained.")


def print_sweep(finished: FinishedSweep) -> None:
    """Print the best trials and what to do next."""
    from ni_platform.tuning.results.summary import summarize

    name = finished.config.name
    print_summary(summarize(finished.config, finished.trials))
    if finished.unwritten:
        console.print(
            f"Results could not be written, for the reason above, and wait in "
            f"{finished.folder.log}; `ni sweep resume {name}` writes them when it is gone.",
            markup=False,
        )
    console.print(f"Run:   {finished.run_id}", highlight=False)
    console.print(
        f"Next:  ni sweep report {name}\n       ni sweep promote {name} --model NAME, or ni ui",
        highlight=False,
    )

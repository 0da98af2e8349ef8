"""`ni evaluate`: metrics of a trained model on a dataset."""

from __future__ import annotations

import click

from ni_platform.cli.output import data_option, json_option, print_json


@click.command("evaluate")
@click.argument("model")
@data_option()
@json_option
def command(model: str, data: str, as_json: bool) -> None:
    """Evaluate MODEL (a run id, models:/NAME@champion or another model URI) on --data.

    Contents that the model trained or was validated on are left out, whatever their ids.
    """
    from ni_platform.api.progress import ScoringProgress
    from ni_platform.cli.train import print_run
    from ni_platform.scoring import evaluate_model
    from ni_platform.tracking.store import open_store

    with ScoringProgress() as progress:
        run = evaluate_model(open_store(), model, data, on_scored=progress)
    print_run(run)
    if as_json:
        print_json(run.to_json())

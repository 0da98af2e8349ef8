"""`ni predict`: a success rate for each content."""

from __future__ import annotations

import click

from ni_platform.cli.output import console, data_option, say


@click.command("predict")
@click.argument("model")
@data_option()
@click.option("--output", required=True, metavar="FILE", help="Table to write: .parquet or .csv.")
def command(model: str, data: str, output: str) -> None:
    """Write content_id and prediction for each content of --data, scored by MODEL.

    A ranker also writes the 95 % interval of each rate (low, high) and the chance that a content is
    the best of its A/B test (chance_best).

    MODEL is a run id, models:/NAME@champion or another model URI.
    """
    from ni_platform.api.progress import ScoringProgress
    from ni_platform.registry.model_source import store_of_model
    from ni_platform.scoring import predict

    with ScoringProgress() as progress:
        rows = predict(store_of_model(model), model, data, output, on_scored=progress, say=say)
    console.print(f"{rows} predictions in [bold]{output}[/bold]")

"""`ni explain`: attributions of a model's predictions."""

from __future__ import annotations

import click

from ni_platform.cli.insights import attribution_config, methods_option
from ni_platform.cli.output import console, data_option


@click.command("explain")
@click.argument("model")
@data_option()
@methods_option
@click.option("--output", required=True, metavar="FILE", help="Table to write: .parquet.")
@click.option(
    "--contents",
    type=click.IntRange(min=1),
    help="Explain only the first so many contents; all if not given.",
)
def command(model: str, data: str, methods: str | None, output: str, contents: int | None) -> None:
    """Write what every word, picture region and attribute adds to MODEL's predictions on --data.

    One row per content, modality and method: features and their contributions to the predicted
    success rate, the prediction, the prediction without any of the features (baseline), and what
    the contributions leave unexplained between the two (gap): gradients start from zeroed inputs,
    not from none, and GradCAM and PCA have units of their own.
    """
    from ni_platform.api.progress import ScoringProgress
    from ni_platform.registry.model_source import store_of_model
    from ni_platform.scoring import explain

    with ScoringProgress() as progress:
        rows = explain(
            store_of_model(model),
            model,
            data,
            output,
            attribution_config(methods),
            contents,
            on_scored=progress,
        )
    console.print(f"{rows:,} attributions in [bold]{output}[/bold]")

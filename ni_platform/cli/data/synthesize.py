"""`ni data synthesize`: planted data whose effects are known."""

from __future__ import annotations

import click

from ni_platform.cli.data.output import print_dataset


@click.command("synthesize")
@click.argument("folder")
@click.option("--tests", default=200, show_default=True, help="Number of A/B tests.")
@click.option("--domains", default=6, show_default=True, help="Number of domains.")
@click.option("--image-size", default=96, show_default=True, help="Side of a picture in pixels.")
@click.option("--seed", default=0, show_default=True)
def command(folder: str, tests: int, domains: int, image_size: int, seed: int) -> None:
    """Draw marketing contents with known effects into FOLDER; the truth is written beside."""
    from ni_platform.api.progress import DrawingProgress
    from ni_platform.data.synthetic import make_synthetic

    with DrawingProgress() as progress:
        dataset = make_synthetic(
            folder,
            tests=tests,
            domains=domains,
            image_size=image_size,
            seed=seed,
            progress=progress,
        )
    print_dataset(dataset)

"""`ni data attributes`: text and colours of pictures, embeddings of texts."""

from __future__ import annotations

from typing import Any

import click

from ni_platform.cli.data.options import column_names
from ni_platform.cli.output import console, json_option, print_json, table

_SHOWN = 10


@click.command("attributes")
@click.argument("folder")
@click.option("--ocr", is_flag=True, help="Read the text in the pictures.")
@click.option("--dominant-colour", is_flag=True, help="Name the colour that covers most.")
@click.option(
    "--embed", multiple=True, callback=column_names, help="Text columns to embed, also ocr."
)
@click.option(
    "--encoder",
    default="bert-base-uncased",
    show_default=True,
    metavar="WEIGHTS",
    help="Hub id, folder or alias (minilm-l6) of a transformers text encoder.",
)
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls"]),
    default="mean",
    show_default=True,
    help="A text's embedding: mean of its tokens' states, or the first token's.",
)
@click.option("--max-tokens", default=128, show_default=True, help="Longer texts are cut.")
@click.option("--workers", type=int, help="Processes that read pictures; one per processor.")
@json_option
def command(
    folder: str,
    ocr: bool,
    dominant_colour: bool,
    embed: tuple[str, ...],
    encoder: str,
    pooling: str,
    max_tokens: int,
    workers: int | None,
    as_json: bool,
) -> None:
    """Compute attributes of the contents in FOLDER and add them as columns.

    What was computed is kept in .ni/attributes (or $NI_HOME/attributes) by content, so that a
    second run computes only what is new. The report is FOLDER/attributes.json.
    """
    from ni_platform.api.progress import ExtractionProgress
    from ni_platform.attributes import AttributesConfig, add_attributes
    from ni_platform.data.attributes.dominant_colour import DominantColour
    from ni_platform.data.attributes.ocr import Ocr
    from ni_platform.models.modalities.text import TextEncoderConfig
    from ni_platform.tracking.state import state_folder

    config = AttributesConfig(
        ocr=Ocr() if ocr else None,
        dominant_colour=DominantColour() if dominant_colour else None,
        embed=embed,
        encoder=TextEncoderConfig(
            weights=encoder,
            pooling="cls" if pooling == "cls" else "mean",
            max_tokens=max_tokens,
        ),
        workers=workers,
    )
    with ExtractionProgress() as progress:
        dataset, report = add_attributes(
            folder, config, state_folder() / "attributes", on_item=progress
        )
    _print_report(report)
    for name in report:
        if name not in dataset.manifest.derived:
            console.print(f"Note: {name} has no value in any row, so it is not declared.")
    console.print(f"Next: [bold]ni data check {dataset.root}[/bold]")
    if as_json:
        print_json(report)


def _print_report(report: dict[str, dict[str, Any]]) -> None:
    table(
        "Attributes",
        ("column", "rows", "computed", "from store", "unreadable", "seconds"),
        [
            (
                name,
                found["rows_with_a_value"],
                found["computed"],
                found["from_store"],
                len(found["unreadable"]),
                found["seconds"],
            )
            for name, found in report.items()
        ],
    )
    unreadable = {
        item: reason for found in report.values() for item, reason in found["unreadable"].items()
    }
    for item in list(unreadable)[:_SHOWN]:
        console.print(f"Unreadable: {item}: {unreadable[item]}", markup=False, highlight=False)
    if len(unreadable) > _SHOWN:
        console.print(f"... and {len(unreadable) - _SHOWN} more, in attributes.json")

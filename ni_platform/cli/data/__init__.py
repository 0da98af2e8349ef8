"""`ni data`: make, import and check datasets."""

from __future__ import annotations

import click

from ni_platform.cli.lazy import LazyGroup

COMMANDS = {
    "import": "Turn exports and other people's tables into a dataset folder.",
    "profiles": "List the exports that `ni data import` recognises.",
    "aggregate": "Count a click log into a dataset folder.",
    "synthesize": "Draw planted data whose effects are known.",
    "attributes": "Read text and colours from pictures, embed texts; results are kept.",
    "select": "Test which attributes bear on the success rate, and how.",
    "check": "Check a dataset; a failed check ends with exit code 2.",
    "push": "Copy a dataset folder to an s3:// prefix.",
    "pull": "Copy a dataset from an s3:// prefix.",
}


@click.group("data", cls=LazyGroup, package="ni_platform.cli.data", summaries=COMMANDS)
def command() -> None:
    """Make, import and check datasets."""

"""`ni sweep`: search an experiment's settings."""

from __future__ import annotations

import click

from ni_platform.cli.lazy import LazyGroup

COMMANDS = {
    "spaces": "List the search spaces that `ni sweep run` knows.",
    "run": "Search a space on this machine, or on the cluster of $RAY_ADDRESS.",
    "submit": "Send a sweep to a Ray cluster as a job.",
    "status": "How far a sweep is.",
    "logs": "What the driver of a submitted sweep prints.",
    "stop": "Let a sweep stop after the epochs under way; it can be resumed.",
    "resume": "Go on with a sweep that was stopped or died.",
    "report": "Best trials, importances and learning curves as a page and in MLflow.",
    "promote": "Train the winner again, judge it on the test part, and register it.",
}


@click.group("sweep", cls=LazyGroup, package="ni_platform.cli.sweep", summaries=COMMANDS)
def command() -> None:
    """Search an experiment's settings with Ray Tune and Optuna."""

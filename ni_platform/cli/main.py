"""The command `ni`: assembles the commands and turns errors into one line and an exit code."""

from __future__ import annotations

import io
import sys

import click

from ni_platform import termination
from ni_platform.cli.lazy import LazyGroup
from ni_platform.cli.os_errors import explained
from ni_platform.errors import NiError
from ni_platform.version import __version__

COMMANDS = {
    "demo": "The whole journey on planted data: check, train, evaluate, promote.",
    "data": "Make, import and check datasets.",
    "experiments": "List the experiment definitions that `ni train` knows.",
    "train": "Train an experiment on a dataset and record the run.",
    "ensemble": "Make one model of several runs' models, weighted by validation.",
    "sweep": "Search an experiment's settings, up to tens of thousands of trials.",
    "table": "A paper's table, measured on your data.",
    "compare": "Compare recorded runs side by side.",
    "evaluate": "Evaluate a trained model on a dataset that it did not train on.",
    "value": "What a model is worth in clicks, by replaying A/B tests that happened.",
    "monitor": "Watch a model by what came since: inputs, predictions, accuracy; what to do.",
    "predict": "Write a predicted success rate for each content of a dataset.",
    "plan": "Which drafts to test next, with how much traffic, and what that brings.",
    "outcomes": "Add new results, and say whether predictions made before them came true.",
    "explain": "Write what each word, region and attribute contributes to a model's predictions.",
    "insights": "What a model has learned, as advice, tested against what happened in A/B tests.",
    "dashboard": "Open a model as a marketer's page: predictions, why, what to change.",
    "promote": "Register a run's model and make it champion if every gate passes.",
    "retrain": "Train a champion's experiment on its dataset as it is now, and promote it.",
    "rollback": "Bring the previous champion of a registered model back.",
    "sync": "Copy runs that were made offline to the team's tracking server.",
    "ui": "Open the MLflow UI on the recorded runs.",
}


@click.group(
    cls=LazyGroup,
    package="ni_platform.cli",
    summaries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="ni_platform")
def group() -> None:
    """Learn from A/B tests what makes content work.

    Every command has --help. Runs are kept in the folder .ni (or $NI_HOME), or on the tracking
    server that $MLFLOW_TRACKING_URI names.
    """


def main() -> None:
    """Run the command line; a user's error is one message on standard error, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the terminal lacks is replaced, where it would end the command.
            stream.reconfigure(errors="replace")
    termination.unwind_on_sigterm()
    try:
        sys.exit(_run())
    finally:
        if termination.received is not None:
            # Whatever its cleaning up met: the same signal may have ended what it works with.
            click.echo("stopped by SIGTERM", err=True)
            termination.end(termination.received)


def _run() -> int:
    """Run the command and return the exit status."""
    try:
        return group.main(standalone_mode=False) or 0
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except NiError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except OSError as error:
        click.echo(f"error: {explained(error)}", err=True)
        return 1

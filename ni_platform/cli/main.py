"""The command `ni`: assembles the commands and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import sys

import click

from ni_platform import __version__
from ni_platform.errors import NiError

COMMANDS = {
    "demo": "The whole journey on planted data: check, train, evaluate, promote.",
    "data": "Make, import and check datasets.",
    "experiments": "List the experiment definitions that `ni train` knows.",
    "train": "Train an experiment on a dataset and record the run.",
    "compare": "Compare recorded runs side by side.",
    "evaluate": "Evaluate a trained model on a dataset that it did not train on.",
    "predict": "Write a predicted success rate for each content of a dataset.",
    "promote": "Register a run's model and make it champion if every gate passes.",
    "rollback": "Bring the previous champion of a registered model back.",
    "ui": "Open the MLflow UI on the recorded runs.",
}


class LazyGroup(click.Group):
    """Imports a command's module only when that command runs, so that `ni --help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the journey."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return its `command`."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"ni_platform.cli.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ni_platform")
def group() -> None:
    """Learn from A/B tests what makes content work.

    Every command has --help. Runs are kept in the folder .ni (or $NI_HOME), or on the tracking
    server that $MLFLOW_TRACKING_URI names.
    """


def main() -> None:
    """Run the command line; a user's error is one message on standard error, never a traceback."""
    try:
        sys.exit(group.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except NiError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # A full disk or a folder without permission: the system's words already say what and where.
        click.echo(f"error: {error}; free space or choose another folder, then try again", err=True)
        sys.exit(1)

"""A group of commands that imports a command's module only when that command runs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

import click


class LazyGroup(click.Group):
    """Keeps `--help` quick: modules of `package` are imported one by one, when they are needed.

    Each module is named for its command (`import_` for `import`) and holds it as `command`.
    """

    def __init__(
        self, *args: Any, package: str, summaries: Mapping[str, str], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._package = package
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the journey."""
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return its `command`."""
        if cmd_name not in self._summaries:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = importlib.import_module(f"{self._package}.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))

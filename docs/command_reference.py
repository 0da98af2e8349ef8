"""Every command with its help, read from the commands themselves, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from ni_platform.cli.main import group

_MARKS = re.compile(r"\\(?!\|)|[*_\[\]]")

PLACE = "<!-- commands -->"
"""Where in a page the commands stand."""


def add_commands(app: object, page: str, source: list[str]) -> None:
    """Put the commands into the page that has a place for them; what Sphinx calls."""
    source[0] = source[0].replace(PLACE, commands_as_markdown())


def commands_as_markdown() -> str:
    """A section for each command that does something, under its whole name."""
    return "\n".join(_section(words, command) for words, command in every_command())


def every_command() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that is no group, with the words that call it after `ni`, in their order."""
    yield from _below((), group)


def _below(
    words: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        if inner is not None:
            yield from _below((*words, name), inner)


def _section(words: tuple[str, ...], command: click.Command) -> str:
    name = " ".join(("ni", *words))
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"## {name}", f"```text\n{name} {usage}\n```", _text(command.help or "")]
    rows = [_row(option, context) for option in command.get_params(context)]
    options = [row for row in rows if row is not None]
    if options:
        parts.append("| option | does |\n| --- | --- |\n" + "\n".join(options))
    return "\n\n".join(parts) + "\n"


def _text(help_text: str) -> str:
    """A help's paragraphs, without the wrapping of the terminal."""
    paragraphs = help_text.replace("\b\n", "").split("\n\n")
    return "\n\n".join(_escaped(" ".join(text.split())) for text in paragraphs)


def _row(option: click.Parameter, context: click.Context) -> str | None:
    record = option.get_help_record(context)
    if record is None or not isinstance(option, click.Option) or "--help" in option.opts:
        return None  # arguments stand in the usage
    names, text = record
    return f"| `{_in_a_table(names)}` | {_escaped(_in_a_table(text))} |"


def _in_a_table(text: str) -> str:
    return text.replace("|", r"\|")


def _escaped(text: str) -> str:
    """Words of a terminal, of which Markdown must make nothing, but for their code."""
    pieces = text.split("`")
    pieces[::2] = [_MARKS.sub(r"\\\g<0>", piece).replace("<", "&lt;") for piece in pieces[::2]]
    return "`".join(pieces)

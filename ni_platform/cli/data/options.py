"""How options of the commands on datasets are read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from ni_platform.cli.output import say

dates_option = click.option(
    "--dates",
    type=click.Choice(["day-first", "month-first"]),
    help="What 3/4/2026 means, where days leave it open.",
)


def column_names(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple:
    """Accept both `--text title --text description` and `--text title,description`."""
    return tuple(name.strip() for item in value for name in item.split(",") if name.strip())


def text_table_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what says how a text table is written; the command gets `form` and `say`."""

    @click.option(
        "--delimiter", help="Separator of a CSV, such as ; or \\t; found out if not given."
    )
    @click.option("--encoding", help="Encoding of a CSV, such as cp1252; found out if not given.")
    @click.option(
        "--decimal",
        type=click.Choice([".", ","]),
        help="Decimal sign, where numbers leave it open.",
    )
    @wraps(command)
    def with_form(
        delimiter: str | None, encoding: str | None, decimal: Any, **arguments: Any
    ) -> None:
        from ni_platform.data.reading.csv_file import CsvFormat

        form = CsvFormat(delimiter=delimiter, encoding=encoding, decimal=decimal)
        command(**arguments, form=form, say=say)

    return with_form

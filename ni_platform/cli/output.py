"""What commands print: tables for people, one last line of JSON for machines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from ni_platform.api.progress import progress_console

if TYPE_CHECKING:
    from ni_platform.training.worker_count import Workers

# A log has no width of its own; 80 columns would fold the tables.
console = Console(width=None if sys.stdout.isatty() else 110)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Make the last line of standard output one JSON object."
)


def data_option(required: bool = True) -> Callable:
    """Return the option `--data DIR` that most commands share."""
    return click.option(
        "--data",
        required=required,
        metavar="DIR",
        help="Dataset folder (local or s3://) with a dataset.yaml.",
    )


def note(text: str) -> None:
    """Print a line of progress on standard error."""
    progress_console.print(f"· {text}", highlight=False, markup=False)


def print_json(payload: Mapping[str, Any]) -> None:
    """Print `payload` as one line; a figure that is not defined becomes null, as JSON asks."""
    click.echo(json.dumps(_finite(payload), default=str))


def say(note: str) -> None:
    """Tell on standard error what a person should know beside a command's result."""
    click.echo(f"note: {note}", err=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as a table; numbers are aligned right and rounded for reading."""
    drawn = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        numeric = index > 0 and all(_is_figure(row[index]) for row in rows)
        # The first column holds what the user copies: names and ids must stay whole.
        drawn.add_column(
            column, justify="right" if numeric else "left", overflow="fold", no_wrap=not index
        )
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    console.print(drawn)


def interval(estimate: Any) -> str:
    """Return an estimate as a cell: the value, and its interval below."""
    if estimate is None or estimate.value != estimate.value:
        return "–"
    if estimate.low != estimate.low:
        return f"{estimate.value:.4g}"
    return f"{estimate.value:.4g}\n[dim]{estimate.low:.4g} – {estimate.high:.4g}[/dim]"


def together(workers: int | None, cpus_each: int | None) -> Workers | None:
    """Return the workers that `--workers` and `--cpus-per-worker` ask for; None if neither does."""
    # Imported late, as every command imports this module.
    from ni_platform.training.worker_count import Workers

    return None if workers is None else Workers(count=workers, cpus_each=cpus_each)


def _is_figure(value: Any) -> bool:
    return value is None or str(value).lstrip("+-")[:1].isdigit() or str(value) in ("nan", "–")


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

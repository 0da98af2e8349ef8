"""How options of the commands on datasets are read."""

from __future__ import annotations

import click


def column_names(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple:
    """Accept both `--text title --text description` and `--text title,description`."""
    return tuple(name.strip() for item in value for name in item.split(",") if name.strip())

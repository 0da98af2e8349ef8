"""`ni data import`: other people's tables as dataset folders."""

from __future__ import annotations

from typing import Any

import click

from ni_platform.cli.data.output import print_dataset


@click.group("import")
def command() -> None:
    """Turn other people's tables into a dataset folder."""


@command.command("upworthy")
@click.argument("archive")
@click.argument("folder")
@click.option(
    "--include-faulty-weeks",
    is_flag=True,
    help="Keep the A/B tests of 25 June 2013 to 10 January 2014, whose randomisation was faulty.",
)
def import_upworthy(archive: str, folder: str, include_faulty_weeks: bool) -> None:
    """Import the Upworthy Research Archive's packages ARCHIVE (CSV) into FOLDER."""
    from ni_platform.data.importers.upworthy import import_upworthy as run

    print_dataset(run(archive, folder, include_faulty_weeks=include_faulty_weeks))


def _columns(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple:
    """Accept both `--text title --text description` and `--text title,description`."""
    return tuple(name.strip() for item in value for name in item.split(",") if name.strip())


@command.command("table")
@click.argument("source")
@click.argument("folder")
@click.option("--name", help="Name of the dataset; the folder's name if not given.")
@click.option("--content-id", required=True, help="Column that names each content; unique.")
@click.option("--image", help="Column with each content's picture, relative to --images.")
@click.option("--images", help="Folder or s3:// prefix that holds the pictures.")
@click.option("--text", multiple=True, callback=_columns, help="Text column; any number.")
@click.option("--categorical", multiple=True, callback=_columns, help="Categorical attribute.")
@click.option("--numeric", multiple=True, callback=_columns, help="Numeric attribute.")
@click.option("--vector", multiple=True, callback=_columns, help="Lists of numbers (Parquet only).")
@click.option("--domain", help="Column that says where the content is shown.")
@click.option("--ab-test", help="Column that names the A/B test of a content.")
@click.option("--arm", help="Column with control or treatment.")
@click.option("--split", help="Column with train, validation or test, where the owner decides.")
@click.option("--impressions", help="Column with how often the content was shown.")
@click.option("--clicks", help="Column with how often it succeeded.")
@click.option("--ratings", multiple=True, callback=_columns, help="Rating counts, lowest first.")
def import_table(source: str, folder: str, **columns: Any) -> None:
    """Import any CSV or Parquet table SOURCE into FOLDER.

    Options name the table's columns. Success is given by --impressions and --clicks, or by
    --ratings.
    """
    from ni_platform.data.importers.table import import_table as run

    columns["ratings"] = columns["ratings"] or None
    print_dataset(run(source, folder, **columns))

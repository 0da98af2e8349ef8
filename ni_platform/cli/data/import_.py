"""`ni data import`: other people's tables as dataset folders."""

from __future__ import annotations

from typing import Any

import click

from ni_platform.cli.data.options import column_names, dates_option, text_table_options
from ni_platform.cli.data.output import print_dataset, print_import
from ni_platform.cli.output import console
from ni_platform.data.assignment import KINDS


class _ImportGroup(click.Group):
    """`ni data import FILE... FOLDER` is an export, unless the first word is a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._named(ctx, args))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        return super().resolve_command(ctx, self._named(ctx, args))

    def _named(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = (*self.commands, *self.get_help_option_names(ctx))
        return args if not args or args[0] in known else ["export", *args]


@click.group("import", cls=_ImportGroup)
def command() -> None:
    """Turn exports and other people's tables into a dataset folder.

    `ni data import FILE... FOLDER` recognises the export of a marketing tool; see `ni data
    profiles`.
    """


@command.command("export")
@click.argument("files", nargs=-1, required=True)
@click.argument("folder")
@click.option(
    "--profile", help="Which export it is, of `ni data profiles`; found out if not given."
)
@click.option("--name", help="Name of the dataset; the folder's name if not given.")
@click.option("--success", help="What counts as a success, where the export has several.")
@click.option("--metric", help="Which metric is the success, where rows are of several.")
@click.option(
    "--by", multiple=True, callback=column_names, help="Tell contents apart by audience, too."
)
@click.option(
    "--content-id", multiple=True, callback=column_names, help="Fields that name a content."
)
@click.option("--ab-test", multiple=True, callback=column_names, help="Fields that name the test.")
@dates_option
@click.option(
    "--assignment",
    type=click.Choice(KINDS),
    help="How arms were assigned, in place of what the profile says.",
)
@click.option("--assignment-reason", metavar="TEXT", help="Why that is known, in a sentence.")
@click.option("--creatives", metavar="TABLE", help="Table with texts and pictures by id.")
@click.option("--creative-key", metavar="COLUMN", help="Its column with the id.")
@click.option("--creative-field", metavar="FIELD", help="The export's field with the same id.")
@click.option("--text", multiple=True, callback=column_names, help="Its text columns.")
@click.option("--categorical", multiple=True, callback=column_names, help="Its attributes.")
@click.option("--numeric", multiple=True, callback=column_names, help="Its numeric attributes.")
@click.option("--image", metavar="COLUMN", help="Its column with paths, ids or URLs of pictures.")
@click.option("--images", metavar="FOLDER", help="Folder of pictures; without --image, by id.")
@click.option("--no-fetch", is_flag=True, help="Fetch no pictures at URLs of the export.")
@text_table_options
def import_export(
    files: tuple[str, ...], folder: str, form: Any, say: Any, no_fetch: bool, **options: Any
) -> None:
    """Import FILES of a marketing tool's export into FOLDER, or add them to what is there.

    The word `export` may be left out. Texts and pictures that the export lacks are joined from
    --creatives, or from a folder --images of files called by id.
    """
    from ni_platform.api.progress import CountingProgress
    from ni_platform.data.importers.creatives import Creatives
    from ni_platform.data.importers.exports.creatives import CreativeSource
    from ni_platform.data.importers.exports.importing import import_export as run
    from ni_platform.data.importers.exports.rows import Wishes

    columns = ("text", "categorical", "numeric", "image")
    about = {name: options.pop(name) for name in (*columns, "images")}
    about |= {"table": options.pop("creatives"), "key": options.pop("creative_key")}
    given = Creatives(**about, csv=form) if any(about.values()) else None
    source = CreativeSource(creatives=given, fetch=not no_fetch)
    asked = {
        name: options.pop(name)
        for name in ("success", "metric", "by", "content_id", "ab_test", "creative_field")
    }
    wishes = Wishes(**asked, dates=options.pop("dates"))
    with CountingProgress() as progress:
        result = run(
            files, folder, wishes=wishes, creatives=source, form=form, on_picture=progress, say=say,
            **options,
        )  # fmt: skip
    print_import(result)


@command.command("upworthy")
@click.argument("archive")
@click.argument("folder")
@click.option(
    "--include-faulty-weeks",
    is_flag=True,
    help="Keep the A/B tests of 25 June 2013 to 10 January 2014, whose randomisation was faulty.",
)
@text_table_options
def import_upworthy(archive: str, folder: str, **options: Any) -> None:
    """Import the Upworthy Research Archive's packages ARCHIVE (CSV) into FOLDER."""
    from ni_platform.data.importers.upworthy import import_upworthy as run

    print_dataset(run(archive, folder, **options))


@command.command("ava")
@click.argument("ratings")
@click.argument("images")
@click.argument("folder")
@click.option("--tags", metavar="FILE", help="The archive's tags.txt, names of the tags.")
@click.option(
    "--tags-as",
    type=click.Choice(["text", "categorical"]),
    default="text",
    show_default=True,
    help="Text as in M2FN, where pictures with equal tags are on one side of a split; or two "
    "attributes.",
)
@click.option(
    "--max-missing",
    default=0.01,
    show_default=True,
    help="Largest share of pictures that may be missing or corrupt; their rows are left out.",
)
def import_ava(ratings: str, images: str, folder: str, **options: Any) -> None:
    """Import AVA: RATINGS (AVA.txt) and the pictures IMAGES/ID.jpg into FOLDER."""
    from ni_platform.api.progress import CountingProgress
    from ni_platform.data.importers.ava import LEFT_OUT_FILE
    from ni_platform.data.importers.ava import import_ava as run

    with CountingProgress() as progress:
        result = run(ratings, images, folder, on_picture=progress, **options)
    print_dataset(result.dataset)
    if result.left_out:
        console.print(
            f"Left out: {len(result.left_out):,} rows whose picture is missing or corrupt, listed "
            f"in {folder}/{LEFT_OUT_FILE}",
            highlight=False,
        )


@command.command("table")
@click.argument("source")
@click.argument("folder")
@click.option("--name", help="Name of the dataset; the folder's name if not given.")
@click.option(
    "--content-id",
    multiple=True,
    required=True,
    callback=column_names,
    help="Column that names each content, unique; or several that do together.",
)
@click.option("--image", help="Column with each content's picture, relative to --images.")
@click.option("--images", help="Folder or s3:// prefix that holds the pictures.")
@click.option("--text", multiple=True, callback=column_names, help="Text column; any number.")
@click.option("--categorical", multiple=True, callback=column_names, help="Categorical attribute.")
@click.option("--numeric", multiple=True, callback=column_names, help="Numeric attribute.")
@click.option(
    "--vector", multiple=True, callback=column_names, help="Lists of numbers (Parquet only)."
)
@click.option("--domain", help="Column that says where the content is shown.")
@click.option("--ab-test", help="Column that names the A/B test of a content.")
@click.option("--arm", help="Column with control or treatment.")
@click.option(
    "--assignment",
    type=click.Choice(KINDS),
    help="How the arms of all A/B tests were assigned: by chance (randomised), by a platform's "
    "optimiser (platform) or by neither; needed with --ab-test.",
)
@click.option("--assignment-reason", metavar="TEXT", help="Why that is known, in a sentence.")
@click.option("--assignment-column", help="Column with such a word, where A/B tests differ.")
@click.option("--share", help="Column with the planned share of each arm; equal if not given.")
@click.option(
    "--shares",
    type=click.Choice(["equal", "unknown"]),
    help="unknown: shares were not planned or changed, so that they cannot be checked.",
)
@click.option("--day", help="Column with the first day on which a content was shown.")
@dates_option
@click.option("--split", help="Column with train, validation or test, where the owner decides.")
@click.option("--impressions", help="Column with how often the content was shown.")
@click.option("--clicks", help="Column with how often it succeeded.")
@click.option(
    "--ratings", multiple=True, callback=column_names, help="Rating counts, lowest first."
)
@text_table_options
def import_table(source: str, folder: str, **columns: Any) -> None:
    """Import any CSV or Parquet table SOURCE, compressed or not, into FOLDER.

    Options name the table's columns. Success is given by --impressions and --clicks, or by
    --ratings.
    """
    from ni_platform.data.importers.table import import_table as run

    columns["ratings"] = columns["ratings"] or None
    print_dataset(run(source, folder, **columns))

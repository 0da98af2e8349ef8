"""`ni data pull`: a dataset folder copied from S3."""

from __future__ import annotations

import click

from ni_platform.cli.output import console


@click.command("pull")
@click.argument("source")
@click.argument("folder")
def command(source: str, folder: str) -> None:
    """Copy the dataset at SOURCE, an s3:// prefix, into FOLDER; repeat to go on after a stop."""
    from ni_platform.api.progress import CountingProgress
    from ni_platform.data.transfer import pull as run

    with CountingProgress() as progress:
        files, moved = run(source, folder, progress)
    console.print(f"{folder}: {files} files, {moved} of them fetched", highlight=False)

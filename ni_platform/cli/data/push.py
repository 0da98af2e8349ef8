"""`ni data push`: a dataset folder copied to S3."""

from __future__ import annotations

import click

from ni_platform.cli.output import console


@click.command("push")
@click.argument("folder")
@click.argument("target")
def command(folder: str, target: str) -> None:
    """Copy the dataset in FOLDER to TARGET, an s3:// prefix; repeat to go on after a stop."""
    from ni_platform.api.progress import CountingProgress
    from ni_platform.data.transfer import push as run

    with CountingProgress() as progress:
        files, moved = run(folder, target, progress)
    console.print(f"{target}: {files} files, {moved} of them sent", highlight=False)

"""`ni sweep stop`: end a sweep so that it can be resumed."""

from __future__ import annotations

import click

from ni_platform.cli.output import console
from ni_platform.cli.sweep.options import storage_option


@click.command("stop")
@click.argument("name")
@storage_option
def command(name: str, storage: str | None) -> None:
    """Let sweep NAME, here or on a cluster, stop after the epochs under way.

    All results are written.
    """
    from ni_platform.tuning.cluster.submission import find_submission, stop_job
    from ni_platform.tuning.files.locks import stop_driver
    from ni_platform.tuning.results.finding import find_sweep

    submission = find_submission(name) if storage is None else None
    if submission is None:
        stop_driver(find_sweep(name, storage))
        done = "Told to stop."
    else:
        console.print(f"Told {submission.job_id} to stop; waits for it ...", highlight=False)
        done = f"{submission.job_id} is {stop_job(submission).status}."
    console.print(f"{done} Go on by: ni sweep resume {name}", highlight=False)

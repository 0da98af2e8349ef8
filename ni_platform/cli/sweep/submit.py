"""`ni sweep submit`: a sweep whose driver runs on a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ni_platform.cli.output import console

if TYPE_CHECKING:
    from ni_platform.tuning.cluster.submission import SweepJob


@click.command("submit", context_settings={"ignore_unknown_options": True})
@click.option("--address", required=True, metavar="URL", help="Dashboard: http://HEAD:8265.")
@click.option(
    "--env",
    multiple=True,
    metavar="NAME",
    help="Pass a variable of this shell on, such as AWS_ACCESS_KEY_ID; any number.",
)
@click.option("--yes", is_flag=True, help="Do not ask before the sweep is sent.")
@click.argument(
    "options", nargs=-1, required=True, type=click.UNPROCESSED, metavar="SPACE [RUN OPTIONS]..."
)
def command(address: str, env: tuple[str, ...], yes: bool, options: tuple[str, ...]) -> None:
    """Run the search SPACE on the Ray cluster at --address, with the options of `ni sweep run`.

    --storage and --data name folders that all machines of the cluster mount, or s3://.
    Ships experiments/, tune_spaces/ and data_checks/ of the current folder. Before anything is
    started, versions, storage, data, tracking server and resources are tried from the cluster's
    machines. The token is read from $RAY_AUTH_TOKEN or $RAY_AUTH_TOKEN_PATH.

    What --env passes can be read by whoever may ask the cluster about its jobs; keys belong into
    the cluster's own environment.
    """
    from ni_platform.tuning.cluster.submission import SweepJob

    given = _as_run_reads(options)
    job = SweepJob(
        name=given["name"],
        entry=("ni", "sweep", "run", *options),
        address=address,
        storage=given["storage"],
        data=given["data"],
        cpus_per_trial=given["cpus_per_trial"],
        gpus_per_trial=given["gpus_per_trial"],
        env=env,
        project=str(Path.cwd()),
    )
    send(job, ask=not yes)


def send(job: SweepJob, *, ask: bool = False) -> None:
    """Ship what a sweep needs, try the cluster, send the job and say how to follow it."""
    from ni_platform.tuning.cluster.preflight import check
    from ni_platform.tuning.cluster.shipping import staged
    from ni_platform.tuning.cluster.submission import submit

    with staged(job.project) as shipment:
        console.print(f"Ships {shipment}; asks {job.address} ...", highlight=False)
        report = check(job, shipment)
        console.print(f"All is there; {report.nodes} nodes were asked.", highlight=False)
        for note in report.notes:
            console.print(f"Note: {note}", highlight=False)
        if ask:
            click.confirm("Send the sweep?", default=True, abort=True)
        submission = submit(job, shipment)
    console.print(
        f"Sent as {submission.job_id}.\nNext:  ni sweep logs {job.name} --follow\n       ni sweep "
        f"status {job.name}, or ni sweep stop {job.name}",
        highlight=False,
    )


def _as_run_reads(options: tuple[str, ...]) -> dict[str, Any]:
    """Read the options as `ni sweep run` will, and refuse here what it would refuse there."""
    from ni_platform.cli.sweep.options import sweep_config
    from ni_platform.cli.sweep.run import command as run
    from ni_platform.tuning.search.spaces import check_search

    given = run.make_context("ni sweep run", list(options)).params
    own = ("storage", "allow_failed_checks", "dry_run", "as_json")
    config = sweep_config(**{name: value for name, value in given.items() if name not in own})
    check_search(config)
    if given["storage"] is None:
        raise click.UsageError(
            "--storage names what all machines of the cluster reach, a mounted folder such as "
            "/shared/sweeps or s3://BUCKET/sweeps, but it is not given"
        )
    return given

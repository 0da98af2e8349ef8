"""`ni sweep submit`: a sweep whose driver runs on a Ray cluster."""

from __future__ import annotations

from pathlib import Path

import click

from ni_platform.cli.output import console, data_option


@click.command("submit", context_settings={"ignore_unknown_options": True})
@click.argument("space")
@data_option()
@click.option("--name", required=True, help="The sweep's name.")
@click.option("--address", required=True, metavar="URL", help="Dashboard: http://HEAD:8265.")
@click.option("--storage", required=True, metavar="DIR", help="Folder that all machines mount.")
@click.option("--cpus-per-trial", default=1.0, show_default=True, help="CPUs of each trial.")
@click.option("--gpus-per-trial", default=0.0, show_default=True, help="GPUs, or a part of one.")
@click.option(
    "--env",
    multiple=True,
    metavar="NAME",
    help="Pass a variable of this shell on, such as AWS_ACCESS_KEY_ID; any number.",
)
@click.option("--yes", is_flag=True, help="Do not ask before the sweep is sent.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def command(
    space: str,
    data: str,
    name: str,
    address: str,
    storage: str,
    cpus_per_trial: float,
    gpus_per_trial: float,
    env: tuple[str, ...],
    yes: bool,
    options: tuple[str, ...],
) -> None:
    """Run the search SPACE on the Ray cluster at --address; takes the options of `ni sweep run`.

    Ships experiments/, tune_spaces/ and data_checks/ of the current folder. Before anything is
    started, versions, storage, data, tracking server and resources are tried from the cluster's
    machines. The token is read from $RAY_AUTH_TOKEN or $RAY_AUTH_TOKEN_PATH.

    What --env passes can be read by whoever may ask the cluster about its jobs; keys belong into
    the cluster's own environment.
    """
    from ni_platform.tuning.preflight import check
    from ni_platform.tuning.shipping import staged
    from ni_platform.tuning.submission import SweepJob, submit

    shared = {"--name": name, "--data": data, "--storage": storage}
    shared |= {"--cpus-per-trial": f"{cpus_per_trial:g}", "--gpus-per-trial": f"{gpus_per_trial:g}"}
    words = [word for pair in shared.items() for word in pair]
    job = SweepJob(
        name=name,
        entry=("ni", "sweep", "run", space, *options, *words),
        address=address,
        storage=storage,
        data=data,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        env=env,
        project=str(Path.cwd()),
    )
    with staged(job.project) as shipment:
        console.print(f"Ships {shipment}; asks {address} ...", highlight=False)
        report = check(job, shipment)
        console.print(f"All is there, seen from {report.nodes} machines.", highlight=False)
        for note in report.notes:
            console.print(f"Note: {note}", highlight=False)
        if not yes:
            click.confirm("Send the sweep?", default=True, abort=True)
        submission = submit(job, shipment)
    console.print(f"Sent as {submission.job_id}.", highlight=False)
    console.print(
        f"Next:  ni sweep logs {name} --follow\n       ni sweep status {name}, or ni sweep stop "
        f"{name}",
        highlight=False,
    )

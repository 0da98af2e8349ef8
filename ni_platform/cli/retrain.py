"""`ni retrain`: the champion's experiment on new data, and through the gates."""

from __future__ import annotations

import click

from ni_platform.cli.output import console, data_option, json_option, print_json, together


@click.command("retrain")
@click.argument("model")
@data_option(required=False)
@click.option("--workers", type=int, help="Ray Train workers; one if not given.")
@click.option("--cpus-per-worker", type=int, help="CPUs of each; all, divided, if not given.")
@click.option("--storage", metavar="DIR", help="Checkpoints; shared by a cluster's machines.")
@click.option("--force", metavar="REASON", help="Promote although a gate failed; recorded.")
@json_option
def command(
    model: str,
    data: str | None,
    workers: int | None,
    cpus_per_worker: int | None,
    storage: str | None,
    force: str | None,
    as_json: bool,
) -> None:
    """Train the experiment of MODEL's champion on --data as it is now; promote it if gates pass.

    MODEL is a registered name. Without --data, the champion's own dataset is taken, which `ni
    outcomes` or `ni data import` may have added to. On data that have not changed nothing is
    trained.
    """
    from ni_platform.api.progress import TrainingProgress
    from ni_platform.cli.promote import print_promotion
    from ni_platform.cli.train import print_run
    from ni_platform.retraining import retrain
    from ni_platform.tracking.store import open_store

    shared = together(workers, cpus_per_worker)
    with TrainingProgress() as progress:
        found = retrain(
            open_store(), model, data, storage=storage, workers=shared, force=force,
            on_event=progress,
        )  # fmt: skip
    if found.run is None:
        console.print(f"The data were trained on before, in run {found.run_id}.", highlight=False)
    else:
        print_run(found.run)
    print_promotion(found.promotion)
    if as_json:
        print_json(found.to_json())
    found.promotion.require()

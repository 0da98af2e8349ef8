"""`ni ensemble`: several runs' models mixed into one."""

from __future__ import annotations

import click

from ni_platform.cli.output import console, data_option, json_option, note, print_json, table


@click.command("ensemble")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN [RUN ...]")
@click.option("--name", required=True, help="Of the run and the registered model.")
@data_option(required=False)
@click.option(
    "--allow-failed-checks",
    is_flag=True,
    help="Mix although data checks failed; recorded in the run, which cannot be promoted.",
)
@json_option
def command(
    runs: tuple[str, ...], name: str, data: str | None, allow_failed_checks: bool, as_json: bool
) -> None:
    """Mix the models of two RUNs or more, trained on one dataset and split, into one model.

    Its logit is the mean of theirs, with the weights that predict the clicks of the validation
    part best. It is a run like any other, evaluated on the test part, and a version of the
    registered model NAME without an alias; `ni promote` decides whether it becomes champion.
    --data is the dataset, if it is not where the first run found it.
    """
    from ni_platform.api.progress import TrainingProgress
    from ni_platform.cli.train import print_run
    from ni_platform.ensembling import open_ensemble, read_weights
    from ni_platform.experiment import train
    from ni_platform.registry.registration import register
    from ni_platform.tracking.store import open_store

    store = open_store()
    with TrainingProgress() as progress:
        run = train(
            store,
            open_ensemble(store, runs, name, data),
            name=name,
            allow_failed_checks=allow_failed_checks,
            on_event=progress,
        )
    version = register(store, name, run.run_id, run.model_uri, on_wait=note)
    weights = read_weights(store, run.run_id)
    table("Members", ("run", "weight"), list(weights.items()))
    if max(weights.values()) == 1:
        console.print("One run has all the weight, so the ensemble predicts what that run does.")
    print_run(run)
    console.print(f"Registered as {version.uri}", highlight=False)
    if as_json:
        print_json(run.to_json() | {"version": version.version, "weights": weights})

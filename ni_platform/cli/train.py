"""`ni train`: from a dataset folder to a recorded run with a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ni_platform.cli.auto import AUTO, print_auto, train_auto
from ni_platform.cli.output import (
    console,
    data_option,
    interval,
    json_option,
    print_json,
    table,
    together,
)
from ni_platform.errors import ConfigError

if TYPE_CHECKING:
    from ni_platform.experiment_config import ExperimentConfig
    from ni_platform.tracking.store import Store


@click.command("train")
@click.argument("experiment", required=False)
@data_option(required=False)
@click.option("--workers", type=int, help="Ray Train workers; one if not given.")
@click.option("--cpus-per-worker", type=int, help="CPUs of each; all, divided, if not given.")
@click.option("--storage", metavar="DIR", help="Checkpoints; shared by a cluster's machines.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a config value, such as training.learning_rate=3e-4; any number.",
)
@click.option("--from-run", metavar="RUN_ID", help="Repeat a run: its config, its dataset.")
@click.option("--resume", metavar="RUN_ID", help="Go on with an interrupted or failed run.")
@click.option("--budget", metavar="TIME", help="Of auto, such as 90s, 20m (the default) or 1h.")
@click.option("--name", help="Name of the run; the experiment's name if not given.")
@click.option(
    "--allow-failed-checks",
    is_flag=True,
    help="Train although data checks failed; recorded in the run, which cannot be promoted.",
)
@click.option("--print-config", is_flag=True, help="Print the resolved config and stop.")
@click.option(
    "--print-parameters", is_flag=True, help="Print the network's size, layer by layer, and stop."
)
@json_option
def command(
    experiment: str | None,
    data: str | None,
    overrides: tuple[str, ...],
    from_run: str | None,
    resume: str | None,
    budget: str | None,
    print_config: bool,
    print_parameters: bool,
    as_json: bool,
    workers: int | None,
    cpus_per_worker: int | None,
    **options: Any,
) -> None:
    """Train EXPERIMENT (such as neural_insights.quickstart) on the dataset in --data.

    With the word auto in its place, a GLM, boosted trees, rankers and networks are tried within
    --budget, as far as they fit the data; one is chosen by the validation part and judged on the
    test part.

    Runs on this machine, or on the Ray cluster that $RAY_ADDRESS names. Each worker gets a GPU
    where there are any.
    """
    from ni_platform.overrides import set_values, to_dict

    if (experiment is None) == (from_run is None and resume is None):
        raise click.UsageError("name an EXPERIMENT, or a run by --from-run or --resume")
    if resume and (overrides or workers is not None):
        raise click.UsageError("--resume goes on as the run was started; no --set, no --workers")
    if cpus_per_worker is not None and workers is None:
        raise click.UsageError("--cpus-per-worker needs --workers")
    options["workers"] = together(workers, cpus_per_worker)
    if experiment == AUTO or budget is not None:
        changed = bool(overrides or print_config or print_parameters)
        _auto(experiment, data, budget, changed, as_json, options)
        return
    store, config, data = _resolved(experiment, from_run or resume, data)
    config = set_values(config, overrides)
    if print_config:
        print_json(to_dict(config))
        return
    if print_parameters:
        _print_parameters(config, data)
        return
    from ni_platform.cli.progress import TrainingProgress
    from ni_platform.experiment import train
    from ni_platform.opened import open_experiment
    from ni_platform.tracking.store import open_store

    with TrainingProgress() as progress:
        run = train(
            store or open_store(),
            open_experiment(config, data),
            resume=resume,
            on_event=progress,
            **options,
        )
    print_run(run)
    if as_json:
        print_json(run.to_json())


def _auto(
    experiment: str | None,
    data: str | None,
    budget: str | None,
    changed: bool,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Do `ni train auto`, or say which options do not go with it."""
    if experiment != AUTO:
        raise click.UsageError("--budget is the time that auto tries experiments in")
    if changed:
        raise click.UsageError(
            "auto takes experiments as they are; no --set, --print-config, --print-parameters"
        )
    found = train_auto(data, budget, **options)
    print_run(found.run)
    print_auto(found)
    if as_json:
        print_json(found.to_json())


def _resolved(
    experiment: str | None, run_id: str | None, data: str | None
) -> tuple[Store | None, ExperimentConfig, str]:
    """The config and dataset of an experiment, or those of a run; and its store if one is open."""
    from ni_platform.experiment_config import load_experiment, of_run

    store = None
    if run_id is None:
        config = load_experiment(str(experiment))
    else:
        # MLflow takes seconds to import; a mistyped experiment is told at once.
        from ni_platform.tracking.store import open_store

        store = open_store()
        config, trained_on = of_run(store, run_id)
        data = data or trained_on
    if data is None:
        raise ConfigError("a dataset is needed; name its folder with --data DIR")
    return store, config, data


def _print_parameters(config: Any, data: str) -> None:
    from ni_platform.opened import open_experiment

    sizes = open_experiment(config, data).sketched().build_scorer().model.parameter_table()
    rows = [(name, f"{count:,}") for name, count in sizes]
    rows.append(("all", f"{sum(count for _, count in sizes):,}"))
    table(config.name, ("layer", "parameters"), rows)


def print_run(run: Any) -> None:
    """Print a finished run's metrics on the test part and what to do next."""
    from ni_platform.metrics.catalogue import HEADLINE, lower_is_better

    slices = {name: found for name, found in run.metrics.items() if name != "validation"}
    names = [name for name in HEADLINE if any(name in found for found in slices.values())]
    table(
        run.name,
        ("metric, with 95 % interval", *slices),
        [(HEADLINE[name], *(interval(s.get(name)) for s in slices.values())) for name in names],
    )
    changes = [
        (
            label,
            f"{change:+.1f} %",
            "better" if (change < 0) == lower_is_better(name) else "worse",
        )
        for name, label in HEADLINE.items()
        if (change := run.changes_versus_glm.get(f"test/{name}_vs_glm")) is not None
    ]
    # The GLM itself is no change against the GLM.
    if changes and any(abs(change) > 1e-6 for change in run.changes_versus_glm.values()):
        table("Against a GLM on the same split (NI Table 1)", ("metric", "change", ""), changes)
    gains = [
        (name.removeprefix("gain_"), interval(found), _worth(found))
        for name, found in run.metrics.get("test", {}).items()
        if name.startswith("gain_")
    ]
    if gains:
        table("What each modality adds to pairwise accuracy", ("modality", "gain", ""), gains)
    ranked = run.metrics.get("test", {}).get("pairwise_accuracy")
    if ranked is not None and ranked.value <= 0.5:
        console.print("The model ranks contents that it has not seen no better than a coin.")
    console.print(f"Run:   {run.run_id}\nModel: {run.model_uri}", highlight=False)
    console.print(
        f"Next:  ni promote {run.run_id} --model NAME\n       ni compare, or ni ui",
        highlight=False,
    )


def _worth(gain: Any) -> str:
    if gain.low > 0:
        return "helps"
    return "harms" if gain.high < 0 else "adds nothing that can be told"

"""Options that the commands of a sweep share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

storage_option = click.option(
    "--storage",
    metavar="DIR",
    help="Folder of sweeps, or s3://. If not given, where a submitted sweep is, or .ni/sweeps.",
)

_SETTINGS = (
    click.option("--experiment", required=True, help="What is trained in each trial."),
    click.option("--trials", required=True, type=int, help="How many trials to run."),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="PATH=VALUE",
        help="Change the experiment for all trials, such as training.epochs=20; any number.",
    ),
    click.option(
        "--objective",
        help="Validation metric that trials are compared by; what the experiment monitors if not "
        "given.",
    ),
    click.option(
        "--sampler",
        default="tpe",
        show_default=True,
        help="tpe, random, cmaes, gp, qmc, or FILE.FUNCTION of tune_spaces.",
    ),
    click.option("--seed", default=0, show_default=True, help="Of the search."),
    click.option(
        "--scheduler",
        type=click.Choice(["asha", "hyperband", "none"]),
        default="asha",
        show_default=True,
        help="How hopeless trials are stopped early.",
    ),
    click.option(
        "--grace-epochs", default=1, show_default=True, help="Epochs that every trial gets."
    ),
    click.option(
        "--reduction-factor",
        default=3,
        show_default=True,
        help="Of so many trials at a rung, one goes on.",
    ),
    click.option("--cpus-per-trial", default=1.0, show_default=True, help="CPUs of each trial."),
    click.option("--gpus-per-trial", default=0.0, show_default=True, help="GPUs, or part of one."),
    click.option("--workers-per-trial", default=1, show_default=True, help="Ray Train workers."),
    click.option("--concurrent", type=int, help="Trials at a time; as many as fit if not given."),
    click.option("--retries", default=2, show_default=True, help="For trials whose process died."),
    click.option(
        "--keep", default=3, show_default=True, help="Best trials whose models are recorded."
    ),
)


def settings(function: Callable) -> Callable:
    """Add the options that define a sweep, besides its space, data and name."""
    for option in reversed(_SETTINGS):
        function = option(function)
    return function


def sweep_config(
    space: str, *, name: str, data: str, experiment: str, overrides: tuple[str, ...], **given: Any
) -> Any:
    """Return the SweepConfig of what was given on the command line."""
    from ni_platform.experiment_config import load_experiment
    from ni_platform.overrides import set_values
    from ni_platform.tuning.config import SweepConfig

    config = set_values(load_experiment(experiment), overrides)
    given["objective"] = given["objective"] or config.training.monitor or "loss"
    return SweepConfig(name=name, space=space, experiment=config, data=data, **given)

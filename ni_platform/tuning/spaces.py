"""Search spaces: functions of the folder `tune_spaces` that draw changes to an experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ni_platform.definitions import list_functions, load_function, require_known
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.overrides import with_values

if TYPE_CHECKING:
    import optuna

Space = Callable[["optuna.trial.BaseTrial"], Mapping[str, Any]]
"""Draws a trial's parameters and returns the config values that they mean, by path."""

SPACES = "tune_spaces"
_VARIED = ("model.", "training.")
_FIXED = ("model.kind", "training.monitor")

DRAWN_BEFORE = 64
"""Trials that are drawn at random before a sweep, to find values that its config refuses."""


def list_spaces() -> list[tuple[str, str]]:
    """Return each space's name and the first line of its docstring."""
    return [(f"{file}.{name}", summary) for file, name, summary in list_functions(SPACES)]


def load_space(name: str) -> Space:
    """Return the space `FILE.FUNCTION`.

    Raises:
        ConfigError: There is no such space; names the nearest.

    """
    require_known(name, [known for known, _ in list_spaces()], "space")
    return load_function(SPACES, name)


def trial_config(base: ExperimentConfig, overrides: Mapping[str, Any]) -> ExperimentConfig:
    """Return the experiment of a trial: the sweep's own with these values.

    Raises:
        ConfigError: The config lacks a path, or a value does not fit.

    """
    for path in overrides:
        if not path.startswith(_VARIED) or path in _FIXED:
            raise ConfigError(
                f"a trial changes model.* and training.*, but not {', '.join(_FIXED)}: {path} is "
                "the same for all trials of a sweep, so that they can be compared and share what "
                "is computed once; set it for the experiment instead"
            )
    return with_values(base, overrides.items())


def draw(space: Space, trials: int, seed: int = 0) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return parameters and overrides of trials drawn at random.

    Raises:
        ConfigError: The space returns something else than values by path.

    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = []
    for _ in range(trials):
        trial = study.ask()
        overrides = space(trial)
        if not isinstance(overrides, Mapping) or not overrides:
            raise ConfigError(
                "a search space returns config values by path, such as "
                f'{{"training.learning_rate": rate}}, but it returned {overrides!r}'
            )
        drawn.append((dict(trial.params), dict(overrides)))
    return drawn


def check_space(name: str, base: ExperimentConfig) -> None:
    """Draw trials at random and make each one's config.

    Raises:
        ConfigError: A config lacks a path or refuses a value; names the parameters that led there.

    """
    for parameters, overrides in draw(load_space(name), DRAWN_BEFORE):
        try:
            trial_config(base, overrides)
        except ConfigError as error:
            raise ConfigError(
                f"the space {name} does not fit the experiment {base.name}: {error}; "
                f"drawn with {parameters}"
            ) from error

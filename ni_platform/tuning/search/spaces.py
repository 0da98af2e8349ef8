"""Search spaces: functions of the folder `tune_spaces` that draw changes to an experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ni_platform.errors import ConfigError, TrackingError
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.function_source import function_of
from ni_platform.overrides import with_values
from ni_platform.tuning.config import SPACES, SweepConfig
from ni_platform.user_code import Definition, list_functions, load_function, require_known, shown

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from ni_platform.tuning.search.suggestions import Space

_VARIED = ("model.", "training.")
_FIXED = ("model.kind", "training.monitor")

DRAWN_BEFORE = 64
"""Trials that are drawn at random before a sweep, to find values that its config refuses."""


def list_spaces() -> list[tuple[str, str]]:
    """Return each space's name and the first line of its docstring."""
    return [(f"{file}.{name}", summary) for file, name, summary in list_functions(SPACES)]


def load_space(name: str, source: str | None = None) -> Space:
    """Return the space `FILE.FUNCTION`, or the function of that name that `source` defines.

    Called with a trial, it raises a ConfigError with the file and line of whatever goes wrong in
    it, and for values and names that log and MLflow do not keep as they are.

    Raises:
        ConfigError: There is no such space; names the nearest.

    """
    return _Checked(_defined(name, source))


def _defined(name: str, source: str | None) -> Definition:
    if source is not None:
        function = function_of(source, name)
        return Definition(kind="space", name=name, folder=SPACES, function=function)
    require_known(name, [known for known, _ in list_spaces()], "space")
    return load_function(SPACES, name, kind="space", name=name)


@dataclass(frozen=True)
class _Checked:
    """A space whose every draw is looked at."""

    defined: Definition

    def __call__(self, trial: BaseTrial) -> dict[str, Any]:
        overrides = self.defined(trial)
        problem = _problem(overrides) or _name_problem(trial.params, overrides)
        if problem is not None:
            raise self.defined.refused(problem)
        return dict(overrides)


def _problem(overrides: object) -> str | None:
    """Return the rule that what a space returned breaks."""
    if not isinstance(overrides, Mapping) or not overrides:
        return (
            "does not fit: a search space returns config values by path, such as "
            f'{{"training.learning_rate": rate}}, but it returned {shown(overrides)}'
        )
    for path, value in overrides.items():
        if not isinstance(path, str):
            return f"returns values by path, which is a text, but one is {shown(path)}"
        try:
            json.dumps(value, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            return (
                "must return values that a config can hold: texts, finite numbers, True, False, "
                f"None, lists and dictionaries of them, but {path} is {shown(value)}"
            )
    return None


def _name_problem(parameters: Mapping[str, Any], overrides: Mapping[str, Any]) -> str | None:
    """Return the rule that a name breaks under which MLflow is to show a parameter."""
    # MLflow takes seconds to import.
    from ni_platform.tracking.limits import check_name, parameter_texts

    try:
        drawn, returned = parameter_texts(parameters), parameter_texts(overrides)
        for name in drawn | returned:
            check_name(name)
    except TrackingError as error:
        return f"has a parameter that cannot be recorded: {str(error).rstrip('.')}"
    for name in drawn.keys() & returned.keys():
        if drawn[name] != returned[name]:
            return (
                f"has a parameter {name!r}, drawn as {drawn[name]}, and a config value of the same "
                f"name, {returned[name]}: MLflow shows one of them; give the parameter another name"
            )
    folded: dict[str, str] = {}
    for name in drawn | returned:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            return (
                f"has parameters whose names differ in upper and lower case alone, {other!r} and "
                f"{name!r}, which some databases of MLflow take for one; rename one of them"
            )
    return None


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
    """Return parameters and overrides of trials drawn at random, as a search draws its first.

    Raises:
        ConfigError: The space fails, or breaks a rule of searches; see `load_space`.

    """
    # Optuna takes a second to import.
    import optuna

    from ni_platform.tuning.search.quiet import quiet
    from ni_platform.tuning.search.suggestions import Search

    with quiet():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    search = Search(space, study)
    suggestions = [search.ask() for _ in range(trials)]
    return [(suggestion.parameters, suggestion.overrides) for suggestion in suggestions]


def check_space(name: str, base: ExperimentConfig, source: str | None = None) -> None:
    """Draw trials at random and make each one's config.

    Raises:
        ConfigError: The space fails; or a config lacks a path or refuses a value: names the
            parameters that led there.

    """
    place = _defined(name, source).place
    for parameters, overrides in draw(load_space(name, source), DRAWN_BEFORE):
        try:
            trial_config(base, overrides)
        except ConfigError as error:
            raise ConfigError(
                f"the space {name} does not fit the experiment {base.name}: {error}; "
                f"drawn with {parameters} ({place})"
            ) from error


def check_search(config: SweepConfig) -> None:
    """Draw from a sweep's space and make its sampler, before anything is started.

    Raises:
        ConfigError: The space does not fit the experiment, or there is no such sampler.
    """
    # Optuna takes a second to import.
    from ni_platform.tuning.search.samplers import load_sampler

    check_space(config.space, config.experiment, config.space_source)
    load_sampler(config.sampler)(config.seed, 0)

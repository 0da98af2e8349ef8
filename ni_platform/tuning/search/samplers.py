"""The sampler of a search by its name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler

from ni_platform.errors import ConfigError
from ni_platform.tuning.config import SPACES
from ni_platform.tuning.search.bounded_sampler import BoundedSampler, MakeSampler
from ni_platform.user_code import list_functions, load_function, require_known

_NUMBERED: dict[str, MakeSampler] = {
    "tpe": lambda seed: BoundedSampler(seed=seed),
    "random": lambda seed: BoundedSampler(RandomSampler, seed=seed, best=1, others=1),
}
"""What they suggest follows from the seed and a trial's number."""

_OPTUNAS: dict[str, MakeSampler] = {
    "cmaes": lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "gp": lambda seed: GPSampler(seed=seed),
    "qmc": lambda seed: QMCSampler(seed=seed, warn_independent_sampling=False),
}
SAMPLERS = (*_NUMBERED, *_OPTUNAS)


def load_sampler(name: str) -> Callable[[int, int], BaseSampler]:
    """Return what makes a sampler of a seed and the number of trials that were begun before.

    Args:
        name: One of `SAMPLERS`, or FILE.FUNCTION of the folder tune_spaces: a function that is
            called with a seed and returns an Optuna sampler.

    Raises:
        ConfigError: There is no such sampler, or it needs a package that is not installed.

    """
    if name in _NUMBERED:
        return lambda seed, begun: _NUMBERED[name](seed)
    if name in _OPTUNAS:
        return partial(_seeded, name, _OPTUNAS[name])
    own = [f"{file}.{function}" for file, function, _ in list_functions(SPACES)]
    if "." not in name:
        raise ConfigError(
            f"sampler must be one of {', '.join(SAMPLERS)}, or FILE.FUNCTION of the folder "
            f"{SPACES}, but is {name!r}"
        )
    require_known(name, own, "sampler")
    return partial(_seeded, name, load_function(SPACES, name, kind="sampler", name=name))


def _seeded(name: str, make: MakeSampler, seed: int, begun: int) -> BaseSampler:
    """Make a sampler; one that goes on after `begun` trials draws others than the first did."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = make(seed + begun)
    except ImportError as error:
        raise ConfigError(
            f"the sampler {name} needs a package that is not installed ({error.name}): install "
            "it, or choose another --sampler"
        ) from error
    if not isinstance(sampler, BaseSampler):
        raise ConfigError(
            f"{name} must return a sampler of Optuna's, but returned {type(sampler).__name__}"
        )
    return sampler

"""What can be trained and searched, by name, and configs made of it by keyword."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import pandas as pd

from ni_platform.api.display import Part, cell
from ni_platform.errors import ConfigError
from ni_platform.evaluation import EvaluationConfig
from ni_platform.experiment_config import (
    EXPERIMENTS,
    ExperimentConfig,
    Pretraining,
    checked_config,
    defined_experiment,
    list_experiments,
    load_experiment,
)
from ni_platform.function_source import source_of
from ni_platform.insights.config import InsightsConfig
from ni_platform.models.regressor import RegressorConfig
from ni_platform.overrides import merged
from ni_platform.reporting.page import Table
from ni_platform.training.config import TrainingConfig
from ni_platform.user_code import Definition, require_known

Experiment = str | ExperimentConfig | Callable[[], ExperimentConfig]
"""A name of `ni.experiments`, a config, or your own function that returns one."""

Values = Mapping[str, Any]


class Changes(TypedDict, total=False):
    """Keywords that change an experiment's config, each a mapping of what differs or a config.

    A mapping changes what it names, at any depth: `training={"epochs": 3, "loss": {"mse": 0}}`.
    """

    model: Values | RegressorConfig
    training: Values | TrainingConfig
    pretraining: Values | Pretraining
    splits: Values
    evaluation: Values | EvaluationConfig
    insights: Values | InsightsConfig | None
    leave_out: Sequence[str]
    min_impressions: int
    train_share: float
    train_on_validation: bool


def experiment_config(experiment: Experiment, changes: Mapping[str, Any]) -> ExperimentConfig:
    """Return the config of an experiment with changes by keyword.

    Raises:
        ConfigError: There is no such experiment, its function fails, or a change does not fit;
            names the nearest or the place.
    """
    if isinstance(experiment, str):
        config = load_experiment(experiment)
    elif callable(experiment):
        config = defined_experiment(_own(experiment))
    else:
        config = checked_config(experiment, _own(type(experiment)))
    return merged(config, changes)


def source_of_experiment(experiment: Experiment) -> str | None:
    """Return the source of an experiment that is a function of no file of `experiments/`.

    Raises:
        ConfigError: It has none that Python knows.
    """
    if isinstance(experiment, str | ExperimentConfig):
        return None
    of_a_file = getattr(experiment, "__module__", "").startswith(f"{EXPERIMENTS}.")
    return None if of_a_file else source_of(experiment, "experiment")


def _own(function: Callable[..., Any]) -> Definition:
    name = getattr(function, "__name__", repr(function))
    return Definition(kind="experiment", name=name, folder=EXPERIMENTS, function=function)


@dataclass(frozen=True, kw_only=True, repr=False)
class Definitions:
    """Definitions by name, as `FILE.FUNCTION`: the installed ones and those of your own folder.

    `names[...]` and `names.FILE.FUNCTION`, which a notebook completes, load one; iterating gives
    the names, `frame` the names with what each is.
    """

    kind: str
    """In words, one of them."""
    listed: Callable[[], list[tuple[str, str]]]
    load: Callable[[str], Any]
    file: str = ""

    @property
    def frame(self) -> pd.DataFrame:
        """A row per definition: name, summary."""
        return pd.DataFrame(self._own(), columns=["name", "summary"])

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._own())

    def __len__(self) -> int:
        return len(self._own())

    def __getitem__(self, name: str) -> Any:
        require_known(name, [known for known, _ in self.listed()], self.kind)
        return self.load(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what notebooks ask of every object
            raise AttributeError(name)
        if self.file:
            return self[f"{self.file}.{name}"]
        files = {known.partition(".")[0] for known, _ in self.listed()}
        if name not in files:
            raise ConfigError(
                f"there is no file {name!r} of {self.kind}s; there are {sorted(files)}"
            )
        return Definitions(kind=self.kind, listed=self.listed, load=self.load, file=name)

    def __dir__(self) -> list[str]:
        parts = [name.partition(".") for name, _ in self._own()]
        return [*sorted({end if self.file else start for start, _, end in parts}), "frame"]

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {summary}" for name, summary in self._own())

    def _repr_html_(self) -> str:
        table = Table.of(("name", "what it is"), self._own())
        return cell(f"{self.kind.capitalize()}s", Part(table=table))

    def _own(self) -> list[tuple[str, str]]:
        start = f"{self.file}." if self.file else ""
        return [(name, summary) for name, summary in self.listed() if name.startswith(start)]


def _spaces() -> list[tuple[str, str]]:
    # Optuna takes a second to import.
    from ni_platform.tuning.search.spaces import list_spaces

    return list_spaces()


experiments = Definitions(kind="experiment", listed=list_experiments, load=load_experiment)
"""What can be trained. `experiments.neural_insights.quickstart` is its frozen config."""

spaces = Definitions(kind="space", listed=_spaces, load=str)
"""What can be searched. `spaces.fusion.neural_insights` is its name, as `sweep` takes it."""

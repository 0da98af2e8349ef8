"""A mixture of trained regressors: the mean of their logits, by weights that validation decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from ni_platform.errors import ConfigError
from ni_platform.models.baselines.tabular import TabularRegressor
from ni_platform.models.inputs import InputEncoder
from ni_platform.models.mixing import mixed
from ni_platform.models.modalities.modality import ColumnRole, ModelConfig, Reader
from ni_platform.models.saved_folder import (
    damaged,
    new_folder,
    read_description,
    write_description,
)
from ni_platform.models.scorer import NETWORKS, Scorer
from ni_platform.narrowing import of_kind

Member = Scorer | TabularRegressor

_MEMBERS = "members"
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig(ModelConfig):
    """Which runs' models are mixed."""

    kind: Literal["ensemble"] = "ensemble"
    members: tuple[str, ...]
    """Run ids."""
    output: Literal["rate"] = "rate"

    def __post_init__(self) -> None:
        if len(self.members) < 2 or len(set(self.members)) < len(self.members):
            raise ConfigError(
                "An ensemble mixes the models of two runs or more, each named once, but got "
                f"{', '.join(self.members) or 'none'}: name other runs (`ni compare` lists them)."
            )


class Ensemble:
    """Regressors with positive weights that sum to 1, by the ids of the runs that trained them.

    The heaviest comes first.
    """

    buckets: None = None
    """It gives rates; of a member that gives distributions, the mean counts."""

    def __init__(self, members: Mapping[str, Member], weights: Mapping[str, float]) -> None:
        self.weights = dict(sorted(weights.items(), key=lambda item: -item[1]))
        self.members = {run: members[run] for run in self.weights}

    @property
    def roles(self) -> dict[str, ColumnRole]:
        """The columns that any member reads, and what they are."""
        return {name: role for each in self.members.values() for name, role in each.roles.items()}

    @property
    def networks(self) -> dict[str, Scorer]:
        """The members by run id, where all are networks.

        Raises:
            ConfigError: one is not, so the ensemble cannot be explained.
        """
        for run, member in self.members.items():
            if not isinstance(member, Scorer):
                raise ConfigError(
                    f"The ensemble's member {run} is of kind tabular, and only networks can be "
                    "explained: mix runs of networks, or explain those one by one."
                )
        return {run: of_kind(member, Scorer) for run, member in self.members.items()}

    @property
    def modalities(self) -> tuple[str, ...]:
        """What any of the networks reads."""
        every = [name for network in self.networks.values() for name in network.modalities]
        return tuple(dict.fromkeys(every))

    @property
    def inputs(self) -> InputEncoder:
        """The readers of all networks, by run and modality; those of the heaviest come first."""
        return InputEncoder(
            {
                f"{run}/{name}": reader
                for run, network in self.networks.items()
                for name, reader in network.inputs.readers.items()
            }
        )

    def with_networks(self, change: Callable[[Scorer], Scorer]) -> Ensemble:
        """Return the ensemble of what `change` makes of each network."""
        changed = {run: change(network) for run, network in self.networks.items()}
        return Ensemble(changed, self.weights)

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The levels that all members know that read the column."""
        found: dict[str, tuple[str, ...]] = {}
        for member in self.members.values():
            for name, levels in member.levels.items():
                both = found.get(name, levels)
                found[name] = tuple(level for level in both if level in levels)
        return found

    def unknown_levels(self, frame: pd.DataFrame) -> list[str]:
        """What the members' `unknown_levels` say, each once."""
        notes = [note for each in self.members.values() for note in each.unknown_levels(frame)]
        return list(dict.fromkeys(notes))

    def predict(
        self, frame: pd.DataFrame, *, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Predicted success rates, float64 [N] in (0, 1); errors as the members' own."""
        found = [np.empty(0)]
        for start in range(0, len(frame), _ROWS_AT_ONCE):
            rows = frame.iloc[start : start + _ROWS_AT_ONCE]
            rates = [member.predict(rows) for member in self.members.values()]
            found.append(mixed(rates, list(self.weights.values())))
            if progress is not None:
                progress(len(rows))
        return np.concatenate(found)

    def predict_with_deviation(
        self, frame: pd.DataFrame, *, progress: Callable[[int], None] | None = None
    ) -> tuple[np.ndarray, None]:
        """Predicted success rates, and that there are no distributions."""
        return self.predict(frame, progress=progress), None

    def save(self, folder: str | Path) -> None:
        """Write the ensemble into `folder`, which is complete or not there at all.

        Each member is a saved regressor of its own in `members/RUN_ID`.
        """
        with new_folder(Path(folder)) as scratch:
            for run, member in self.members.items():
                member.save(scratch / _MEMBERS / run)
            write_description(scratch, "ensemble", columns=self.roles, weights=self.weights)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "auto") -> Ensemble:
        """Read what `save` wrote.

        Raises:
            ConfigError: the folder is not a saved ensemble, or is damaged.
        """
        folder = Path(folder)
        description = read_description(folder, ["ensemble"])
        try:
            weights = {run: float(weight) for run, weight in description["weights"].items()}
            if min(weights.values()) <= 0 or abs(sum(weights.values()) - 1) > 1e-6:
                raise ValueError(f"weights must be above 0 and sum to 1, but are {weights}")
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise damaged(folder, error) from error
        members = {run: load_member(folder / _MEMBERS / run, device) for run in weights}
        return cls(members, weights)


Explainable = Scorer | Ensemble
"""What can be explained, where an ensemble's members are networks."""


def network_with(model: Explainable, kind: type[Reader]) -> Scorer | None:
    """Return the network that has such a reader, of several the heaviest; None if none has."""
    networks = [model] if isinstance(model, Scorer) else model.networks.values()
    return next((network for network in networks if network.inputs.find(kind)), None)


def load_member(folder: Path, device: str | torch.device = "auto") -> Member:
    """Read a saved network or tabular regressor; raises as `load_regressor`."""
    description = read_description(folder, [*NETWORKS, "tabular"])
    if description["kind"] == "tabular":
        return TabularRegressor.load(folder)
    return Scorer.load(folder, device)

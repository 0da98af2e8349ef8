"""What every success-rate regressor does, whatever it is made of, and how a saved one is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.ensemble import Ensemble, EnsembleConfig, load_member
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.m2fn.network import M2FNConfig
from ni_platform.models.modalities.modality import ColumnRole
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.models.outputs import Buckets
from ni_platform.models.saved_folder import read_description
from ni_platform.models.scorer import NETWORKS

RegressorConfig = Annotated[
    NeuralInsightsConfig | M2FNConfig | GaussianProcessConfig | TabularConfig | EnsembleConfig,
    Field(discriminator="kind"),
]


class Regressor(Protocol):
    """A trained regressor: `Scorer` around a network, `TabularRegressor`, `Ensemble` of these."""

    @property
    def roles(self) -> dict[str, ColumnRole]:
        """The columns that are read, and what they are."""
        ...

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The levels that the model knows, by categorical column."""
        ...

    def unknown_levels(self, frame: pd.DataFrame) -> list[str]:
        """Say of each categorical column whose levels the model does not know what they are."""
        ...

    @property
    def buckets(self) -> Buckets | None:
        """What it gives a distribution over; None if it gives a rate."""
        ...

    def predict(
        self, frame: pd.DataFrame, *, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Predicted success rates, float64 [N] in (0, 1)."""
        ...

    def predict_with_deviation(
        self, frame: pd.DataFrame, *, progress: Callable[[int], None] | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Success rates [N] and, of distributions, their standard deviations [N]."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write the regressor into `folder`, which is complete or not there at all."""
        ...


def load_regressor(folder: str | Path, device: str | torch.device = "auto") -> Regressor:
    """Read a saved regressor of any kind; `auto` takes a GPU where there is one.

    Raises:
        ConfigError: the folder is not a saved regressor, or one of a later version.
    """
    description = read_description(Path(folder), [*NETWORKS, "tabular", "ensemble"])
    if description["kind"] == "ensemble":
        return Ensemble.load(folder, device)
    return load_member(Path(folder), device)

"""Regressors on handcrafted features: the GLM, SVM, linear and XGBoost rows of the papers' tables.

NI Table 1's reference is the GLM; M2FN Table 7 has the others as "only auxiliary attributes".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.baselines.estimators import (
    EstimatorName,
    TrainingTable,
    fit_estimator,
    load_estimator,
    predict_rates,
    save_estimator,
)
from ni_platform.models.baselines.features import TableFeatures
from ni_platform.models.inputs import InputEncoder
from ni_platform.models.modalities.attributes import AttributesReader
from ni_platform.models.modalities.domain import DomainReader
from ni_platform.models.modalities.modality import ColumnRole, ModalityConfig, ModelConfig, Reader
from ni_platform.models.modalities.text import TextReader
from ni_platform.models.saved_folder import (
    damaged,
    new_folder,
    read_description,
    write_description,
)
from ni_platform.seeds import check_seed


@dataclass(frozen=True, kw_only=True)
class Handcrafted(ModalityConfig):
    """Texts enter as lengths, marks and words."""

    reader: ClassVar[type[Reader]] = TextReader


@dataclass(frozen=True, kw_only=True)
class OneHotDomain(ModalityConfig):
    """A column per domain."""

    reader: ClassVar[type[Reader]] = DomainReader


@dataclass(frozen=True, kw_only=True)
class OneHot(ModalityConfig):
    """A column per level; numbers standardised."""

    reader: ClassVar[type[Reader]] = AttributesReader


@dataclass(frozen=True, kw_only=True)
class TabularConfig(ModelConfig):
    """Which estimator, and what it reads; a modality that is None is not read."""

    kind: Literal["tabular"] = "tabular"
    estimator: EstimatorName = "glm"
    text: Handcrafted | None = field(default_factory=Handcrafted)
    domain: OneHotDomain | None = field(default_factory=OneHotDomain)
    attributes: OneHot | None = field(default_factory=OneHot)
    output: Literal["rate"] = "rate"
    seed: int = 0
    """Of what is held out to choose a penalty or the number of trees."""

    def __post_init__(self) -> None:
        check_seed("model.seed", self.seed)


class TabularRegressor:
    """A fitted estimator with its features; `fit` or `load` makes it."""

    buckets: None = None
    """It gives rates, not distributions."""

    def __init__(self, config: TabularConfig, features: TableFeatures, estimator: Any) -> None:
        self.config = config
        self.features = features
        self.estimator = estimator

    @classmethod
    def fit(
        cls, config: TabularConfig, dataset: Dataset, rows: Sequence[int] | np.ndarray
    ) -> TabularRegressor:
        """Fit on `rows` of the dataset; those without impressions are left out.

        Raises:
            DatasetError: fewer than two of the rows have impressions, or all rates are 0 or 1.
        """
        shown: np.ndarray = np.asarray(rows, dtype=np.int64)
        shown = shown[dataset.impressions[shown] > 0]
        if len(shown) < 2:
            raise DatasetError(
                f"A {config.estimator} is fitted on at least two contents with impressions, but "
                f"there are {len(shown)}."
            )
        features = TableFeatures.fit(dataset, shown, config.modalities)
        table = TrainingTable(
            features_NF=features.transform(dataset.inputs(shown)),
            rate_N=dataset.success_rate[shown],
            impressions_N=dataset.impressions[shown],
            groups_N=_groups(dataset, shown),
        )
        return cls(config, features, fit_estimator(config.estimator, table, config.seed))

    @property
    def roles(self) -> dict[str, ColumnRole]:
        """The columns that are read, and what they are."""
        return self.features.roles

    @property
    def schema(self) -> InputEncoder:
        """As `Scorer.schema`: no pictures are read."""
        return InputEncoder({})

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The levels that the model knows, by categorical column."""
        return self.features.attributes.levels

    def unknown_levels(self, frame: pd.DataFrame) -> list[str]:
        """Say of each categorical column whose levels the model does not know what they are."""
        return self.features.attributes.unknown_levels(frame)

    def predict(
        self,
        frame: pd.DataFrame,
        *,
        batch_size: int = 65536,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Predicted success rates, float64 [N] in (0, 1)."""
        rates = np.empty(len(frame))
        for start in range(0, len(frame), batch_size):
            rows = slice(start, start + batch_size)
            features_NF = self.features.transform(frame.iloc[rows])
            rates[rows] = predict_rates(self.config.estimator, self.estimator, features_NF)
            if progress is not None:
                progress(features_NF.shape[0])
        return rates

    def predict_with_deviation(
        self, frame: pd.DataFrame, *, progress: Callable[[int], None] | None = None
    ) -> tuple[np.ndarray, None]:
        """Predicted success rates, and that there are no distributions."""
        return self.predict(frame, progress=progress), None

    def save(self, folder: str | Path) -> None:
        """Write the regressor into `folder`, which is complete or not there at all."""
        with new_folder(Path(folder)) as scratch:
            save_estimator(self.config.estimator, self.estimator, scratch)
            write_description(
                scratch,
                self.config.kind,
                config=asdict(self.config),
                columns=self.roles,
                features=self.features.to_dict(),
            )

    @classmethod
    def load(cls, folder: str | Path) -> TabularRegressor:
        """Read what `save` wrote.

        Raises:
            ConfigError: the folder is not a saved tabular regressor, or is damaged.
        """
        folder = Path(folder)
        description = read_description(folder, ["tabular"])
        try:
            config = TypeAdapter(TabularConfig).validate_python(description["config"])
            features = TableFeatures.from_dict(description["features"])
        except (ValidationError, KeyError) as error:
            raise damaged(folder, error) from error
        try:
            return cls(config, features, load_estimator(config.estimator, folder))
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"The estimator in {folder} does not load ({reason}). Save the model again."
            ) from error


def _groups(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """A/B test of each row, or the row itself."""
    tests = dataset.ab_test.iloc[rows]
    return np.array(
        [f"row {row}" if pd.isna(test) else f"test {test}" for row, test in zip(rows, tests)]
    )

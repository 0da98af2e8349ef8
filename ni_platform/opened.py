"""An experiment on a dataset: opened once, and passed to all that train, judge and explain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import Splits, split_dataset
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.experiment_config import ExperimentConfig, fingerprint
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.inputs import columns_of
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.provenance import provenance

EXAMPLE_ROWS = 3
"""Contents in the input example of a logged model."""


@dataclass(frozen=True, kw_only=True)
class OpenedExperiment:
    """A config, the dataset that it is fitted to, and its parts."""

    config: ExperimentConfig
    """Without the modalities that the dataset does not have."""
    dataset: Dataset
    splits: Splits

    @cached_property
    def readable(self) -> Dataset:
        """The dataset without the inputs that the config leaves out."""
        return self.dataset.without_inputs(self.config.leave_out)

    @property
    def evaluated_rows(self) -> NDArray[np.int64]:
        """Rows that no stage trains on: the validation part, then the test part."""
        return np.concatenate([self.splits.rows("validation"), self.splits.rows("test")])

    @property
    def example(self) -> pd.DataFrame:
        """Inputs of a few contents, as a logged model is asked."""
        return self.dataset.inputs(self.splits.rows("train")[:EXAMPLE_ROWS])

    def tags(self) -> dict[str, str]:
        """Return what a run of it is made from, as the run's tags."""
        return {
            "ni.experiment": self.config.name,
            "ni.config_fingerprint": fingerprint(self.config),
            "ni.dataset": self.dataset.root,
            "ni.dataset_name": self.dataset.manifest.name,
            "ni.dataset_fingerprint": self.dataset.fingerprint(),
            "ni.splits_fingerprint": self.splits.fingerprint(),
            **provenance(),
        }

    def reading(self, parts: Mapping[str, Any]) -> OpenedExperiment:
        """Return the same with these configs of modalities alone, for a model that has others."""
        model: Any = self.config.model
        read = {name: parts.get(name) for name in model.parts}
        return replace(self, config=replace(self.config, model=replace(model, **read)))

    def sketched(self) -> OpenedExperiment:
        """Return the same with the first option of layers that training is to choose."""
        parts: Any = getattr(self.config.model, "parts", {})
        if not any(part.layer_options for part in parts.values()):
            return self
        first = {
            name: replace(part, layers=part.layer_options[0]) if part.layer_options else part
            for name, part in parts.items()
        }
        return self.reading(first)

    def build_scorer(self) -> Scorer:
        """Return its untrained network, whose readers are fitted to the training rows.

        Raises:
            ConfigError: Its model is no network.

        """
        config, train_rows = self.config, self.splits.rows("train")
        if isinstance(config.model, GaussianProcessConfig):
            return build_scorer(config.model, self.readable, train_rows, config.model.seed)
        return build_scorer(config.network, self.readable, train_rows, config.training.seed)


def open_experiment(
    config: ExperimentConfig, data: str | Dataset, *, chosen_by_validation: bool = False
) -> OpenedExperiment:
    """Open a dataset for an experiment: fit the config to it, and split it.

    Args:
        config: What is to be done with the data.
        data: Dataset, or its folder, local or `s3://`.
        chosen_by_validation: As for `experiment_splits`.

    Raises:
        ConfigError: None of the model's modalities is there.
        DatasetError: The dataset cannot be read, or a part that is needed has no content.

    """
    dataset = Dataset.open(data) if isinstance(data, str) else data
    config = fitted_to(config, dataset)
    splits = experiment_splits(config, dataset, chosen_by_validation=chosen_by_validation)
    return OpenedExperiment(config=config, dataset=dataset, splits=splits)


def fitted_to(config: ExperimentConfig, dataset: Dataset) -> ExperimentConfig:
    """Return the config without the modalities that the dataset does not have.

    Columns that the config leaves out do not count.

    Raises:
        ConfigError: None of the model's modalities is left.

    """
    columns = dataset.without_inputs(config.leave_out).manifest.columns
    found = columns_of(config.model.parts, columns)
    absent: dict[str, Any] = {name: None for name, own in found.items() if not own.inputs}
    if absent and len(absent) == len(found):
        raise ConfigError(
            f"{config.name} reads {', '.join(absent)}, but {dataset.root} has none of it; "
            f"its inputs are {', '.join(columns.inputs) or 'none at all'}"
        )
    frozen = tuple(name for name in config.training.frozen if name not in absent)
    return replace(
        config,
        model=replace(config.model, **absent),
        pretraining=replace(config.pretraining, **absent),
        training=replace(config.training, frozen=frozen),
    )


def experiment_splits(
    config: ExperimentConfig, dataset: Dataset, *, chosen_by_validation: bool = False
) -> Splits:
    """Return the parts that an experiment is checked, trained, judged and explained on.

    Args:
        config: Its shares, `min_impressions`, `train_share` and `train_on_validation` decide.
        dataset: What is split.
        chosen_by_validation: Validation is needed even where its share is 0, as trials of a sweep
            are compared on it, and is not trained on.

    Raises:
        DatasetError: A part that is needed has no content that was shown.

    """
    every = split_dataset(dataset, config.splits)
    splits = every.without(dataset.impressions < config.min_impressions)
    if config.train_share < 1:
        splits = splits.with_train_share(config.train_share, config.splits.seed)
    if config.train_on_validation and not chosen_by_validation:
        splits = splits.with_validation_trained()
    for name in ("train", "validation", "test"):
        optional = splits.validation_trained or not (chosen_by_validation or every.has(name))
        if name == "validation" and optional:
            continue
        if not (dataset.impressions[splits.rows(name)] > 0).any():
            raise DatasetError(_why_empty(name, every, config, dataset))
    return splits


def _why_empty(name: str, every: Splits, config: ExperimentConfig, dataset: Dataset) -> str:
    rows = every.rows(name)
    rule = f"{config.name} needs a {name} part with contents that were shown, but"
    if not len(rows):
        return f"{rule} splits.{name} is 0 for {dataset.root}: give it a share of the contents."
    most = dataset.impressions[rows].max()
    if most > 0:
        return (
            f"{rule} min_impressions={config.min_impressions} leaves out all {len(rows):,} of it, "
            f"of which none had more than {most:,.0f} impressions in {dataset.root}: lower it."
        )
    return (
        f"{rule} none of its {len(rows):,} contents in {dataset.root} has an impression: correct "
        "the counts or the split."
    )

"""The fused stage of many configs on one dataset: what they have in common is prepared once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ni_platform.data.content_keys import input_keys
from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import Rows
from ni_platform.data.overdispersion import dataset_overdispersion
from ni_platform.errors import ConfigError
from ni_platform.models.modalities.modality import InputSize
from ni_platform.models.outputs import Buckets
from ni_platform.models.scorer import NetworkConfig, Scorer, build_network, chosen_device
from ni_platform.training.config import TrainingConfig
from ni_platform.training.encoded import encodable, encode_once
from ni_platform.training.encoded_source import EncodedSource
from ni_platform.training.worker import FUSED, Stage, load_state, pretrained_modalities


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedStage:
    """Makes the fused stage of a config without reading the dataset; `prepare` makes it.

    It is pickled without copying its arrays, so all workers of a machine can share them.
    """

    model: NetworkConfig
    """That it was prepared with."""
    source: EncodedSource
    sizes: Mapping[str, InputSize]
    initial_rate: float
    buckets: Buckets
    weights: dict[str, np.ndarray]
    """Of the pretrained encoders, named as in the whole network."""
    pretrained: frozenset[str]
    """Modalities whose encoders were trained by a stage before this one."""
    train_rows: Rows
    validation_rows: Rows
    keys: np.ndarray
    """Of all contents [N], equal where the model is given the same inputs."""
    noise: float
    """Variance of observed rates in units of the binomial one."""

    @classmethod
    def prepare(
        cls,
        scorer: str | Path,
        dataset: Dataset,
        training: TrainingConfig,
        train_rows: Rows,
        validation_rows: Rows,
        folder: str | Path,
        *,
        states: Mapping[str, Path] | None = None,
        device: str | torch.device = "auto",
        progress: Callable[[str, int], None] = lambda modality, rows: None,
    ) -> SharedStage:
        """Encode the dataset with the frozen encoders, and keep what networks start from.

        Args:
            scorer: folder of the saved initial `Scorer`.
            dataset: with all rows that are trained and validated on.
            training: of the fused stage; says which encoders are frozen.
            train_rows: rows to train on.
            validation_rows: rows to validate on.
            folder: where encoders' outputs are kept for the next time, see `encode_once`.
            states: state files of the stages before the fused one, by modality.
            device: what the encoders run on; `auto` takes a GPU where there is one.
            progress: called with the modality and the number of rows that were just encoded.

        Raises:
            NiError: a content cannot be read; names it.
        """
        states = states or {}
        whole = Scorer.load(scorer, "cpu")
        for path in states.values():
            load_state(whole.model, path)
        prefixes = tuple(f"encoders.{name}." for name in states)
        weights = {
            name: tensor.numpy()
            for name, tensor in whole.model.state_dict().items()
            if name.startswith(prefixes)
        }
        whole.model.to(chosen_device(device))
        outputs = {
            name: encode_once(
                whole, name, dataset, training, folder,
                progress=lambda rows, name=name: progress(name, rows),  # type: ignore[misc]
            )
            for name in encodable(whole.config, training)
        }  # fmt: skip
        return cls(
            model=whole.config,
            source=EncodedSource(dataset, whole.inputs, outputs),
            sizes=whole.inputs.sizes,
            initial_rate=whole.model.initial_rate,
            buckets=whole.buckets or Buckets.fit(dataset, train_rows),
            weights=weights,
            pretrained=frozenset(states),
            train_rows=train_rows,
            validation_rows=validation_rows,
            keys=np.unique(input_keys(dataset, whole.inputs.roles), return_inverse=True)[1],
            noise=dataset_overdispersion(dataset, np.asarray(train_rows)),
        )

    def stage(
        self,
        model: NetworkConfig,
        training: TrainingConfig,
        device: str | torch.device = "cpu",
    ) -> Stage:
        """Return the fused stage of a config as `ni train` would open it.

        Frozen encoders are stand-ins, unless this config needs them itself: see
        `reasons_against`. Random weights are drawn from `training.seed`.

        Raises:
            ConfigError: the config reads the dataset otherwise than the one prepared with, or
                changes an encoder that was pretrained or has encoded the dataset.
        """
        used = [name for name in encodable(model, training) if name in self.source.outputs]
        self._check(model, {*used, *self.pretrained})
        if training.pool_equal_arms and set(model.modalities) != set(self.model.modalities):
            raise ConfigError(
                "training.pool_equal_arms asks for the modalities that the dataset was prepared "
                f"with, {', '.join(self.model.modalities)}, but the model reads "
                f"{', '.join(model.modalities)}; leave the modalities as they are"
            )
        module = build_network(
            model,
            self.sizes,
            initial_rate=self.initial_rate,
            buckets=self.buckets if model.output == "distribution" else None,
            seed=training.seed,
            encoded={name: self.source.outputs[name].width for name in used},
        )
        self._load_weights(module)
        source, train_rows = self.source.using(used, crop=training.image_crop), self.train_rows
        if training.pool_equal_arms:
            source, train_rows = source.pooled(train_rows, self.keys)
        return Stage(
            name=FUSED,
            module=module.to(device),
            source=source,
            training=training,
            train_rows=train_rows,
            validation_rows=self.validation_rows,
            pretrained=pretrained_modalities(model),
            noise=self.noise if training.loss.pairwise > 0 else 1.0,
        )

    def _load_weights(self, module: nn.Module) -> None:
        known = module.state_dict().keys() & self.weights.keys()
        # A copy, as torch warns of arrays that must not be written to.
        state = {name: torch.from_numpy(np.array(self.weights[name])) for name in known}
        module.load_state_dict(state, strict=False)

    def _check(self, model: NetworkConfig, fixed: set[str]) -> None:
        if type(model) is not type(self.model):
            raise ConfigError(
                f"the dataset was prepared for a model of kind {self.model.kind}, but this one is "
                f"{model.kind}; prepare it for each kind"
            )
        for name in model.modalities:
            mine, its = self.model.parts.get(name), model.parts[name]
            if mine is not None and name not in fixed:
                mine, its = mine.reading, its.reading
            if mine != its:
                raise ConfigError(
                    f"model.{name} must stay what the dataset was encoded or the encoder was "
                    f"pretrained with, {mine}, but is {its}; leave it as it is, or change it in "
                    "the experiment that is prepared"
                )

"""A trained success-rate regressor with everything that scoring raw contents needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors
import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError

from ni_platform.data.batch import Inputs
from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.inputs import InputEncoder, of_older_version
from ni_platform.models.m2fn.network import M2FN, M2FNConfig
from ni_platform.models.modalities.modality import ColumnRole, InputSize
from ni_platform.models.neural_insights import NeuralInsights, NeuralInsightsConfig
from ni_platform.models.outputs import Buckets, rates
from ni_platform.models.saved_folder import (
    DESCRIPTION,
    damaged,
    new_folder,
    read_description,
    write_description,
)

Network = NeuralInsights | M2FN | GaussianProcess
NetworkConfig = NeuralInsightsConfig | M2FNConfig | GaussianProcessConfig
NETWORKS: dict[str, tuple[type[NetworkConfig], Callable[..., Network]]] = {
    "neural_insights": (NeuralInsightsConfig, NeuralInsights),
    "m2fn": (M2FNConfig, M2FN),
    "gaussian_process": (GaussianProcessConfig, GaussianProcess),
}
"""Config and class of each kind of network; a saved regressor names its kind."""

_WEIGHTS = "weights.safetensors"
_BACKBONES = "backbones"
_READERS = 4
"""Threads that read batches ahead of the network."""


class Scorer:
    """Network and input encoder of one regressor; `build_scorer` or `Scorer.load` makes it."""

    def __init__(self, config: NetworkConfig, model: Network, inputs: InputEncoder) -> None:
        self.config = config
        self.model = model
        self.inputs = inputs

    @property
    def roles(self) -> dict[str, ColumnRole]:
        """The columns that are read, and what they are."""
        return self.inputs.roles

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the network reads."""
        return self.config.modalities

    @property
    def schema(self) -> InputEncoder:
        """What models that were logged before there were modalities ask for a picture's column."""
        return self.inputs

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """As `InputEncoder.levels`."""
        return self.inputs.levels

    def unknown_levels(self, frame: pd.DataFrame) -> list[str]:
        """As `InputEncoder.unknown_levels`."""
        return self.inputs.unknown_levels(frame)

    @property
    def buckets(self) -> Buckets | None:
        """What the network gives a distribution over; None if it gives a rate."""
        buckets: Buckets | None = self.model.buckets
        return buckets

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.model.parameters()).device

    def save(self, folder: str | Path) -> None:
        """Write the regressor into `folder`, which is complete or not there at all.

        `Scorer.load` needs this package and the folder, neither a network nor the source of
        the pretrained weights.
        """
        with new_folder(Path(folder)) as scratch:
            backbones = scratch / _BACKBONES
            backbones.mkdir()
            self.model.save_skeleton(backbones)
            weights = {name: value.contiguous() for name, value in self.model.state_dict().items()}
            safetensors.torch.save_file(weights, scratch / _WEIGHTS)
            write_description(
                scratch,
                self.config.kind,
                config=asdict(self.config),
                columns=self.roles,
                inputs=self.inputs.save(scratch),
                initial_rate=self.model.initial_rate,
                buckets=None if self.buckets is None else asdict(self.buckets),
            )

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "auto") -> Scorer:
        """Read what `save` wrote; `auto` takes a GPU where there is one.

        Raises:
            ConfigError: the folder is not a saved regressor, or one of a later version.
        """
        folder = Path(folder)
        config, inputs, initial_rate, buckets = _read(folder)
        model = build_network(
            config,
            inputs.sizes,
            initial_rate=initial_rate,
            buckets=buckets,
            skeleton=folder / _BACKBONES,
        )
        try:
            model.load_state_dict(safetensors.torch.load_file(folder / _WEIGHTS))
        except (OSError, RuntimeError, safetensors.SafetensorError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"The weights of {folder} do not fit its {DESCRIPTION} ({reason}). "
                "Save or download the model again."
            ) from error
        return cls(config, model.to(chosen_device(device)), inputs)

    def predict(
        self,
        frame: pd.DataFrame,
        *,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Predicted success rates, float64 in (0, 1), one per row of `frame`.

        Args and errors as those of `predict_with_deviation`.
        """
        return self.predict_with_deviation(frame, batch_size=batch_size, progress=progress)[0]

    def predict_with_deviation(
        self,
        frame: pd.DataFrame,
        *,
        batch_size: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Success rates [N] and, of a model of distributions, their standard deviations [N].

        Args:
            frame: as `InputEncoder.encode` takes it.
            batch_size: rows that are scored together.
            progress: called with the number of rows of each batch when it is done.

        Raises:
            DatasetError: a column is missing, or a cell cannot be read.
        """
        means = np.empty(len(frame), dtype=np.float64)
        deviations = None if self.buckets is None else np.empty_like(means)
        with self.evaluating():
            for start, inputs in self.read_ahead(frame, batch_size):
                outputs = self.model(inputs.to(self.device))
                mean_B, deviation_B = rates(outputs, self.buckets)
                rows = slice(start, start + inputs.size)
                means[rows] = mean_B.cpu().numpy()
                if deviations is not None and deviation_B is not None:
                    deviations[rows] = deviation_B.cpu().numpy()
                if progress is not None:
                    progress(inputs.size)
        return means, deviations

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Run the network as it predicts: without dropout, without gradients."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(training)

    def read_ahead(self, frame: pd.DataFrame, batch_size: int = 64) -> Iterator[tuple[int, Inputs]]:
        """First row and inputs of each batch, in order, read by threads ahead of their use."""
        starts = range(0, len(frame), batch_size)
        with ThreadPoolExecutor(_READERS) as pool:
            pending: dict[int, Future[Inputs]] = {}
            for position, start in enumerate(starts):
                for ahead in starts[position : position + _READERS + 1]:
                    if ahead not in pending:
                        rows = frame.iloc[ahead : ahead + batch_size]
                        pending[ahead] = pool.submit(self.inputs.encode, rows)
                yield start, pending.pop(start).result()


def build_scorer(
    config: NetworkConfig,
    dataset: Dataset,
    train_rows: Sequence[int] | np.ndarray,
    seed: int,
) -> Scorer:
    """An untrained regressor for the dataset: what is fitted is fitted on `train_rows` only.

    Pretrained weights are loaded; everything else is drawn from `seed`. Output layers start at
    the mean success rate of the training rows.

    Raises:
        ConfigError: the dataset lacks a modality that the model reads.
        WeightsError: pretrained weights cannot be reached.
    """
    train_rows = np.asarray(train_rows, dtype=np.int64)
    if not len(train_rows):
        raise DatasetError("A model is fitted on training rows, but there are none.")
    inputs = InputEncoder.fit(config.parts, dataset, train_rows)
    model = build_network(
        config,
        inputs.sizes,
        initial_rate=_mean_rate(dataset.success_rate[train_rows]),
        buckets=Buckets.fit(dataset, train_rows) if config.output == "distribution" else None,
        seed=seed,
    )
    return Scorer(config, model, inputs)


def build_network(
    config: NetworkConfig,
    sizes: Mapping[str, InputSize],
    *,
    initial_rate: float,
    buckets: Buckets | None,
    seed: int = 0,
    skeleton: Path | None = None,
    encoded: Mapping[str, int] | None = None,
) -> Network:
    """Build the network of a config; arguments as the network's own.

    What is not pretrained is drawn from `seed`, on the CPU.
    """
    _, network = NETWORKS[config.kind]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return network(
            config,
            sizes,
            skeleton=skeleton,
            initial_rate=initial_rate,
            buckets=buckets,
            encoded=encoded,
        )


def chosen_device(device: str | torch.device = "auto") -> torch.device:
    """The named device; `auto` is a GPU where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def _mean_rate(rates: np.ndarray) -> float:
    rates = rates[np.isfinite(rates)]
    if not len(rates):
        raise DatasetError("No training row has impressions, so no success rate is known.")
    return float(np.clip(rates.mean(), 1e-4, 1 - 1e-4))


def _read(folder: Path) -> tuple[NetworkConfig, InputEncoder, float, Buckets | None]:
    description = read_description(folder, NETWORKS)
    config_class, _ = NETWORKS[description["kind"]]
    try:
        config = TypeAdapter(config_class).validate_python(description["config"])
        older = description["format"] < 3
        values = of_older_version(description["schema"]) if older else description["inputs"]
        inputs = InputEncoder.load(config.parts, values, folder)
        buckets = TypeAdapter(Buckets | None).validate_python(description["buckets"])
        return config, inputs, float(description["initial_rate"]), buckets
    except (ValidationError, KeyError) as error:
        raise damaged(folder, error) from error

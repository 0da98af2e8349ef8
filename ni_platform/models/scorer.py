"""A trained success-rate regressor with everything that scoring raw contents needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from ni_platform.data.images import ImageInput
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.encoders.text import text_tokenizer
from ni_platform.models.encoders.tokenization import TextTokenizer
from ni_platform.models.input_schema import InputSchema, joined_texts
from ni_platform.models.inputs import InputEncoder
from ni_platform.models.m2fn.network import M2FN, M2FNConfig
from ni_platform.models.neural_insights import NeuralInsights, NeuralInsightsConfig
from ni_platform.models.outputs import Buckets, rates
from ni_platform.models.saved_folder import (
    DESCRIPTION,
    damaged,
    new_folder,
    read_description,
    write_description,
)

Network = NeuralInsights | M2FN
NetworkConfig = NeuralInsightsConfig | M2FNConfig
NETWORKS: dict[str, tuple[type[NetworkConfig], Callable[..., Network]]] = {
    "neural_insights": (NeuralInsightsConfig, NeuralInsights),
    "m2fn": (M2FNConfig, M2FN),
}
"""Config and class of each kind of network; a saved regressor names its kind."""

_WEIGHTS = "weights.safetensors"
_TOKENIZER = "tokenizer"
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
    def schema(self) -> InputSchema:
        """The columns that are read."""
        return self.inputs.schema

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
            if self.inputs.tokenizer is not None:
                self.inputs.tokenizer.save(scratch / _TOKENIZER)
            weights = {name: value.contiguous() for name, value in self.model.state_dict().items()}
            safetensors.torch.save_file(weights, scratch / _WEIGHTS)
            write_description(
                scratch,
                self.config.kind,
                config=asdict(self.config),
                schema=asdict(self.schema),
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
        config, schema, initial_rate, buckets = _read(folder)
        tokenizer = TextTokenizer.load(folder / _TOKENIZER) if schema.text else None
        model = build_network(
            config,
            schema,
            vocabulary_size=tokenizer.vocabulary_size if tokenizer else 0,
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
        return cls(
            config, model.to(chosen_device(device)), _input_encoder(config, schema, tokenizer)
        )

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
        training = self.model.training
        self.model.eval()
        means = np.empty(len(frame), dtype=np.float64)
        deviations = None if self.buckets is None else np.empty_like(means)
        try:
            with torch.inference_mode():
                for start, inputs in self._read_ahead(frame, batch_size):
                    outputs = self.model(inputs.to(self.device))
                    mean_B, deviation_B = rates(outputs, self.buckets)
                    rows = slice(start, start + inputs.size)
                    means[rows] = mean_B.cpu().numpy()
                    if deviations is not None and deviation_B is not None:
                        deviations[rows] = deviation_B.cpu().numpy()
                    if progress is not None:
                        progress(inputs.size)
        finally:
            self.model.train(training)
        return means, deviations

    def _read_ahead(self, frame: pd.DataFrame, batch_size: int) -> Iterator[tuple[int, Inputs]]:
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
    schema = InputSchema.fit(dataset, train_rows, config.modalities)
    tokenizer = None
    if config.text is not None:
        texts = joined_texts(dataset.inputs(train_rows), schema.text, " ")
        tokenizer = text_tokenizer(config.text, texts)
    model = build_network(
        config,
        schema,
        vocabulary_size=tokenizer.vocabulary_size if tokenizer else 0,
        initial_rate=_mean_rate(dataset.success_rate[train_rows]),
        buckets=Buckets.fit(dataset, train_rows) if config.output == "distribution" else None,
        seed=seed,
    )
    return Scorer(config, model, _input_encoder(config, schema, tokenizer))


def build_network(
    config: NetworkConfig,
    schema: InputSchema,
    *,
    vocabulary_size: int,
    initial_rate: float,
    buckets: Buckets | None,
    seed: int = 0,
    skeleton: Path | None = None,
    encoded: Mapping[str, int] | None = None,
) -> Network:
    """Build the network of a config for inputs of a schema; arguments as the network's own.

    What is not pretrained is drawn from `seed`, on the CPU.
    """
    _, network = NETWORKS[config.kind]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return network(
            config,
            attributes_width=schema.attributes_width,
            vocabulary_size=vocabulary_size,
            text_columns=len(schema.text),
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


def _input_encoder(
    config: NetworkConfig, schema: InputSchema, tokenizer: TextTokenizer | None
) -> InputEncoder:
    return InputEncoder(
        schema,
        config.image.input if config.image is not None else ImageInput(),
        tokenizer,
        config.domain.buckets if config.domain is not None else 0,
        separate_texts=config.text is not None and config.text.columns == "separate",
    )


def _read(folder: Path) -> tuple[NetworkConfig, InputSchema, float, Buckets | None]:
    description = read_description(folder, NETWORKS)
    config_class, _ = NETWORKS[description["kind"]]
    try:
        config = TypeAdapter(config_class).validate_python(description["config"])
        schema = TypeAdapter(InputSchema).validate_python(description["schema"])
        buckets = TypeAdapter(Buckets | None).validate_python(description["buckets"])
        return config, schema, float(description["initial_rate"]), buckets
    except (ValidationError, KeyError) as error:
        raise damaged(folder, error) from error

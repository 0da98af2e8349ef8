"""What all modalities have in common: columns, rows to tensors, tensors to an embedding.

A config says how a model reads and encodes a modality; its `reader` is fitted to training rows and
reads. To add a modality, write both in a file of this folder, and name the config as a field of a
network's config.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ni_platform.data.batch import ModalityInputs
from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns
from ni_platform.data.reading.labels import CellError, label
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.encoders.stand_in import AsItIs
from ni_platform.narrowing import of_kind

ColumnRole = Literal["image", "text", "domain", "categorical", "numeric", "vector"]
"""As `dataset.yaml` declares them."""


@dataclass(frozen=True, kw_only=True)
class InputSize:
    """What an encoder must know of its inputs before it is built."""

    width: int = 0
    """Of vectors."""
    vocabulary: int = 0
    """Token ids of a text encoder from scratch."""
    texts: int = 1
    """Text columns of a content."""


class Reader(ABC):
    """Reads one modality; fitted to training rows, and saved with the regressor.

    Subclasses are frozen dataclasses; several threads may read at once.
    """

    kept: ClassVar[bool] = True
    """Whether the tensors of a whole dataset fit into memory, so that a sweep reads them once."""
    alongside: ClassVar[bool] = False
    """Whether its columns may be read by another modality as well, in another way."""

    @classmethod
    @abstractmethod
    def declared(cls, columns: Columns) -> tuple[str, ...]:
        """Those of a dataset's columns that belong to this modality."""

    @classmethod
    @abstractmethod
    def fit(cls, config: Any, columns: Columns, dataset: Dataset, frame: pd.DataFrame) -> Self:
        """Read the declared `columns`; levels, scales and vocabularies are those of `frame`."""

    @classmethod
    @abstractmethod
    def load(cls, config: Any, values: Any, folder: Path) -> Self:
        """Read what `save` wrote and returned."""

    @abstractmethod
    def save(self, folder: Path) -> dict[str, Any]:
        """Return what was fitted, as JSON can hold it; write into `folder` what it cannot."""

    @property
    @abstractmethod
    def roles(self) -> dict[str, ColumnRole]:
        """The columns that are read, and what they are."""

    @property
    def size(self) -> InputSize:
        """What the encoder must know."""
        return InputSize()

    @abstractmethod
    def read(
        self,
        frame: pd.DataFrame,
        *,
        crop: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> ModalityInputs:
        """Tensors of the rows of `frame`; arguments and errors as `InputEncoder.encode`."""

    def describe(self) -> dict[str, Any]:
        """Return all that decides the tensors of a row, as JSON can hold it."""
        return asdict(self)  # type: ignore[call-overload]

    def native_pixels(self, frame: pd.DataFrame) -> list[int]:
        """Pixels of the picture of each row that is read at its native size; 0 of others."""
        return [0] * len(frame)

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The levels that are known, by categorical column."""
        return {}

    def unknown_levels(self, frame: pd.DataFrame) -> list[str]:
        """Say of each column whose levels the model does not know what they are."""
        return []

    @classmethod
    def pack(cls, tensors: Sequence[Tensor | list[Tensor]]) -> tuple[np.ndarray, ...]:
        """Tensors of a whole dataset, to be kept small and shared between processes."""
        return tuple(of_kind(tensor, Tensor).numpy() for tensor in tensors)

    @classmethod
    def unpack(cls, arrays: tuple[np.ndarray, ...], rows: np.ndarray) -> tuple[Tensor, ...]:
        """Tensors of some rows, bit for bit as `read` gives them."""
        return tuple(torch.from_numpy(array[rows]) for array in arrays)


class ColumnReader(Reader):
    """Reads a modality of one column; what else it knows is in the config."""

    role: ClassVar[Literal["image", "domain"]]
    column: str

    @classmethod
    @abstractmethod
    def of(cls, column: str, config: Any) -> Self:
        """Read this column as the config says."""

    @classmethod
    def declared(cls, columns: Columns) -> tuple[str, ...]:
        """As `Reader.declared`."""
        name: str | None = getattr(columns, cls.role)
        return () if name is None else (name,)

    @classmethod
    def fit(cls, config: Any, columns: Columns, dataset: Dataset, frame: pd.DataFrame) -> Self:
        """As `Reader.fit`."""
        return cls.of(getattr(columns, cls.role), config)

    @classmethod
    def load(cls, config: Any, values: Any, folder: Path) -> Self:
        """As `Reader.load`."""
        return cls.of(str(values["column"]), config)

    def save(self, folder: Path) -> dict[str, Any]:
        """As `Reader.save`."""
        return {"column": self.column}

    @property
    def roles(self) -> dict[str, ColumnRole]:
        """As `Reader.roles`."""
        return {self.column: self.role}


class VectorReader(Reader):
    """Reads a modality whose tensor is one vector [B, X] per content."""

    @abstractmethod
    def parts(self, frame: pd.DataFrame) -> tuple[list[list[str]], list[np.ndarray]]:
        """What can be attributed: the names of each row's M parts, and their shares [M, X].

        Without a part, its share of the vector is not there.
        """

    @abstractmethod
    def elements(self, frame: pd.DataFrame, names: list[list[str]]) -> list[list[Any]]:
        """The same parts, equal where two contents have the same one (NI Algorithm 3)."""


class ModalityConfig(ABC):
    """How a model reads one modality. Subclasses are frozen dataclasses."""

    reader: ClassVar[type[Reader]]

    @property
    def pretrained(self) -> bool:
        """Whether its encoder starts from pretrained weights."""
        return False

    @property
    def layer_options(self) -> tuple[tuple[int, ...], ...]:
        """Layers to choose from, where the config leaves that to the validation part."""
        return ()


class EncoderConfig(ModalityConfig):
    """How a network reads and encodes one modality."""

    encodes: ClassVar[bool] = True
    """Whether there is an encoder; else the network takes the tensor as it is."""
    crops: ClassVar[bool] = False
    """Whether `TrainingConfig.image_crop` concerns it."""
    heavy: ClassVar[bool] = False
    """Whether encoding a content takes milliseconds, beside which other encoders take no time."""

    @property
    def reading(self) -> Any:
        """The part of this config that decides the tensors of a row; None if nothing does."""
        return None

    @abstractmethod
    def build(self, size: InputSize, skeleton: Path | None) -> nn.Module:
        """The encoder, whose `width` is that of the embedding; called with the reader's tensors.

        With its pretrained weights, or empty from the folder of its saved `skeleton`.
        """


class AsItIsConfig(EncoderConfig):
    """A modality whose vector enters a network without an encoder."""

    encodes: ClassVar[bool] = False

    def build(self, size: InputSize, skeleton: Path | None = None) -> AsItIs:
        """As `EncoderConfig.build`."""
        return AsItIs(size.width)


@runtime_checkable
class HasSkeleton(Protocol):
    """An encoder that is rebuilt from more than its config."""

    def save_skeleton(self, folder: Path) -> None:
        """Write what `EncoderConfig.build` needs to rebuild it without its pretrained source."""
        ...


class ModelConfig:
    """What a model reads: a field per modality; one that is None is not read."""

    @property
    def parts(self) -> dict[str, Any]:
        """The modalities that are read."""
        return parts_of(self)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.parts)

    @property
    def conditioned(self) -> tuple[str, ...]:
        """Modalities whose encoder also reads the others."""
        return ()


def parts_of(config: Any) -> dict[str, Any]:
    """The modalities that a model's config declares, by the name of their field."""
    found = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: part for name, part in found.items() if isinstance(part, ModalityConfig)}


def modality_inputs(present_B: Tensor, *tensors: Tensor | list[Tensor]) -> ModalityInputs:
    """What was read of B rows, and which of them have it."""
    return ModalityInputs(tensors=tensors, present_B=present_B, complete=bool(present_B.all()))


def category(cell: Any) -> str | None:
    """A categorical cell as the one text of its level, None if null.

    Raises:
        DatasetError: The cell is a list, or a number that was rounded.
    """
    try:
        return label(cell)
    except CellError as error:
        raise DatasetError(
            f"A category must be one value, but got {cell!r:.80}, {error}."
        ) from error


Layers = tuple[int, ...] | Literal["auto"]
"""Layers of an encoder that are read, from 1; none: the last; "auto": chosen by validation, for a
Gaussian process."""


def check_layers(layers: Layers, most: int | None, name: str) -> None:
    """Raise ConfigError unless `layers` are different numbers from 1 to `most`, or "auto"."""
    if layers == "auto":
        return
    if min(layers, default=1) < 1 or len(set(layers)) < len(layers):
        raise ConfigError(f"{name} are different numbers from 1, but got {layers}.")
    if most is not None and max(layers, default=0) > most:
        raise ConfigError(f"{name} must be at most {most} for this network, but are {layers}.")


def named_layers(layers: Layers, name: str) -> tuple[int, ...]:
    """The layers of an encoder that is to be built.

    Raises:
        ConfigError: They are to be chosen, which only a Gaussian process does.
    """
    if layers == "auto":
        raise ConfigError(
            f"{name}='auto' is for a Gaussian process, which chooses them by validation; name the "
            "layers of a network, or search them with a sweep"
        )
    return layers


def layer_options(depth: int) -> tuple[tuple[int, ...], ...]:
    """Layers to choose from, of a network of so many: three evenly apart, and the last alone."""
    if depth < 3:
        return tuple((layer,) for layer in range(1, depth + 1))
    step = max(1, depth // 6)
    threes = [(at, at + step, at + 2 * step) for at in range(step, depth - 2 * step + 1, step)]
    return (*threes, (depth,))

"""Raw rows of a dataset to the tensors that a model reads, one modality after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pandas as pd

from ni_platform.data.batch import Inputs
from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns, nearest
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.modalities.modality import ColumnRole, InputSize, ModalityConfig, Reader

_Reader = TypeVar("_Reader", bound=Reader)


class InputEncoder:
    """Turns tables of raw cells into `Inputs`; several threads may call it at once."""

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        """Take the fitted readers, by modality."""
        self.readers = dict(readers)

    @classmethod
    def fit(
        cls,
        parts: Mapping[str, ModalityConfig],
        dataset: Dataset,
        rows: Any,
    ) -> Self:
        """Fit readers to `rows` of a dataset: levels, scales and vocabularies come from these only.

        Raises:
            ConfigError: the dataset declares no column of a modality that the model reads.
        """
        columns = dataset.manifest.columns
        frame = dataset.inputs(rows)
        readers = {}
        for name, own in columns_of(parts, columns).items():
            if not own.inputs:
                raise ConfigError(
                    f"The model reads {name}, but dataset {dataset.manifest.name!r} declares "
                    f"no column of it (its inputs: {', '.join(columns.inputs) or 'none'}). "
                    f"Declare one in dataset.yaml, or set model.{name} to None."
                )
            readers[name] = parts[name].reader.fit(parts[name], own, dataset, frame)
        return cls(readers)

    @classmethod
    def load(cls, parts: Mapping[str, ModalityConfig], values: Any, folder: Path) -> Self:
        """Read what `save` wrote and returned."""
        return cls(
            {name: parts[name].reader.load(parts[name], values[name], folder) for name in values}
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Return what was fitted, by modality; write into `folder` what JSON cannot hold."""
        return {name: reader.save(folder) for name, reader in self.readers.items()}

    @property
    def roles(self) -> dict[str, ColumnRole]:
        """Every column that is read, and what it is."""
        return {
            name: role for reader in self.readers.values() for name, role in reader.roles.items()
        }

    @property
    def sizes(self) -> dict[str, InputSize]:
        """What encoders must know, by modality."""
        return {name: reader.size for name, reader in self.readers.items()}

    def columns(self, role: ColumnRole) -> list[str]:
        """The columns of a role."""
        return [name for name, found in self.roles.items() if found == role]

    @property
    def image(self) -> str | None:
        """The column of pictures."""
        return next(iter(self.columns("image")), None)

    def only(self, *modalities: str) -> InputEncoder:
        """Return an encoder of these modalities alone: no picture is read for the text stage."""
        return InputEncoder({name: self.readers[name] for name in modalities})

    def find(self, kind: type[_Reader]) -> tuple[str, _Reader] | None:
        """The first modality that is read by such a reader, and that."""
        for name, reader in self.readers.items():
            if isinstance(reader, kind):
                return name, reader
        return None

    def encode(
        self,
        frame: pd.DataFrame,
        *,
        crop: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Inputs:
        """Encode the rows of `frame`, whose columns are named as in the dataset.

        Args:
            frame: image cells are paths, s3:// URIs or encoded bytes; a null cell, or a blank
                text, is a missing value.
            crop: side of a square cut out of each picture (after `image.size`), for
                pretraining; a smaller picture is first scaled up to it.
            rng: decides where to cut, from the centre if None.

        Raises:
            DatasetError: a column is missing, a numeric cell is not a number, or a vector has
                another length than those that the model was fitted to.
            ImageError: a picture is missing, corrupt or too large.
        """
        check_columns(self.roles, frame)
        found = {n: reader.read(frame, crop=crop, rng=rng) for n, reader in self.readers.items()}
        return Inputs(size=len(frame), modalities=found)

    def native_pixels(self, frame: pd.DataFrame) -> list[int]:
        """Pixels of the pictures of each row that are read at their native size.

        Raises:
            ImageError: a picture cannot be read.
        """
        each = [reader.native_pixels(frame) for reader in self.readers.values()]
        return [sum(pixels) for pixels in zip(*each)]

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The levels that are known, by categorical column."""
        return {
            name: levels
            for reader in self.readers.values()
            for name, levels in reader.levels.items()
        }

    def unknown_levels(self, frame: pd.DataFrame) -> list[str]:
        """Say of each categorical column whose levels the model does not know what they are."""
        return [note for reader in self.readers.values() for note in reader.unknown_levels(frame)]


def columns_of(parts: Mapping[str, ModalityConfig], columns: Columns) -> dict[str, Columns]:
    """The declared columns of each modality; a column belongs to the first that reads it.

    Those that read alongside (`Reader.alongside`) neither take a column away nor miss one.
    """
    found, left = {}, columns
    for name, part in parts.items():
        if part.reader.alongside:
            found[name] = columns.only(part.reader.declared(columns))
            continue
        own = part.reader.declared(left)
        found[name] = left.only(own)
        left = left.only(tuple(set(left.inputs) - set(own)))
    return found


def check_columns(names: Iterable[str], frame: pd.DataFrame) -> None:
    """Raise DatasetError for a column that a model reads and the table does not have."""
    for column in names:
        if column not in frame.columns:
            hint = nearest(column, [str(name) for name in frame.columns])
            raise DatasetError(
                f"The model reads the column {column!r}, but the table has none of that "
                f"name{hint}. Add it; where the modality is missing, leave its cells null."
            )


def of_older_version(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What `InputEncoder.save` would have returned, of a model that was saved in format 2."""
    attributes = {role: schema.get(role, ()) for role in ("categorical", "numeric", "vector")}
    found: dict[str, Any] = {}
    if schema["image"] is not None:
        found["image"] = {"column": schema["image"]}
    if schema["text"]:
        found["text"] = {"columns": schema["text"]}
    if schema["domain"] is not None:
        found["domain"] = {"column": schema["domain"]}
    if any(attributes.values()):
        found["attributes"] = attributes
    return found

"""Batches that are slices of arrays: everything of a dataset but its pictures, encoded before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ni_platform.data.batch import Inputs, ModalityInputs
from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import Rows, Source
from ni_platform.models.encoders.tokenization import padded_length
from ni_platform.models.input_schema import InputSchema
from ni_platform.models.inputs import InputEncoder
from ni_platform.narrowing import of_kind
from ni_platform.training.encoded import Encoded


class EncodedSource(Source):
    """Gives the batches of a `BatchSource`, or the outputs of encoders in place of their inputs.

    Arrays are never written to; they travel between processes without being copied.
    """

    def __init__(
        self, dataset: Dataset, inputs: InputEncoder, outputs: Mapping[str, Encoded]
    ) -> None:
        """Encode all rows of `dataset` but their pictures.

        Args:
            dataset: what is read.
            inputs: how the models that are trained read it.
            outputs: of frozen encoders, by modality; all are in use until `using` says otherwise.
        """
        super().__init__(dataset)
        self.outputs = dict(outputs)
        self._used = dict(outputs)
        self._crop: int | None = None
        schema = inputs.schema
        self._pictures = None
        if schema.image is not None:
            self._pictures = InputEncoder(InputSchema(image=schema.image), inputs.image, None, 0)
            self._cells = dataset.inputs()[[schema.image]]
        self._encode(
            InputEncoder(
                replace(schema, image=None),
                inputs.image,
                inputs.tokenizer,
                inputs.domain_buckets,
                separate_texts=inputs.separate_texts,
            ).encode(dataset.inputs())
        )

    def _encode(self, inputs: Inputs) -> None:
        self._present = {n: read.present_B.numpy() for n, read in inputs.modalities.items()}
        self._tensors: dict[str, tuple[np.ndarray, ...]] = {}
        for name, read in inputs.modalities.items():
            tensors = [of_kind(tensor, Tensor) for tensor in read.tensors]
            if name == "text":
                tokens, mask = tensors
                # A mask is ones, then zeros.
                tensors = [tokens.to(torch.int32), mask.sum(-1).to(torch.int32)]
            self._tensors[name] = tuple(tensor.numpy() for tensor in tensors)

    def using(self, modalities: Collection[str], *, crop: int | None = None) -> EncodedSource:
        """Return this source with the outputs of these encoders alone; it shares all arrays.

        Pictures that are read are cropped as those of `BatchSource`.
        """
        other = copy(self)
        other._used = {name: self.outputs[name] for name in modalities}
        other._crop = crop
        return other

    def inputs(self, rows: Rows, rng: np.random.Generator | None = None) -> Inputs:
        """Return dataset rows; pictures are read unless their encoder's outputs are in use."""
        read = {name: self._read(name, rows) for name in self._tensors if name not in self._used}
        if self._pictures is not None and "image" not in self._used:
            crop = self._crop if rng is not None else None
            read |= self._pictures.encode(self._cells.iloc[rows], crop=crop, rng=rng).modalities
        encoded = {name: output.rows(rows) for name, output in self._used.items()}
        return Inputs(size=len(rows), modalities=read, encoded=encoded)

    def _read(self, name: str, rows: Rows) -> ModalityInputs:
        arrays, present = self._tensors[name], self._present[name][rows]
        tensors = (
            self._texts(arrays[0], arrays[1], rows)
            if name == "text"
            else tuple(torch.from_numpy(array[rows]) for array in arrays)
        )
        return ModalityInputs(
            tensors=tensors, present_B=torch.from_numpy(present), complete=bool(present.all())
        )

    @staticmethod
    def _texts(tokens: np.ndarray, lengths: np.ndarray, rows: Rows) -> tuple[Tensor, Tensor]:
        """Token ids and mask, both int64, padded as the tokenizer pads a batch."""
        lengths = lengths[rows]
        length = min(tokens.shape[-1], padded_length(int(lengths.max(initial=0))))
        chosen = tokens[rows][..., :length].astype(np.int64)
        mask = (np.arange(length) < lengths[..., None]).astype(np.int64)
        return torch.from_numpy(chosen), torch.from_numpy(mask)

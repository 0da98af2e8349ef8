"""Batches that are slices of arrays: everything of a dataset but its pictures, encoded before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ni_platform.data.batch import Inputs
from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import Rows, Source
from ni_platform.models.encoders.tokenization import padded_length
from ni_platform.models.input_schema import InputSchema
from ni_platform.models.inputs import InputEncoder
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
        # Modality to its fields, as arrays.
        self._fields: dict[str, dict[str, np.ndarray]] = {}
        tokens, mask = inputs.tokens_BT, inputs.token_mask_BT
        if tokens is not None and mask is not None:
            # A mask is ones, then zeros.
            self._tokens = tokens.to(torch.int32).numpy()
            self._lengths = mask.sum(-1).to(torch.int32).numpy()
            self._fields["text"] = _arrays(text_present_B=inputs.text_present_B)
        if inputs.domain_BK is not None:
            self._fields["domain"] = _arrays(
                domain_BK=inputs.domain_BK, domain_present_B=inputs.domain_present_B
            )
        if inputs.attributes_BA is not None:
            self._fields["attributes"] = _arrays(
                attributes_BA=inputs.attributes_BA,
                attributes_present_B=inputs.attributes_present_B,
            )

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
        fields: dict[str, Any] = {
            name: torch.from_numpy(array[rows])
            for modality, arrays in self._fields.items()
            if modality not in self._used
            for name, array in arrays.items()
        }
        if "text" in self._fields and "text" not in self._used:
            fields["tokens_BT"], fields["token_mask_BT"] = self._texts(rows)
        if self._pictures is not None and "image" not in self._used:
            crop = self._crop if rng is not None else None
            read = self._pictures.encode(self._cells.iloc[rows], crop=crop, rng=rng)
            fields["image_B3HW"] = read.image_B3HW
            fields["image_present_B"] = read.image_present_B
        encoded = {name: output.rows(rows) for name, output in self._used.items()}
        return Inputs(size=len(rows), encoded=encoded, **fields)

    def _texts(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Token ids and mask, both int64, padded as the tokenizer pads a batch."""
        lengths = self._lengths[rows]
        length = min(self._tokens.shape[-1], padded_length(int(lengths.max(initial=0))))
        tokens = self._tokens[rows][..., :length].astype(np.int64)
        mask = (np.arange(length) < lengths[..., None]).astype(np.int64)
        return torch.from_numpy(tokens), torch.from_numpy(mask)


def _arrays(**tensors: Tensor | None) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}

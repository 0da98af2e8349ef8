"""Batches that are slices of arrays: everything of a dataset but its pictures, encoded before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy

import numpy as np
import torch

from ni_platform.data.batch import Inputs, ModalityInputs
from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import Rows, Source
from ni_platform.models.inputs import InputEncoder
from ni_platform.models.modalities.modality import Reader, modality_inputs
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
        frame = dataset.inputs()
        kept = {name: reader for name, reader in inputs.readers.items() if reader.kept}
        # Their classes alone: a tokenizer is large, and travels with the source.
        self._kept: dict[str, type[Reader]] = {name: type(kept[name]) for name in kept}
        self._read_anew = InputEncoder(
            {name: reader for name, reader in inputs.readers.items() if not reader.kept}
        )
        self._cells = frame[list(self._read_anew.roles)]
        self._tensors: dict[str, tuple[np.ndarray, ...]] = {}
        self._present: dict[str, np.ndarray] = {}
        for name, read in InputEncoder(kept).encode(frame).modalities.items():
            self._tensors[name] = kept[name].pack(read.tensors)
            self._present[name] = read.present_B.numpy()

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
        found = {name: self._unpacked(name, rows) for name in self._kept if name not in self._used}
        anew = self._read_anew.only(*(n for n in self._read_anew.readers if n not in self._used))
        if anew.readers:
            crop = self._crop if rng is not None else None
            found |= anew.encode(self._cells.iloc[rows], crop=crop, rng=rng).modalities
        encoded = {name: output.rows(rows) for name, output in self._used.items()}
        return Inputs(size=len(rows), modalities=found, encoded=encoded)

    def _unpacked(self, name: str, rows: Rows) -> ModalityInputs:
        present = torch.from_numpy(self._present[name][rows])
        return modality_inputs(present, *self._kept[name].unpack(self._tensors[name], rows))

"""Contents as a trained network reads them, each encoder run once, for asking "what if"."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ni_platform.data.batch import Inputs, ModalityInputs
from ni_platform.memory import keep_freed_memory
from ni_platform.models.modalities.image import ImageReader
from ni_platform.models.neural_insights import take
from ni_platform.models.outputs import rates
from ni_platform.models.scorer import Scorer


class Predicted(Protocol):
    """N contents that a model has read."""

    predictions: np.ndarray
    """Success rates, float64 [N]."""

    def __len__(self) -> int: ...


class Contents:
    """N contents and their predictions; `rates` predicts again with one modality changed.

    Only the changed modality is encoded again. Conditional batch normalization inside M2FN's
    image network reads the other modalities, so there the picture is encoded again as well.
    """

    def __init__(self, scorer: Scorer, frame: pd.DataFrame) -> None:
        """Read and encode the rows of `frame`, which `InputEncoder.encode` takes.

        Raises:
            NiError: a cell cannot be read.
        """
        keep_freed_memory()
        self.scorer = scorer
        self.frame = frame.reset_index(drop=True)
        self.network = scorer.model.eval()
        self.inputs = scorer.inputs.encode(self.frame).to(scorer.device)
        self._encoded: dict[str, Tensor] = {}
        with torch.no_grad():
            for name in self.modalities:
                if name not in self.conditioned:
                    self._encoded[name] = self.network.encode(name, self.inputs)
            every = torch.arange(len(self.frame), device=scorer.device)
            self.predictions: np.ndarray = _numpy(self._predict(every, "", {}, {}))
            """Success rates, float64 [N]."""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the network reads."""
        return self.scorer.config.modalities

    @property
    def conditioned(self) -> tuple[str, ...]:
        """Modalities whose encoder reads the others as well."""
        return self.scorer.config.conditioned

    @property
    def with_pictures(self) -> bool:
        """Whether pictures are read, so that few predictions fit into memory at once."""
        return self.scorer.inputs.find(ImageReader) is not None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.scorer.device

    def has(self, modality: str) -> np.ndarray:
        """Whether each content has the modality, bool [N]."""
        return self.inputs.modalities[modality].present_B.cpu().numpy()

    def rates(
        self,
        rows: Tensor,
        modality: str,
        *,
        encoded: Tensor | None = None,
        read: ModalityInputs | None = None,
    ) -> Tensor:
        """Success rates [P] of contents `rows` [P], whose `modality` is replaced; differentiable.

        Args:
            rows: which content each of the P predictions is about.
            modality: what is replaced; the others are as they are.
            encoded: the modality's encoder output, or
            read: what its encoder is to read.
        """
        outputs = {} if encoded is None else {modality: encoded}
        return self._predict(rows, modality, outputs, {} if read is None else {modality: read})

    def _predict(
        self,
        rows: Tensor,
        changed: str,
        encoded: dict[str, Tensor],
        read: dict[str, ModalityInputs],
    ) -> Tensor:
        kept = {name: value[rows] for name, value in self._encoded.items() if name != changed}
        again = {n: self.read(n, rows) for n in self.conditioned if n != changed}
        inputs = Inputs(size=len(rows), encoded=kept | encoded, modalities=again | read)
        return rates(self.network(inputs), self.scorer.buckets)[0]

    def read(self, modality: str, rows: Tensor) -> ModalityInputs:
        """What the encoder of a modality reads of `rows`."""
        every = self.inputs.modalities[modality]
        chosen = tuple(take(tensor, rows) for tensor in every.tensors)
        return ModalityInputs(tensors=chosen, present_B=every.present_B[rows])


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()

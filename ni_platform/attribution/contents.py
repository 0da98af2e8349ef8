"""Contents as a trained network reads them, each encoder run once, for asking "what if"."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ni_platform.data.batch import Inputs, ModalityInputs
from ni_platform.memory import keep_freed_memory
from ni_platform.models.m2fn.network import M2FN
from ni_platform.models.outputs import rates
from ni_platform.models.scorer import Network, Scorer


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
                if not (name == "image" and image_depends_on_all(self.network)):
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
        if image_depends_on_all(self.network) and changed != "image":
            read = read | {"image": self.pictures(rows)}
        inputs = Inputs(size=len(rows), encoded=kept | encoded, modalities=read)
        return rates(self.network(inputs), self.scorer.buckets)[0]

    def pictures(self, rows: Tensor) -> ModalityInputs:
        """The pictures of `rows`."""
        if "image" not in self.inputs.modalities:
            raise ValueError("the network reads no pictures")
        every = self.inputs.modalities["image"]
        (pixels,) = every.tensors
        several = isinstance(pixels, list)
        chosen = [pixels[row] for row in rows.tolist()] if several else pixels[rows]
        return ModalityInputs(tensors=(chosen,), present_B=every.present_B[rows])


def image_depends_on_all(network: Network) -> bool:
    """Whether the picture is encoded with what the other modalities say (M2FN Section 5.1)."""
    return isinstance(network, M2FN) and len(network.low_level) > 0


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()

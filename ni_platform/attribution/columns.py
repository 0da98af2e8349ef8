"""The named parts of a content, such as columns of attributes and tokens of the domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ni_platform.attribution.contents import Contents
from ni_platform.attribution.features import distinct, in_batches, no_grad_rates
from ni_platform.data.batch import ModalityInputs
from ni_platform.models.modalities.modality import VectorReader
from ni_platform.narrowing import of_kind

_AT_ONCE = 4096
_WITH_PICTURES_AT_ONCE = 64


class Named:
    """Features with names, each of which is a share of the modality's vector [X].

    Without a feature its share is not there, as of a null cell; without any, the modality is
    missing.
    """

    def __init__(self, contents: Contents, modality: str) -> None:
        """Take the parts that the modality's reader names."""
        reader = of_kind(contents.scorer.inputs.readers[modality], VectorReader)  # type: ignore[type-abstract]
        names, shares = reader.parts(contents.frame)
        self.elements = reader.elements(contents.frame, names)
        """The features, equal where two contents have the same one."""
        self.contents = contents
        self.modality = modality
        self.names = names
        self.shapes: list[tuple[int, ...]] = [(len(found),) for found in names]
        self.evaluations = 0
        self._sizes = np.array([len(found) for found in names], dtype=np.int64)
        self._shares = shares
        (vectors,) = contents.inputs.modalities[modality].tensors
        self._vectors = of_kind(vectors, Tensor)

    def rates(self, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """As `Features.rates`."""
        first, which = distinct(rows, present, self._sizes)
        rows, present = rows[first], present[first]
        vectors = self._vectors[torch.as_tensor(rows)].cpu().numpy().copy()
        there = np.zeros(len(rows), dtype=bool)
        for position, (row, kept) in enumerate(zip(rows, present)):
            stays = kept[: self._sizes[row]]
            vectors[position] *= stays @ self._shares[row] if len(stays) else 0
            there[position] = stays.any()
        self.evaluations += len(rows)
        found = []
        at_once = _WITH_PICTURES_AT_ONCE if self.contents.with_pictures else _AT_ONCE
        for part in in_batches(len(rows), at_once):
            read = self._read(torch.from_numpy(vectors[part]), torch.from_numpy(there[part]))
            found.append(no_grad_rates(self.contents, rows[part], self.modality, read=read))
        return np.concatenate([*found, np.empty(0)])[which]

    def _read(self, vectors: Tensor, there: Tensor) -> ModalityInputs:
        complete = bool(there.all())
        read = ModalityInputs(tensors=(vectors,), present_B=there, complete=complete)
        return read.to(self.contents.device)

    def points(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Vectors [B, X] and zeros."""
        vectors = self._vectors[torch.as_tensor(list(rows))]
        return vectors, torch.zeros_like(vectors)

    def rates_at(self, points: Tensor, rows: Tensor) -> Tensor:
        """As `Features.rates_at`."""
        there = torch.ones(len(rows), dtype=torch.bool)
        return self.contents.rates(rows, self.modality, read=self._read(points, there))

    def collect(self, contributions: Tensor, rows: Sequence[int]) -> list[np.ndarray]:
        """Contributions [B, X], divided among features by their shares."""
        found = contributions.detach().double().cpu().numpy()
        return [self._shares[row] @ found[position] for position, row in enumerate(rows)]

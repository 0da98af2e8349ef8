"""The named parts of a content: columns of attributes, and tokens of the domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ni_platform.attribution.contents import Contents
from ni_platform.attribution.features import distinct, in_batches, no_grad_rates
from ni_platform.data.batch import ModalityInputs
from ni_platform.models.encoders.domain import domain_counts
from ni_platform.models.encoders.domain import domain_tokens as tokens_of
from ni_platform.models.input_schema import category
from ni_platform.narrowing import of_kind

_AT_ONCE = 4096
_WITH_PICTURES_AT_ONCE = 64


class Named:
    """Features with names, each of which is a share of the modality's vector [X].

    Without a feature its share is not there, as of a null cell; without any, the modality is
    missing.
    """

    def __init__(
        self, contents: Contents, modality: str, names: list[list[str]], shares: list[np.ndarray]
    ) -> None:
        """Take the names of each content's features and their shares [M, X] of its vector."""
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
        at_once = _WITH_PICTURES_AT_ONCE if "image" in self.contents.modalities else _AT_ONCE
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


def attribute_columns(contents: Contents) -> Named:
    """Features: the attribute columns that a content has a value in."""
    schema = contents.scorer.schema
    columns = [
        *((name, len(levels)) for name, levels in schema.categorical),
        *((name, 1) for name, _, _ in schema.numeric),
        *((name, width) for name, width, _, _ in schema.vector),
    ]
    share_of, start = {}, 0
    for name, width in columns:
        share = np.zeros(schema.attributes_width)
        share[start : start + width] = 1
        share_of[name] = share
        start += width
    known = {name: contents.frame[name].notna().to_numpy() for name, _ in columns}
    names = [[name for name, _ in columns if known[name][row]] for row in range(len(contents))]
    shares = [np.array([share_of[name] for name in found]) for found in names]
    return Named(contents, "attributes", names, shares)


def domain_tokens(contents: Contents) -> Named:
    """Features: the tokens of the domain, such as "email" and "de" of "email/de"."""
    buckets = contents.scorer.inputs.domain_buckets
    names, shares = [], []
    for cell in contents.frame[contents.scorer.schema.domain]:
        tokens = list(dict.fromkeys(tokens_of(category(cell) or "")))
        found = np.array([domain_counts(token, buckets) for token in tokens], dtype=np.float64)
        if len(tokens):
            # Tokens that are hashed alike share their counter.
            found /= np.maximum(found.sum(0), 1)
        names.append(tokens)
        shares.append(found)
    return Named(contents, "domain", names, shares)

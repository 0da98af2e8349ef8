"""What one training step sees: model inputs and observed outcomes.

Shape legend: B contents in the batch, T tokens, H x W pixels, K hashed domain tokens,
A encoded attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class _TensorGroup:
    """Moves every tensor field at once."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Return a copy whose tensors live on `device`."""
        moved = {
            entry.name: _moved(getattr(self, entry.name), device, non_blocking)
            for entry in fields(self)
        }
        return replace(self, **moved)


def _moved(value: Any, device: torch.device | str, non_blocking: bool) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=non_blocking)
    if isinstance(value, list):
        return [_moved(item, device, non_blocking) for item in value]
    if isinstance(value, tuple) and value and not isinstance(value[0], int):
        return tuple(_moved(item, device, non_blocking) for item in value)
    if isinstance(value, Mapping):
        return {key: _moved(item, device, non_blocking) for key, item in value.items()}
    if isinstance(value, _TensorGroup):
        return value.to(device, non_blocking=non_blocking)
    return value


@dataclass(frozen=True, kw_only=True)
class ModalityInputs(_TensorGroup):
    """One modality of B contents.

    A row that lacks it holds a placeholder and is False in `present_B`; the model gives it a zero
    embedding (NI Section 6).
    """

    tensors: tuple[Tensor | list[Tensor], ...]
    """What its encoder is called with.

    - image: uint8 RGB, [B, 3, H, W]; a list of B tensors [3, H, W] when sizes differ.
    - text: int64 token ids [B, T], padded ([B, C, T] where C text columns are embedded one by
      one), and a mask of the same shape, 1 for a token, all 0 for an empty column.
    - domain: float32 counts of hashed domain tokens [B, K].
    - attributes: float32 one-hot categorical and standardised numeric attributes [B, A].
    """
    present_B: Tensor
    """bool [B]."""
    complete: bool = False
    """Whether all rows are known to have it. Said by who knows without asking a GPU."""


@dataclass(frozen=True, kw_only=True)
class Inputs(_TensorGroup):
    """What a model reads of B contents."""

    size: int
    """B, known even without any modality."""
    modalities: Mapping[str, ModalityInputs] = field(default_factory=dict)
    """By name; those that are not read are not there."""
    encoded: Mapping[str, Tensor] = field(default_factory=dict)
    """Outputs of encoders that were run before, by modality: [B, width], or a picture's feature
    map [B, C, H', W'], in the type that the encoder gave; rows of missing modalities included.
    They stand for the modality, which may then be absent."""

    def with_modality(self, name: str, modality: ModalityInputs) -> Inputs:
        """Return these inputs with another one of this name."""
        return replace(self, modalities={**self.modalities, name: modality})


@dataclass(frozen=True, kw_only=True)
class Outcomes(_TensorGroup):
    """What happened to B contents."""

    impressions_B: Tensor
    """float32 [B]."""
    clicks_B: Tensor
    """float32 [B]."""
    success_rate_B: Tensor
    """float32 [B] in [0, 1]."""
    ab_test_B: Tensor
    """int64 [B]: a number per A/B test, -1 for a content that is not from one."""
    ratings_BK: Tensor | None = None
    """float32 [B, K]: counts of ratings where success is rated, lowest first."""


@dataclass(frozen=True, kw_only=True)
class Batch(_TensorGroup):
    """Inputs and outcomes of B contents, and the dataset rows they came from."""

    rows: tuple[int, ...]
    inputs: Inputs
    outcomes: Outcomes

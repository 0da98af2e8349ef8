"""What one training step sees: model inputs and observed outcomes.

Shape legend: B contents in the batch, T tokens, H x W pixels, K hashed domain tokens,
A encoded attributes.
"""

from __future__ import annotations

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
        return [item.to(device, non_blocking=non_blocking) for item in value]
    if isinstance(value, dict):
        return {key: item.to(device, non_blocking=non_blocking) for key, item in value.items()}
    if isinstance(value, _TensorGroup):
        return value.to(device, non_blocking=non_blocking)
    return value


@dataclass(frozen=True, kw_only=True)
class Inputs(_TensorGroup):
    """The modalities of B contents; a modality that the model does not read is None.

    Rows of a missing modality hold placeholders and are False in `*_present`; the model gives
    them a zero embedding (NI Section 6).
    """

    size: int
    """B, known even when every modality is None."""
    image_B3HW: Tensor | list[Tensor] | None = None
    """uint8 RGB, [B, 3, H, W]; a list of B tensors [3, H, W] when sizes differ."""
    image_present_B: Tensor | None = None
    """bool [B]."""
    tokens_BT: Tensor | None = None
    """int64 token ids [B, T], padded; [B, C, T] where C text columns are embedded one by one."""
    token_mask_BT: Tensor | None = None
    """int64 of the same shape, 1 for a token and 0 for padding; all 0 for an empty column."""
    text_present_B: Tensor | None = None
    domain_BK: Tensor | None = None
    """float32 counts of hashed domain tokens [B, K]."""
    domain_present_B: Tensor | None = None
    attributes_BA: Tensor | None = None
    """float32 one-hot categorical and standardised numeric attributes [B, A]."""
    attributes_present_B: Tensor | None = None
    encoded: dict[str, Tensor] = field(default_factory=dict)
    """Outputs of encoders that were run before, by modality: [B, width], or a picture's feature
    map [B, C, H', W'], in the type that the encoder gave; rows of missing modalities included.
    They stand for the modality's other fields, which may then be None."""


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

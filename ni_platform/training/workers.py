"""The processes that train one model together, and their device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ni_platform.training.config import TrainingConfig


class Workers:
    """All workers of a training, seen from one; alone if torch.distributed is not set up."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.size = dist.get_world_size() if together else 1

    def sum_(self, values: Tensor) -> Tensor:
        """Add `values` up over all workers, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Return the value of every worker, by rank; on every worker."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def first(self, value: Any) -> Any:
        """Return the value of worker 0 on every worker."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


class FlatGradients:
    """The gradients of all parameters in one buffer, so that one call adds up the workers'.

    The buffer ends with one more number, the loss, which is added up on the way. A parameter
    that a worker did not use, for want of its modality, simply contributes zeros. The sum over
    workers, not the mean, is the gradient of the whole batch, because the losses are divided by
    totals over all workers.
    """

    def __init__(self, parameters: Sequence[Tensor], device: torch.device) -> None:
        total = sum(parameter.numel() for parameter in parameters)
        self._buffer = torch.zeros(total + 1, dtype=torch.float32, device=device)
        start = 0
        for parameter in parameters:
            part = self._buffer[start : start + parameter.numel()]
            # The strides of the parameter: fused optimizers walk both in memory order.
            parameter.grad = part.as_strided(parameter.size(), parameter.stride(), start)
            start += parameter.numel()

    def zero(self) -> None:
        """Start a new step."""
        self._buffer.zero_()

    def add_loss(self, loss: Tensor) -> None:
        """Add a worker's part of the loss."""
        self._buffer[-1] += loss

    def total(self, workers: Workers, clip_norm: float | None) -> Tensor:
        """Add up over workers, clip, and return the loss and the norm before clipping, [2]."""
        workers.sum_(self._buffer)
        norm = torch.linalg.vector_norm(self._buffer[:-1])
        if clip_norm is not None:
            self._buffer[:-1] *= (clip_norm / (norm + 1e-6)).clamp(max=1.0)
        return torch.stack([self._buffer[-1], norm])


def precision_on(device: torch.device, config: TrainingConfig) -> torch.dtype:
    """Return the type of matrix products: bfloat16 on GPUs and on CPUs with AMX unless set."""
    if config.precision == "auto":
        gains = device.type == "cuda" or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if gains else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32

"""The processes that train one model together, and their device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ni_platform.training.config import Precision, TrainingConfig


class WorkerGroup:
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


class Gradients:
    """The loss and the gradients of one step, added up over all workers.

    The sum over workers, not the mean, is the gradient of the whole batch, because the losses
    are divided by totals over all workers. A parameter that a worker did not use, for want of
    its modality, contributes zeros.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], device: torch.device) -> None:
        self._parameters = parameters
        self._device = device
        self._loss = torch.zeros((), device=device)
        self._buffer: Tensor | None = None
        self._parts: list[Tensor] = []

    def zero(self) -> None:
        """Start a new step."""
        for parameter in self._parameters:
            parameter.grad = None
        self._loss = torch.zeros((), device=self._device)

    def add_loss(self, loss: Tensor) -> None:
        """Add a worker's part of the loss."""
        self._loss += loss

    def total(self, workers: WorkerGroup, clip_norm: float | None) -> Tensor:
        """Add up over workers, clip, and return the loss and the norm before clipping, [2]."""
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if workers.size > 1:
            self._add_up(workers)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, clip_norm, norm)
        return torch.stack([self._loss, norm])

    def _add_up(self, workers: WorkerGroup) -> None:
        """Add up all gradients and the loss in one call, through one buffer."""
        buffer = self._allocated()
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        for part, gradient in zip(self._parts, gradients):
            part.copy_(gradient)
        buffer[-1] = self._loss
        workers.sum_(buffer)
        self._loss = buffer[-1].clone()
        for parameter, part in zip(self._parameters, self._parts):
            parameter.grad = part

    def _allocated(self) -> Tensor:
        """Return the buffer, made the first time."""
        if self._buffer is None:
            total = sum(parameter.numel() for parameter in self._parameters)
            self._buffer = torch.zeros(total + 1, device=self._device)
            start = 0
            for each in self._parameters:
                # The strides of the parameter: fused optimizers walk both in memory order.
                self._parts.append(self._buffer.as_strided(each.size(), each.stride(), start))
                start += each.numel()
        return self._buffer


def precision_on(device: torch.device, config: TrainingConfig) -> torch.dtype:
    """Return the type of matrix products: bfloat16 on GPUs and on CPUs with AMX unless set."""
    if config.precision == "auto":
        gains = device.type == "cuda" or torch.cpu.get_capabilities().get("amx_bf16")
        return torch.bfloat16 if gains else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


def precision_name(dtype: torch.dtype) -> Precision:
    """Return what a config calls a type of matrix products."""
    return "bfloat16" if dtype == torch.bfloat16 else "float32"

"""The processes that train one model together, and their device."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

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


def precision_on(device: torch.device, config: TrainingConfig) -> torch.dtype:
    """Return the type of matrix products: bfloat16 on GPUs and on CPUs with AMX unless set."""
    if config.precision == "auto":
        gains = device.type == "cuda" or torch.cpu.get_capabilities().get("amx_bf16")
        return torch.bfloat16 if gains else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


def precision_name(dtype: torch.dtype) -> Precision:
    """Return what a config calls a type of matrix products."""
    return "bfloat16" if dtype == torch.bfloat16 else "float32"

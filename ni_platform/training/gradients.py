"""Loss and gradient of one step, added up over its micro-batches and all workers."""

# Annotations are evaluated here, as `register_comm_hook` compares that of the bucket.
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ni_platform.data.batch import Inputs
from ni_platform.training.workers import WorkerGroup


class Gradients:
    """The sum, not the mean, is the gradient of the batch: losses are divided by its totals.

    A parameter that a step does not use, for want of its modality, has a gradient of zeros.

    Args:
        module: what is trained.
        parameters: those of its parameters that are.
        workers: this worker and its peers.

    """

    def __init__(
        self, module: nn.Module, parameters: Sequence[nn.Parameter], workers: WorkerGroup
    ) -> None:
        self._module = module
        self._shared = _adding_up(module) if workers.size > 1 else None
        self._parameters = parameters
        self._workers = workers
        self._loss = torch.zeros((), device=workers.device)

    def zero(self) -> None:
        """Start a new step."""
        for parameter in self._parameters:
            parameter.grad = None
        self._loss = torch.zeros_like(self._loss)

    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:
        """Return what surrounds `outputs` and `add`; in the last one gradients are sent."""
        return nullcontext() if last or self._shared is None else self._shared.no_sync()

    def outputs(self, inputs: Inputs) -> Tensor:
        """Return what the module gives."""
        if self._shared is None:
            outputs: Tensor = self._module(inputs)
            return outputs
        used: Tensor = _UsingAll.apply(self._shared(inputs), *self._parameters)
        return used

    def add(self, loss: Tensor) -> None:
        """Add this worker's part of the loss, and its gradient."""
        loss.backward()
        self._loss += loss.detach()

    def total(self, clip_norm: float | None) -> Tensor:
        """Clip the gradient, and return the loss and the norm before clipping, [2]."""
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, clip_norm, norm)
        return torch.stack([self._workers.sum_(self._loss), norm])


def _adding_up(module: nn.Module) -> DistributedDataParallel:
    """Let gradients be added up over workers while the backward pass goes on."""
    shared = DistributedDataParallel(
        module,
        # Its own connections: batch normalization talks during the backward pass too, and the
        # order of the two may differ between workers.
        process_group=dist.new_group(),
        forward_sync_buffers=False,  # every worker computes the same ones
        gradient_as_bucket_view=True,
    )
    shared.register_comm_hook(shared.process_group, _sum)  # without a hook it is the mean
    return shared


def _sum(group: dist.ProcessGroup, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    work = dist.all_reduce(bucket.buffer(), group=group, async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


class _UsingAll(torch.autograd.Function):
    """Hand the outputs on, and give every parameter a share in them that has no gradient.

    DistributedDataParallel waits for all parameters. `find_unused_parameters` would search the
    graph and exchange what it found in each step, and warn where all are used.
    """

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, *parameters: Tensor) -> Tensor:
        ctx.parameters = len(parameters)
        return outputs.view_as(outputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient, *[None] * ctx.parameters

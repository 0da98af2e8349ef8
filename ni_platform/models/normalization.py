"""Batch normalization whose statistics cover the whole batch, however many workers share it.

torch's SyncBatchNorm refuses tensors on a CPU, so two laptop workers would normalize each by
its own half and the gradient would differ from one worker's. This module gives the same
gradient on any device and any number of workers (Ioffe and Szegedy 2015; Chan et al. 1979 for
merging the moments).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ni_platform.exchange import all_gather

_OF_TORCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization over all dimensions but channels, for [B, C] and [B, C, H, W].

    While training with more than one worker (torch.distributed initialised), mean and variance
    are those of all workers' values together; every worker must then call the module equally
    often, with zero rows if it has none. With fewer than two values per channel in all, the
    running statistics are used and left as they are. State dict keys are torch's own.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  # torch's name
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"the input must be [B, {self.num_features}, ...], but got {list(input.shape)}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalized, in its own shape and dtype."""
        self._check_input_dim(x)
        if self.training and _workers() > 1:
            return self._normalize_with_all_workers(x)
        values = x.numel() // self.num_features
        learn = self.training and values > 1
        if learn:
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, learn,
            self._factor(), self.eps,
        )  # fmt: skip

    def _factor(self) -> float:
        if self.momentum is None:  # torch's meaning: a cumulative average
            return 1.0 / max(1, int(self.num_batches_tracked))  # type: ignore[arg-type]
        return self.momentum

    def _normalize_with_all_workers(self, x: Tensor) -> Tensor:
        mean_C, variance_C, count = _moments_of_all_workers(x.detach())
        enough = count > 1  # a tensor: no wait for the device
        with torch.no_grad():
            self.num_batches_tracked.add_(enough.long())  # type: ignore[union-attr]
            factor = torch.where(enough, self._factor(), 0.0).to(mean_C)
            unbiased_C = variance_C * count / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean_C, factor)  # type: ignore[union-attr]
            self.running_var.lerp_(unbiased_C, factor)  # type: ignore[union-attr]
            mean_C = torch.where(enough, mean_C, self.running_mean)  # type: ignore[arg-type]
            variance_C = torch.where(enough, variance_C, self.running_var)  # type: ignore[arg-type]
        normalized: Tensor = _SharedNormalization.apply(
            x, self.weight, self.bias, mean_C, variance_C, count, self.eps
        )
        return normalized


def convert_batch_norm(module: nn.Module) -> nn.Module:
    """Replace every torch BatchNorm in `module` (1d, 2d, 3d) by `BatchNorm`, weights kept.

    Returns the module itself, or its replacement if it is a BatchNorm.
    """
    if isinstance(module, _OF_TORCH) and not isinstance(module, BatchNorm):
        shared = BatchNorm(
            module.num_features, module.eps, module.momentum, module.affine,
            module.track_running_stats,
        )  # fmt: skip
        shared.load_state_dict(module.state_dict())
        return shared.train(module.training).to(next(iter(module.state_dict().values())).device)
    for name, child in module.named_children():
        setattr(module, name, convert_batch_norm(child))
    return module


def has_batch_norm(module: nn.Module) -> bool:
    """Whether any part of `module` normalizes over the batch."""
    return any(isinstance(part, _OF_TORCH) for part in module.modules())


def _workers() -> int:
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def _moments_of_all_workers(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [C], biased variance [C] and number of values per channel of all workers together."""
    channels = x.shape[1]
    count = x.numel() // channels
    mean_C, variance_C = x.new_zeros(2, channels, dtype=torch.float32)
    if count:
        mean_C, variance_C = torch.batch_norm_update_stats(
            x, torch.zeros_like(mean_C), torch.ones_like(mean_C), 0.0
        )
    squares_C = variance_C * count
    mine = torch.cat([mean_C, squares_C, mean_C.new_full((1,), float(count))])
    means_WC, squares_WC, counts_W1 = all_gather(mine).split([channels, channels, 1], dim=1)
    total = counts_W1.sum()
    safe = total.clamp(min=1)
    mean_C = (means_WC * counts_W1).sum(0) / safe
    between_C = ((means_WC - mean_C).square() * counts_W1).sum(0)
    return mean_C, (squares_WC.sum(0) + between_C) / safe, total


class _SharedNormalization(torch.autograd.Function):
    """Normalize by statistics of all workers; the backward pass adds up over all workers too.

    Made of torch's own kernels of batch normalization with given statistics, each of which reads
    the map once; written out in elementary operations it takes five times as long.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_C: Tensor | None,
        bias_C: Tensor | None,
        mean_C: Tensor,
        variance_C: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight_C, mean_C, variance_C, count)
        ctx.eps = eps
        return functional.batch_norm(x, mean_C, variance_C, weight_C, bias_C, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_C, mean_C, variance_C, count = ctx.saved_tensors

        def backward_of_constants(*outputs: bool) -> tuple[Tensor, ...]:
            parts: tuple[Tensor, ...] = torch.ops.aten.native_batch_norm_backward(
                gradient, x, weight_C, mean_C, variance_C, None, None, False, ctx.eps, outputs
            )
            return parts

        # Summed over this worker: the gradient, and its product with the normalized input.
        product_C = sum_C = torch.zeros_like(mean_C)
        if x.numel():
            _, product_C, sum_C = backward_of_constants(False, True, True)
        totals_2C = all_gather(torch.cat([sum_C, product_C])).sum(0)
        if not x.numel():
            return torch.zeros_like(x), product_C, sum_C, None, None, None, None
        # Statistics of fewer than two values are constants: nothing flows through them.
        totals_2C = torch.where(count > 1, totals_2C / count.clamp(min=1), 0.0)
        mean_gradient_C, mean_product_C = totals_2C.chunk(2)
        scale_C = (variance_C + ctx.eps).rsqrt()
        if weight_C is not None:
            scale_C = scale_C * weight_C
        input_gradient, _, _ = backward_of_constants(True, False, False)
        # What flows through mean and variance: also a normalization of x, with other weights.
        input_gradient += functional.batch_norm(
            x, mean_C, variance_C, -scale_C * mean_product_C, -scale_C * mean_gradient_C,
            eps=ctx.eps,
        )  # fmt: skip
        if weight_C is None:
            return input_gradient, None, None, None, None, None, None
        return input_gradient, product_C, sum_C, None, None, None, None

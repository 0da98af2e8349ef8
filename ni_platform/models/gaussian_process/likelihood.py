"""Variances and lengths of kernels by the marginal likelihood, with GPyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gpytorch
import numpy as np
import torch
from torch import Tensor

from ni_platform.models.gaussian_process.arms import LEVEL_VARIANCE, Arms
from ni_platform.models.gaussian_process.network import GaussianProcess

_ARMS = 1500
"""Of whole tests, that the likelihood is computed on: its costs grow with their cube."""
_STEPS = 40
_LEARNING_RATE = 0.1


class _SameTest(gpytorch.kernels.Kernel):
    """Covariance of the levels: arms of one test, whose code is the first column, share theirs."""

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **options: Any) -> Tensor:
        first, second = x1[..., 0], x2[..., 0]
        if diag:
            return LEVEL_VARIANCE * (first == second).to(x1.dtype)
        return LEVEL_VARIANCE * (first.unsqueeze(-1) == second.unsqueeze(-2)).to(x1.dtype)


class _Exact(gpytorch.models.ExactGP):
    """The process of all arms at once."""

    def __init__(self, x_ND: Tensor, y_N: Tensor, likelihood: Any, kernel: Any) -> None:
        super().__init__(x_ND, y_N, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = kernel

    def forward(self, x_ND: Tensor) -> Any:
        return gpytorch.distributions.MultivariateNormal(
            self.mean_module(x_ND), self.covar_module(x_ND)
        )


def maximise_likelihood(network: GaussianProcess, z: Mapping[str, Any], arms: Arms) -> None:
    """Set variances and lengths of the network's kernels, and its residual variance."""
    chosen = _whole_tests(arms.test_N, network.config.seed)
    content = torch.from_numpy(arms.content_N[chosen])
    test_N1 = torch.from_numpy(arms.test_N[chosen]).double().unsqueeze(1)
    # Divided by the root of its width, so that lengths of any modality begin at 1.
    scaled = [values[content].double() / values.shape[1] ** 0.5 for values in z.values()]
    x_ND = torch.cat([test_N1, *scaled], dim=1)
    y_N = torch.from_numpy(arms.logits[chosen])
    likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(
        torch.from_numpy(arms.noise[chosen]), learn_additional_noise=True
    ).double()
    likelihood.second_noise = 0.02
    kernels, start = {}, 1
    for name, values in z.items():
        kernels[name] = _kernel(network.config.kernel, start, values.shape[1])
        start += values.shape[1]
    every: Any = _SameTest()
    for kernel in kernels.values():
        every = every + kernel
    model = _Exact(x_ND, y_N, likelihood, every).double()
    model.mean_module.constant.data.fill_(float(y_N.mean()))
    marginal = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)
    with (
        gpytorch.settings.max_cholesky_size(10**6),
        gpytorch.settings.fast_computations(False, False, False),
    ):
        for _ in range(_STEPS):
            optimizer.zero_grad()
            loss = -marginal(model(x_ND), y_N)
            loss.backward()
            optimizer.step()
    for name, kernel in kernels.items():
        term: Any = network.terms[name]
        term.variance.copy_(kernel.outputscale.detach())
        if network.config.kernel == "rbf":
            length = kernel.base_kernel.lengthscale.detach().squeeze()
            term.length.copy_(length * z[name].shape[1] ** 0.5)
    network.residual.copy_(likelihood.second_noise.detach().squeeze())


def _kernel(kind: str, start: int, width: int) -> Any:
    columns = tuple(range(start, start + width))
    if kind == "linear":
        linear = gpytorch.kernels.LinearKernel(active_dims=columns)
        linear.variance = 1.0
        linear.raw_variance.requires_grad_(False)
        scaled = gpytorch.kernels.ScaleKernel(linear)
    else:
        rbf = gpytorch.kernels.RBFKernel(active_dims=columns)
        rbf.lengthscale = 1.0
        scaled = gpytorch.kernels.ScaleKernel(rbf)
    scaled.outputscale = 0.06
    return scaled


def _whole_tests(test_N: np.ndarray, seed: int) -> np.ndarray:
    """Positions of at most `_ARMS` arms, of whole tests drawn at random."""
    tests = np.random.default_rng(seed).permutation(np.unique(test_N))
    sizes = np.bincount(test_N)[tests]
    kept = tests[: max(1, int(np.searchsorted(np.cumsum(sizes), _ARMS, side="right")))]
    rows = np.flatnonzero(np.isin(test_N, kept))
    return np.sort(np.random.default_rng(seed).permutation(rows)[:_ARMS])  # of one large test

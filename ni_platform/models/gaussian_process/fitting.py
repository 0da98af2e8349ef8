"""A Gaussian process fitted to arms: by the marginal likelihood, then in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import expit
from torch import Tensor

from ni_platform.errors import DatasetError
from ni_platform.models.gaussian_process.arms import LEVEL_VARIANCE, Arms, chunks_of_tests
from ni_platform.models.gaussian_process.network import GaussianProcess

_CHUNK = 4096
_JITTER = 1e-6


class Embeddings(Protocol):
    """[C, X] of contents, in memory or elsewhere: a tensor, or what is read like one."""

    @property
    def shape(self) -> Sequence[int]:
        """(C, X)."""
        ...

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Rows [B, X]."""
        ...


class Standardised:
    """Embeddings as a kernel compares them, computed for the rows that are asked for."""

    def __init__(self, term: Any, embeddings: Embeddings) -> None:
        self._term, self._embeddings = term, embeddings
        self.shape = embeddings.shape

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Rows [B, X], float32."""
        found: Tensor = self._term.standardised(self._embeddings[rows].float())
        return found


def fit(
    network: GaussianProcess,
    embeddings: Mapping[str, Embeddings],
    arms: Arms,
    *,
    say: Callable[[str], None] = lambda words: None,
) -> None:
    """Fit the network to arms.

    Args:
        network: is given kernels, weights and their uncertainty.
        embeddings: outputs [C, X] of its encoders for the C distinct contents of `arms`.
        arms: what happened.
        say: told in words what is being done.

    Raises:
        DatasetError: there are fewer than two arms.
    """
    if len(arms.content_N) < 2:
        raise DatasetError(
            f"A Gaussian process is fitted on at least two different arms, but there are "
            f"{len(arms.content_N)}."
        )
    z: dict[str, Embeddings] = {}
    for name, term in network.terms.items():
        _standardise(term, network.encoders[name], embeddings[name])
        z[name] = Standardised(term, embeddings[name])
    say("finding how far each modality reaches")
    # GPyTorch takes seconds to import.
    from ni_platform.models.gaussian_process.likelihood import maximise_likelihood

    maximise_likelihood(network, z, arms)
    say("solving for the weights of past contents")
    solve(network, z, arms)


def _standardise(term: Any, encoder: Any, x_CX: Embeddings) -> None:
    """Centre and scale by all contents that have the modality, in one pass."""
    count, width = 0, x_CX.shape[1]
    sum_X, squares_X = torch.zeros(2, width, dtype=torch.float64)
    for rows in _chunks(x_CX.shape[0]):
        x_BX = x_CX[rows].double()
        there_BX = x_BX[(x_BX != 0).any(1)]
        count += len(there_BX)
        sum_X += there_BX.sum(0)
        squares_X += there_BX.square().sum(0)
    if not count:
        return
    mean_X = sum_X / count
    variance_X = (squares_X / count - mean_X.square()).clamp(min=0)
    blocks = variance_X.split(list(getattr(encoder, "blocks", (encoder.width,))))
    stds = [block.mean().sqrt().clamp(min=1e-6).expand(len(block)) for block in blocks]
    term.mean_X.copy_(mean_X)
    term.std_X.copy_(torch.cat(stds))


def _chunks(rows: int) -> Iterator[Tensor]:
    for start in range(0, rows, _CHUNK):
        yield torch.arange(start, min(start + _CHUNK, rows))


def solve(network: GaussianProcess, z: Mapping[str, Embeddings], arms: Arms) -> None:
    """Set the posterior, given all variances: exact where every distinct content is a point.

    Else the function is spanned by the points alone (deterministic training conditional,
    Quiñonero-Candela and Rasmussen 2005). With K the covariances of arms and points and Λ what
    level, residual and noise add, A = K_uu + K_un Λ⁻¹ K_nu; the mean is k_u A⁻¹ K_un Λ⁻¹ (y - mean)
    and the variance k - k_u (K_uu⁻¹ - A⁻¹) k_u. Memory grows with the points, not with the arms.
    """
    contents = np.unique(arms.content_N)
    if len(contents) > network.config.points:
        rng = np.random.default_rng(network.config.seed)
        contents = np.sort(rng.choice(contents, network.config.points, replace=False))
    points = {name: values[torch.from_numpy(contents)] for name, values in z.items()}
    own_UU = _covariance(network, points, points)
    # Not 0 either where no content differs from another in what is read.
    own_UU.diagonal().add_(_JITTER * own_UU.diagonal().mean().clamp(min=_JITTER))
    y_N = torch.from_numpy(arms.logits)
    precision_N = 1 / (torch.from_numpy(arms.noise) + network.residual.double())
    mean = (precision_N @ y_N) / precision_N.sum()
    gram_UU, target_U = own_UU.clone(), torch.zeros(len(own_UU), dtype=own_UU.dtype)
    for rows in chunks_of_tests(arms.test_N):
        own = {name: values[torch.from_numpy(arms.content_N[rows])] for name, values in z.items()}
        covariance_NU = _covariance(network, own, points)
        weighted_NU = _within_tests(covariance_NU, precision_N[rows], arms.test_N[rows])
        gram_UU += weighted_NU.mT @ covariance_NU
        target_U += weighted_NU.mT @ (y_N[rows] - mean)
    root_UU = torch.linalg.cholesky(gram_UU)
    weights_U = torch.cholesky_solve(target_U.unsqueeze(1), root_UU).squeeze(1)
    explained_UU = torch.cholesky_inverse(torch.linalg.cholesky(own_UU))
    explained_UU -= torch.cholesky_inverse(root_UU)
    network.weights_U.data = weights_U.float()
    network.explained_UU = explained_UU.float()
    for name, term in network.terms.items():
        term.points_UX = points[name].float()
    network.overdispersion.fill_(arms.overdispersion)
    function_N = _function(network, z)[arms.content_N]
    intercept = _intercept(function_N, arms)
    network.intercept.fill_(intercept)
    levels = _levels(arms, arms.logits - function_N, precision_N.numpy(), intercept)
    network.level_mean.fill_(levels[0])
    network.level_variance.fill_(levels[1])


def _covariance(
    network: GaussianProcess, first: Mapping[str, Tensor], second: Mapping[str, Tensor]
) -> Tensor:
    """Prior covariances, float64."""
    found: Any = sum(
        term.covariance(first[name].double(), second[name].double())  # type: ignore[operator]
        for name, term in network.terms.items()
    )
    return found


def _within_tests(values_NU: Tensor, precision_N: Tensor, test_N: np.ndarray) -> Tensor:
    """Λ⁻¹ times `values_NU`, where Λ = diag(1 / precision) + LEVEL_VARIANCE in each test."""
    _, codes = np.unique(test_N, return_inverse=True)
    test = torch.from_numpy(codes)
    weighted_NU = precision_N.unsqueeze(1) * values_NU
    tests = int(test.max()) + 1
    total_TU = torch.zeros(tests, values_NU.shape[1], dtype=values_NU.dtype)
    total_TU.index_add_(0, test, weighted_NU)
    sum_T = torch.zeros(tests, dtype=values_NU.dtype).index_add_(0, test, precision_N)
    shrunk_TU = total_TU / (1 / LEVEL_VARIANCE + sum_T).unsqueeze(1)
    return weighted_NU - precision_N.unsqueeze(1) * shrunk_TU[test]


def _function(network: GaussianProcess, z: Mapping[str, Embeddings]) -> np.ndarray:
    """The function's values at all distinct contents, float64 [C]."""
    contents = next(iter(z.values())).shape[0]
    values_C = torch.cat(
        [
            network.values({name: values[rows].double() for name, values in z.items()})
            for rows in _chunks(contents)
        ]
    )
    return np.asarray(values_C.double().numpy())


def _intercept(function_N: np.ndarray, arms: Arms) -> float:
    """The intercept with which the mean predicted rate of the arms is the mean observed one."""
    observed = float((arms.clicks_N / arms.impressions_N).mean())
    return float(brentq(lambda at: expit(at + function_N).mean() - observed, -30, 30))


def _levels(
    arms: Arms, left_N: np.ndarray, precision_N: np.ndarray, intercept: float
) -> tuple[float, float]:
    """Mean and variance of the levels of tests, by moments, from what the function leaves.

    The mean lies below the intercept: rates are skewed, and the intercept fits their mean. Without
    any test the variance is 0, as contents of none share the intercept. Of one test it is not
    known, and that of the prior is taken.
    """
    test, weight_N, left_N = (v[~arms.alone_N] for v in (arms.test_N, precision_N, left_N))
    _, codes = np.unique(test, return_inverse=True)
    total_T = np.bincount(codes, weight_N)
    if len(total_T) < 2:
        return intercept, LEVEL_VARIANCE * len(total_T)
    level_T = np.bincount(codes, weight_N * left_N) / total_T
    variance = float(level_T.var(ddof=1) - (1 / total_T).mean())
    return float(level_T.mean()), max(0.0, variance)

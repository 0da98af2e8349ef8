"""The posterior of a Gaussian process as a network: encoders, kernels, weights of past contents.

U is the number of distinct past contents that span the function, X the width of an embedding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ni_platform.data.batch import Inputs
from ni_platform.errors import ConfigError
from ni_platform.models.gaussian_process.arms import LEVEL_VARIANCE
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.modalities.modality import InputSize
from ni_platform.models.neural_insights import build_encoder, embed, save_skeletons


class Term(nn.Module):
    """The kernel of one modality, between contents and the past contents that span the function.

    Each block of an embedding (a layer of a text encoder) is centred and divided by one standard
    deviation. A content without the modality has nothing in common with any other.
    """

    mean_X: Tensor
    std_X: Tensor
    points_UX: Tensor
    variance: Tensor
    length: Tensor

    def __init__(self, width: int, *, linear: bool) -> None:
        super().__init__()
        self.linear = linear
        self.register_buffer("mean_X", torch.zeros(width))
        self.register_buffer("std_X", torch.ones(width))
        self.register_buffer("points_UX", torch.zeros(0, width))
        self.register_buffer("variance", torch.tensor(0.0))
        self.register_buffer("length", torch.tensor(math.sqrt(width)))

    def standardised(self, x_BX: Tensor) -> Tensor:
        """Embeddings [B, X] as the kernel compares them; zeros, which are a missing one, stay."""
        there_B1 = (x_BX != 0).any(1, keepdim=True)
        return torch.where(there_B1, (x_BX - self.mean_X) / self.std_X, torch.zeros_like(x_BX))

    def covariance(self, first_BX: Tensor, second_UX: Tensor) -> Tensor:
        """Prior covariances [B, U] of standardised embeddings."""
        product_BU = first_BX @ second_UX.mT
        if self.linear:
            return self.variance * product_BU / first_BX.shape[1]
        squares_B1 = first_BX.square().sum(1, keepdim=True)
        squares_1U = second_UX.square().sum(1).unsqueeze(0)
        distance_BU = (squares_B1 + squares_1U - 2 * product_BU).clamp(min=0)
        there_BU = (squares_B1 > 0) & (squares_1U > 0)
        return self.variance * torch.exp(-distance_BU / (2 * self.length.square())) * there_BU


class GaussianProcess(nn.Module):
    """Contents to logits [B] of their success rates, by a fitted Gaussian process."""

    intercept: Tensor
    explained_UU: Tensor
    residual: Tensor
    level_mean: Tensor
    level_variance: Tensor
    overdispersion: Tensor

    def __init__(
        self,
        config: GaussianProcessConfig,
        sizes: Mapping[str, InputSize],
        *,
        skeleton: Path | None = None,
        initial_rate: float = 0.5,
        buckets: None = None,
        encoded: Mapping[str, int] | None = None,
    ) -> None:
        """Build an unfitted one, which predicts `initial_rate`; arguments as `NeuralInsights`."""
        super().__init__()
        self.config = config
        self.initial_rate = initial_rate
        self.buckets = buckets
        self.encoders = nn.ModuleDict()
        self.terms = nn.ModuleDict()
        for name, part in config.parts.items():
            size = sizes.get(name, InputSize())
            encoder: Any = build_encoder(name, part, size, skeleton, encoded or {})
            self.encoders[name] = encoder.requires_grad_(False)
            self.terms[name] = Term(encoder.width, linear=config.kernel == "linear")
        logit = math.log(initial_rate / (1 - initial_rate))
        self.register_buffer("intercept", torch.tensor(logit))
        self.weights_U = nn.Parameter(torch.zeros(0), requires_grad=False)
        self.register_buffer("explained_UU", torch.zeros(0, 0))
        self.register_buffer("residual", torch.tensor(0.0))
        self.register_buffer("level_mean", torch.tensor(logit))
        self.register_buffer("level_variance", torch.tensor(LEVEL_VARIANCE))
        self.register_buffer("overdispersion", torch.tensor(1.0))
        self.register_load_state_dict_pre_hook(_grow)

    def encode(self, name: str, inputs: Inputs) -> Tensor:
        """Embeddings [B, width] of one modality; zeros for a missing one."""
        return embed(name, self.encoders[name], inputs)

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits [B] of the success rates, of a test of average level."""
        return self.intercept + self.values(self._standardised(inputs))

    def values(self, z: Mapping[str, Tensor]) -> Tensor:
        """The function's values [B] at standardised embeddings."""
        return self._covariance_with_points(z) @ self.weights_U.double()

    def posterior(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Mean [B] and covariance [B, B] of the function's values, logits beside the level."""
        return self.at(self._standardised(inputs))

    def at(self, z: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """As `posterior`, at standardised embeddings."""
        covariance_BU = self._covariance_with_points(z)
        prior_BB = sum(term.covariance(z[name], z[name]) for name, term in self._terms())
        explained_BB = covariance_BU @ self.explained_UU.double() @ covariance_BU.mT
        return covariance_BU @ self.weights_U.double(), prior_BB - explained_BB

    def _terms(self) -> list[tuple[str, Term]]:
        return list(self.terms.items())  # type: ignore[arg-type]

    def _standardised(self, inputs: Inputs) -> dict[str, Tensor]:
        return {n: term.standardised(self.encode(n, inputs).double()) for n, term in self._terms()}

    def _covariance_with_points(self, z: Mapping[str, Tensor]) -> Tensor:
        # Weights of both signs nearly cancel: in single precision a rate would depend on its batch.
        found: Any = sum(
            term.covariance(z[n], term.points_UX.double()) for n, term in self._terms()
        )
        return found

    def stage(self, name: str) -> nn.Module:
        """Raise ConfigError: it is fitted at once, without stages."""
        raise ConfigError(f"A Gaussian process has no stage {name!r}: it is fitted at once.")

    def summary(self) -> dict[str, float]:
        """What was found: standard deviations in logits, and the overdispersion.

        They are of each modality, of what no modality says of an arm (`residual`) and of the levels
        of A/B tests (`level`). A modality near 0 says nothing that the others do not say.
        """
        found = {name: math.sqrt(float(term.variance)) for name, term in self._terms()}
        return found | {
            "residual": math.sqrt(float(self.residual)),
            "level": math.sqrt(float(self.level_variance)),
            "overdispersion": float(self.overdispersion),
        }

    def parameter_table(self) -> list[tuple[str, int]]:
        """Part and number of its parameters."""
        parts = [*self.encoders.items()]
        sizes = [(name, sum(p.numel() for p in part.parameters())) for name, part in parts]
        return [*sizes, ("weights of past contents", self.weights_U.numel())]

    def save_skeleton(self, folder: Path) -> None:
        """Write what rebuilds the encoders without their pretrained sources."""
        save_skeletons(self.encoders, folder)


def _grow(module: GaussianProcess, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
    """Make room for as many past contents as a saved state has."""
    # The first saved ones did not say how levels differ: then intervals of rates are wide.
    state.setdefault(f"{prefix}level_mean", state[f"{prefix}intercept"])
    state.setdefault(f"{prefix}level_variance", torch.tensor(LEVEL_VARIANCE))
    module.weights_U.data = torch.empty_like(state[f"{prefix}weights_U"])
    module.explained_UU = torch.empty_like(state[f"{prefix}explained_UU"])
    for name, term in module.terms.items():
        term.points_UX = torch.empty_like(state[f"{prefix}terms.{name}.points_UX"])

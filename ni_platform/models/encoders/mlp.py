"""The fully-connected networks of NI Table 3: linear, batch normalization, ELU, repeated."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ni_platform.errors import ConfigError
from ni_platform.models.normalization import BatchNorm


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """Hidden widths of a fully-connected network; the defaults are MLP1 and MLP2 of Table 3."""

    hidden: tuple[int, ...] = (512, 1024, 1024, 512)
    dropout: float = 0.0
    """Share of each layer's outputs that training zeroes; the paper uses none."""

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(
                f"hidden needs at least one positive width, but is {self.hidden}. "
                "Give widths such as 512,1024,1024,512."
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), but is {self.dropout}.")


class MLP(nn.Module):
    """Layers of linear, batch normalization and ELU: [B, width_in] to [B, width]."""

    def __init__(self, width_in: int, config: MLPConfig) -> None:
        super().__init__()
        self.width = config.hidden[-1]
        layers: list[nn.Module] = []
        for width_out in config.hidden:
            linear = nn.Linear(width_in, width_out)
            # Normalization takes a bias out again: its gradient is rounding errors alone, which
            # Adam would scale up to whole steps that the running mean has to follow.
            linear.bias.requires_grad_(False)
            layers += [linear, BatchNorm(width_out), nn.ELU()]
            if config.dropout:
                layers.append(nn.Dropout(config.dropout))
            width_in = width_out
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Embed [B, width_in] as [B, width]."""
        embedding: Tensor = self.layers(x)
        return embedding

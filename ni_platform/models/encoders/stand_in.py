"""What takes an encoder's place: where inputs hold its outputs, or where there is none."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class StandIn(nn.Module):
    """Knows its encoder's `width` and has no weights; it is never run."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, *inputs: Any) -> Tensor:
        """Raise RuntimeError: the outputs should have come with the inputs."""
        raise RuntimeError(
            "a network built for encoded inputs was given inputs without them; read the rows with "
            "the source that the network was built for"
        )


class AsItIs(nn.Module):
    """Takes a modality's vector as its embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x_BX: Tensor) -> Tensor:
        """[B, X] in, the same out."""
        return x_BX

"""The fusion steps of M2FN Section 5. X is the width of the auxiliary vector."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ni_platform.models.normalization import BatchNorm

_FIRST_HIDDEN = 512
"""First hidden width of the conditional batch normalization's networks (Table 3)."""


class ConditionalBatchNorm(nn.Module):
    """Low-level fusion (Section 5.1; de Vries et al. 2017): scale and shift follow from aux.

    Two networks X -> 512 -> `width` -> channels give the change of the scale from 1 and of the
    shift from 0; both start at 0, so training starts from plain batch normalization.
    """

    def __init__(self, channels: int, aux_width: int, width: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels, affine=False)
        self.scale = _changes(aux_width, width, channels)
        self.shift = _changes(aux_width, width, channels)

    def forward(self, x_BCHW: Tensor, aux_BX: Tensor) -> Tensor:
        """[B, C, H, W] in, the same out."""
        scale_BC11 = (1 + self.scale(aux_BX))[:, :, None, None].to(x_BCHW.dtype)
        shift_BC11 = self.shift(aux_BX)[:, :, None, None].to(x_BCHW.dtype)
        return torch.addcmul(shift_BC11, self.norm(x_BCHW), scale_BC11)


class SpatialAttention(nn.Module):
    """Weights over the L locations of the feature map that sum to 1 (Section 5.2).

    `flattened` scores all locations from the flattened map stacked with aux (Table 3's 14 M
    weights); `per_location` scores each location from its own features stacked with aux (the text
    of Section 5.2), with the same weights everywhere.
    """

    def __init__(
        self,
        channels: int,
        locations: int,
        aux_width: int,
        width: int,
        reading: Literal["flattened", "per_location"],
    ) -> None:
        super().__init__()
        self.reading = reading
        image_width = channels * locations if reading == "flattened" else channels
        self.embed = nn.Linear(image_width + aux_width, width)
        self.score = nn.Linear(width, locations if reading == "flattened" else 1)

    def weights(self, x_BCHW: Tensor, aux_BX: Tensor) -> Tensor:
        """Attention [B, H, W]; each sums to 1."""
        batch, _, height, rows = x_BCHW.shape
        if self.reading == "flattened":
            stack_BS = torch.cat([x_BCHW.flatten(1), aux_BX.to(x_BCHW.dtype)], dim=1)
            score_BL = self.score(torch.relu(self.embed(stack_BS)))
        else:
            # The replicated aux has the same product everywhere: it is computed once.
            channels = x_BCHW.shape[1]
            image_WC, aux_WX = self.embed.weight.split([channels, aux_BX.shape[1]], dim=1)
            here_BLW = functional.linear(x_BCHW.flatten(2).mT, image_WC)
            aux_B1W = functional.linear(aux_BX, aux_WX, self.embed.bias).unsqueeze(1)
            score_BL = self.score(torch.relu(here_BLW + aux_B1W)).squeeze(2)
        return score_BL.float().softmax(1).view(batch, height, rows)

    def forward(self, x_BCHW: Tensor, aux_BX: Tensor) -> Tensor:
        """The feature map times the attention, [B, C, H, W]."""
        return x_BCHW * self.weights(x_BCHW, aux_BX).unsqueeze(1).to(x_BCHW.dtype)


class HighLevelFusion(nn.Module):
    """tanh(linear(image)) * tanh(linear(aux)), element by element (Section 5.3)."""

    def __init__(self, image_width: int, aux_width: int, width: int) -> None:
        super().__init__()
        self.image = nn.Linear(image_width, width)
        self.aux = nn.Linear(aux_width, width)

    def forward(self, image_BI: Tensor, aux_BX: Tensor) -> Tensor:
        """[B, I] and [B, X] to [B, width]."""
        return torch.tanh(self.image(image_BI)) * torch.tanh(self.aux(aux_BX))


def _changes(aux_width: int, width: int, channels: int) -> nn.Sequential:
    last = nn.Linear(width, channels)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(
        nn.Linear(aux_width, _FIRST_HIDDEN), nn.ReLU(), nn.Linear(_FIRST_HIDDEN, width), nn.ReLU(),
        last,
    )  # fmt: skip

"""VGG without classifier (Simonyan and Zisserman 2015), under torchvision's key names.

M2FN Table 3 gives VGG-19 14.7 M weights, which is the count of VGG-16; VGG-19 has 20.0 M.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ni_platform.models.normalization import BatchNorm

WIDTH = 512
_CHANNELS = (64, 128, 256, 512, WIDTH)
_CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """[B, 3, H, W] to [B, 512, H / 32, W / 32]: five blocks of 3x3 convolutions and a pooling."""

    def __init__(self, layers: Literal[16, 19] = 19, *, batch_norm: bool = False) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        points: list[int] = []
        channels_in = 3
        for channels, convolutions in zip(_CHANNELS, _CONVOLUTIONS[layers]):
            points.append(len(parts) + batch_norm)
            for _ in range(convolutions):
                parts.append(nn.Conv2d(channels_in, channels, 3, padding=1))
                parts += [BatchNorm(channels)] if batch_norm else []
                parts.append(nn.ReLU(inplace=True))
                channels_in = channels
            parts.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*parts)
        self.points = tuple(points)
        """Where in `features` the first convolution of each block is done, ReLU not yet."""
        for part in parts:
            if isinstance(part, nn.Conv2d):  # as torchvision draws them
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Feature map."""
        features: Tensor = self.features(x_B3HW)
        return features

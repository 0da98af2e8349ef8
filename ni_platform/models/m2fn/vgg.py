"""VGG-19 without classifier (Simonyan and Zisserman 2015): 20.0 M weights in five blocks.

M2FN Table 3 gives it 14.7 M, which is the count of VGG-16. Keys of the state dict are
torchvision's, `features.N.weight`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

BLOCKS = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
"""Channels of the 3x3 convolutions of each block; 2x2 max pooling ends a block."""
STRIDE = 32
WIDTH = 512


class VGG19(nn.Module):
    """[B, 3, H, W] to [B, 512, H / 32, W / 32]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        firsts: list[int] = []
        channels_in = 3
        for block in BLOCKS:
            firsts.append(len(layers))
            for channels in block:
                layers += [nn.Conv2d(channels_in, channels, 3, padding=1), nn.ReLU(inplace=True)]
                channels_in = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.first_convolutions = tuple(firsts)
        """Index in `features` of the first convolution of each block."""
        for layer in layers:
            if isinstance(layer, nn.Conv2d):  # as torchvision draws them
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(
        self, x_B3HW: Tensor, after_first: Mapping[int, Callable[[Tensor], Tensor]] | None = None
    ) -> Tensor:
        """Feature map; `after_first` changes the output of a block's (0 to 4) first convolution."""
        changes = {
            self.first_convolutions[block]: change for block, change in (after_first or {}).items()
        }
        x = x_B3HW
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in changes:
                x = changes[index](x)
        return x

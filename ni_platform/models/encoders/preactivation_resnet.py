"""NI Table 3's image network: a small pre-activation ResNet for pictures of any size."""

from __future__ import annotations

from torch import Tensor, nn

from ni_platform.models.normalization import BatchNorm


class ResBlock(nn.Module):
    """Pre-activation residual block: (BatchNorm, ReLU, 3x3 conv) twice (He et al. 2016).

    A block with a stride takes its shortcut through a 1x1 convolution of the activated input.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = BatchNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.norm2 = BatchNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, channels, 1, stride, bias=False) if stride > 1 else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, ceil(H / stride), ceil(W / stride)]."""
        activated = self.relu(self.norm1(x))
        skipped = x if self.shortcut is None else self.shortcut(activated)
        residual: Tensor = self.conv2(self.relu(self.norm2(self.conv1(activated))))
        return residual + skipped


class PreactivationResNet(nn.Module):
    """3x3 stem, four residual blocks with strides 1, 2, 2, 2, BatchNorm, ReLU, global average.

    `features` gives the map [B, 32, H / 8, W / 8]; `forward` its mean over space [B, 32].
    """

    def __init__(self, channels: int = 32, strides: tuple[int, ...] = (1, 2, 2, 2)) -> None:
        super().__init__()
        self.width = channels
        self.stem = nn.Conv2d(3, channels, 3, 1, 1)
        self.blocks = nn.Sequential(*[ResBlock(channels, stride) for stride in strides])
        self.norm = BatchNorm(channels)
        self.relu = nn.ReLU()
        self.last_map = nn.Identity()  # a name for the map, for GradCAM

    def features(self, x_B3HW: Tensor) -> Tensor:
        """Feature map before the global average."""
        return self.later_map(self.early_map(x_B3HW, 0), 0)

    def early_map(self, x_B3HW: Tensor, blocks: int) -> Tensor:
        """Map after the stem and the first `blocks` residual blocks."""
        found: Tensor = self.blocks[:blocks](self.relu(self.stem(x_B3HW)))
        return found

    def later_map(self, x_BCHW: Tensor, blocks: int) -> Tensor:
        """Feature map from the one after the first `blocks` residual blocks."""
        found: Tensor = self.last_map(self.relu(self.norm(self.blocks[blocks:](x_BCHW))))
        return found

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Embed [B, 3, H, W] as [B, 32]."""
        return self.features(x_B3HW).mean((2, 3))

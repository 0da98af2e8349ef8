"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation, ReLU6): 4.65 M weights.

Written here because the libraries that carry it need torchvision. Its own key names follow the
published checkpoint `efficientnet-lite0-57934424.pth`, less the leading underscores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ni_platform.models.normalization import BatchNorm

# kernel, stride, expansion, channels out, repeats (efficientnet_lite_builder.py)
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD = 32, 1280
BLOCKS = sum(stage[4] for stage in _STAGES)


class SamePaddedConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: the extra pixel goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', ceil(H / stride), ceil(W / stride)]."""
        padding: list[int] = []
        for dim in (1, 0):  # functional.pad starts with the last dimension
            side, kernel, stride = x.shape[2 + dim], self.kernel_size[dim], self.stride[dim]
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, padding) if any(padding) else x)


def _norm(channels: int) -> BatchNorm:
    return BatchNorm(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; added to the input where shapes allow."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.expand_conv: nn.Conv2d | None = None
        if expansion > 1:
            self.expand_conv = nn.Conv2d(channels_in, wide, 1, bias=False)
            self.bn0 = _norm(wide)
        self.depthwise_conv = SamePaddedConv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn1 = _norm(wide)
        self.project_conv = nn.Conv2d(wide, channels_out, 1, bias=False)
        self.bn2 = _norm(channels_out)
        self.adds_input = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels_in, H, W] to [B, channels_out, ceil(H / stride), ceil(W / stride)]."""
        out = x
        if self.expand_conv is not None:
            out = functional.relu6(self.bn0(self.expand_conv(out)))
        out = functional.relu6(self.bn1(self.depthwise_conv(out)))
        out = self.bn2(self.project_conv(out))
        return out + x if self.adds_input else out


class EfficientNetLite0(nn.Module):
    """[B, 3, H, W] to [B, 1280]; pixels standardised as (x - 127) / 128.

    The checkpoint's ImageNet classifier is left out, and so is stochastic depth, which the
    published training used. With `layers`, from 1 to 16, maps after these blocks are averaged and
    stand side by side; what comes after the last of them is not there.
    """

    def __init__(self, layers: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.layers = layers
        self.conv_stem = SamePaddedConv2d(3, _STEM, 3, 2, bias=False)
        self.bn0 = _norm(_STEM)
        blocks: list[nn.Module] = []
        channels = _STEM
        for kernel, stride, expansion, channels_out, repeats in _STAGES:
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                blocks.append(InvertedResidual(channels, channels_out, kernel, step, expansion))
                channels = channels_out
        self.blocks = nn.Sequential(*blocks[: max(layers, default=len(blocks))])
        if not layers:
            self.conv_head = nn.Conv2d(channels, _HEAD, 1, bias=False)
            self.bn1 = _norm(_HEAD)
        self.last_map = nn.Identity()  # a name for the map, for GradCAM
        widths = [stage[3] for stage in _STAGES for _ in range(stage[4])]
        self.widths = tuple(widths[layer - 1] for layer in layers) or (_HEAD,)
        """Of the parts that stand side by side."""
        self.width = sum(self.widths)

    def features(self, x_B3HW: Tensor) -> Tensor:
        """Feature map [B, 1280, ceil(H / 32), ceil(W / 32)] before the global average."""
        out = self.blocks(functional.relu6(self.bn0(self.conv_stem(x_B3HW))))
        features: Tensor = self.last_map(functional.relu6(self.bn1(self.conv_head(out))))
        return features

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Embed [B, 3, H, W] as [B, width]."""
        if not self.layers:
            return self.features(x_B3HW).mean((2, 3))
        out, read = functional.relu6(self.bn0(self.conv_stem(x_B3HW))), {}
        for layer, block in enumerate(self.blocks, 1):
            out = block(out)
            if layer == min(self.layers):
                out = self.last_map(out)  # all that is read follows from it
            if layer in self.layers:
                read[layer] = out.mean((2, 3))
        return torch.cat([read[layer] for layer in self.layers], dim=1)


def from_published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the published checkpoint's names, as `EfficientNetLite0` names them."""
    return {
        re.sub(r"(^|\.)_", r"\1", name): value
        for name, value in state.items()
        if not name.startswith("_fc.")
    }


def from_timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under timm's names (`tf_efficientnet_lite0`), as `EfficientNetLite0` names them."""
    outside = {"conv_stem": "conv_stem", "bn1": "bn0", "conv_head": "conv_head", "bn2": "bn1"}
    separable = {
        "conv_dw": "depthwise_conv", "bn1": "bn1", "conv_pw": "project_conv", "bn2": "bn2",
    }  # fmt: skip
    inverted = {
        "conv_pw": "expand_conv", "bn1": "bn0", "conv_dw": "depthwise_conv", "bn2": "bn1",
        "conv_pwl": "project_conv", "bn3": "bn2",
    }  # fmt: skip
    firsts = [sum(stage[4] for stage in _STAGES[:index]) for index in range(len(_STAGES))]
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            stage, repeat, module, *rest = parts[1:]
            names = separable if int(stage) == 0 else inverted
            block = firsts[int(stage)] + int(repeat)
            renamed[".".join(["blocks", str(block), names[module], *rest])] = value
        elif parts[0] in outside:
            renamed[".".join([outside[parts[0]], *parts[1:]])] = value
    return renamed

"""The image networks that M2FN and its rivals stand on: pictures to a feature map, in parts.

After five of the parts the map can be changed by what else is known of a content, which is where
low-level fusion happens (M2FN Section 5.1, Table 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ni_platform.data.images import ImageInput
from ni_platform.errors import ConfigError
from ni_platform.models.encoders.efficientnet_lite import EfficientNetLite0
from ni_platform.models.encoders.preactivation_resnet import PreactivationResNet
from ni_platform.models.encoders.pretrained import (
    load_efficientnet_lite0,
    load_torch_state,
    load_transformers_state,
    timm_network,
)
from ni_platform.models.m2fn.vgg import VGG
from ni_platform.models.modalities.image import ImageReader
from ni_platform.models.modalities.modality import EncoderConfig, InputSize, Reader
from ni_platform.models.normalization import convert_batch_norm

BLOCKS = 5
"""Places for low-level fusion: the five blocks of VGG; stem and four stages of the others."""

_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_CENTRED = ((127.5,) * 3, (127.5,) * 3)
_RESNETS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "resnet18": ("basic", (64, 128, 256, 512), (2, 2, 2, 2)),
    "resnet50": ("bottleneck", (256, 512, 1024, 2048), (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (256, 512, 1024, 2048), (3, 4, 23, 3)),
}
_TIMM = ("inception_v3", "inception_v4")
_STRIDES = {"table3": 8}
"""All others shrink pictures by 32."""
_EFFICIENTNET_STAGE_ENDS = (1, 3, 5, 11)
"""Blocks of EfficientNet-Lite0 with which a resolution begins."""

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class ImageNetworkConfig(EncoderConfig):
    """Which image network, where its weights come from, and how pictures are read.

    `table3` is the small residual network of NI Table 3, for pictures of 64 pixels or so. The
    inceptions need the package timm (`pip install "ni-platform[inception]"`); the architecture of
    the Inception-v2 paper's best network is the one that timm calls inception_v3.
    """

    reader: ClassVar[type[Reader]] = ImageReader
    crops: ClassVar[bool] = True
    heavy: ClassVar[bool] = True

    architecture: Literal[
        "vgg16", "vgg19", "vgg16_bn", "vgg19_bn", "resnet18", "resnet50", "resnet101",
        "inception_v3", "inception_v4", "efficientnet_lite0", "table3",
    ] = "vgg19"  # fmt: skip
    weights: str | None = None
    """A file or folder with torchvision's state dict (VGG), a hub id or folder (ResNet, such as
    microsoft/resnet-50), `efficientnet-lite0`, or a file with timm's state dict; None: random."""
    blank: bool = False
    """Pictures are not read but replaced by zeros (Table 7, "M2FN w/o image")."""
    input: ImageInput = field(default_factory=ImageInput)

    def __post_init__(self) -> None:
        stride = self.stride
        if self.input.size is None or self.input.size % stride:
            raise ConfigError(
                f"M2FN needs pictures of one size that {stride} divides, but image.input.size is "
                f"{self.input.size}. Set it to 224, for instance."
            )
        if self.architecture == "table3" and self.weights is not None:
            raise ConfigError(
                "NI Table 3's network has no pretrained weights: set weights to null."
            )

    @property
    def pretrained(self) -> bool:
        """As `ModalityConfig.pretrained`."""
        return self.weights is not None

    @property
    def reading(self) -> ImageInput:
        """As `EncoderConfig.reading`."""
        return self.input

    def build(self, size: InputSize, skeleton: Path | None = None) -> ImageNetwork:
        """As `EncoderConfig.build`."""
        return image_network(self, pretrained=skeleton is None)

    @property
    def stride(self) -> int:
        """Pixels per location of the feature map."""
        return _STRIDES.get(self.architecture, 32)

    @property
    def fuses(self) -> bool:
        """Whether there are places for low-level fusion, and a map of input.size / stride."""
        return self.architecture not in _TIMM


class ImageNetwork(nn.Module):
    """uint8 RGB [B, 3, H, W] to a feature map [B, width, H', W'], `parts` one after the other.

    `points` are the parts after which the map can be changed, `channels` how many it has there.
    """

    mean_311: Tensor
    std_311: Tensor

    def __init__(
        self,
        network: nn.Module,
        parts: Sequence[nn.Module],
        points: Sequence[nn.Module],
        channels: Sequence[int],
        width: int,
        pixels: tuple[tuple[float, ...], tuple[float, ...]] = _IMAGENET,
    ) -> None:
        super().__init__()
        self.network = network
        self.channels = tuple(channels)
        self.width = width
        # Lists, as the parts are modules of `network` already.
        self._parts = list(parts)
        self._points = [self._parts.index(point) for point in points]
        mean, std = pixels
        self.register_buffer("mean_311", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std_311", torch.tensor(std).view(3, 1, 1))

    def forward(
        self,
        image_B3HW: Tensor,
        present_B: Tensor,
        changes: Mapping[int, Change],
    ) -> Tensor:
        """Feature map; `changes` are applied at the blocks (0 to 4) that they are given for.

        A missing picture is one whose standardised pixels are zero.
        """
        x = (image_B3HW.float() - self.mean_311) / self.std_311
        x = x * present_B.view(-1, 1, 1, 1)
        change_after = {self._points[block]: change for block, change in changes.items()}
        for index, part in enumerate(self._parts):
            x = part(x)
            if index in change_after:
                x = change_after[index](x)
        return x


def image_network(config: ImageNetworkConfig, *, pretrained: bool) -> ImageNetwork:
    """Build the network, with the weights that the config names if `pretrained`.

    Raises:
        WeightsError: the weights cannot be reached, or are of another network.
    """
    name, weights = config.architecture, config.weights if pretrained else None
    if name == "table3":
        return _table3()
    if name == "efficientnet_lite0":
        return _efficientnet(weights)
    if name in _RESNETS:
        return _resnet(name, weights)
    if name in _TIMM:
        network, width, pixels = timm_network(name, weights)
        return ImageNetwork(convert_batch_norm(network), [network], [], [], width, pixels)
    vgg = VGG(16 if name.startswith("vgg16") else 19, batch_norm=name.endswith("_bn"))
    if weights is not None:
        load_torch_state(vgg, weights)
    parts = list(vgg.features)
    points = [parts[index] for index in vgg.points]
    return ImageNetwork(vgg, parts, points, (64, 128, 256, 512, 512), 512)


def _table3() -> ImageNetwork:
    network = PreactivationResNet()
    blocks = list(network.blocks)
    parts = [network.stem, nn.ReLU(), *blocks, network.norm, nn.ReLU()]
    width = network.width
    return ImageNetwork(network, parts, [network.stem, *blocks], (width,) * BLOCKS, width, _CENTRED)


def _efficientnet(weights: str | None) -> ImageNetwork:
    network = EfficientNetLite0()
    if weights is not None:
        load_efficientnet_lite0(network, weights)
    blocks = list(network.blocks)
    parts = [
        network.conv_stem, network.bn0, nn.ReLU6(), *blocks,
        network.conv_head, network.bn1, nn.ReLU6(),
    ]  # fmt: skip
    points = [network.bn0, *(blocks[index] for index in _EFFICIENTNET_STAGE_ENDS)]
    return ImageNetwork(
        network, parts, points, (32, 24, 40, 80, 192), network.width, ((127.0,) * 3, (128.0,) * 3)
    )


def _resnet(name: str, weights: str | None) -> ImageNetwork:
    from transformers import ResNetConfig, ResNetModel  # takes seconds

    layer, widths, depths = _RESNETS[name]
    config = ResNetConfig(
        layer_type=layer, hidden_sizes=list(widths), depths=list(depths), embedding_size=64
    )
    network: Any = ResNetModel(config)
    if weights is not None:
        load_transformers_state(network, weights)
    network = convert_batch_norm(network)
    stem = network.embedder.embedder
    stages = [list(stage.layers) for stage in network.encoder.stages]
    parts = [stem, network.embedder.pooler, *(part for stage in stages for part in stage)]
    points = [stem, *(stage[0] for stage in stages)]
    return ImageNetwork(network, parts, points, (64, *widths), widths[-1])

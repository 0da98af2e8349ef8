"""Large pictures through NI Table 3's network, tile by tile: memory does not grow with the picture.

The last map of a picture is that of its tiles side by side, each read with the pixels around it
that its locations depend on, so nothing is approximated. Batch normalization must be in evaluation
mode: while it is trained, its statistics tie all locations together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ni_platform.models.encoders.preactivation_resnet import PreactivationResNet
from ni_platform.narrowing import of_kind

LARGE = 500_000
"""Pixels of a picture above which it is taken tile by tile: untiled, gradients need 3 KB each."""
SIDE = 512
"""Side in pixels of what a tile contributes; it reads `ReceptiveField.before` and `after` more."""


@dataclass(frozen=True)
class ReceptiveField:
    """The pixels that a location of the last map reads, along one side of a picture.

    Location i reads pixels i * stride - before to i * stride + after, both included.
    """

    stride: int
    before: int
    after: int

    @classmethod
    def of(cls, network: PreactivationResNet, blocks: int | None = None) -> ReceptiveField:
        """Follow the network's 3x3 convolutions; shortcuts read less than the blocks they skip.

        With `blocks`, of the map after the first few residual blocks.
        """
        stride, before, after = 1, 0, 0
        for convolution in _convolutions(network)[: None if blocks is None else 1 + 2 * blocks]:
            padding = of_kind(convolution.padding[0], int)  # a number, not "same"
            reach = (convolution.kernel_size[0] - 1) * convolution.dilation[0]
            before += padding * stride
            after += (reach - padding) * stride
            stride *= convolution.stride[0]
        return cls(stride, before, after)


@dataclass(frozen=True)
class Tile:
    """A part of a picture's last map, and what is read to compute it; each a pair of slices."""

    pixels: tuple[slice, slice]
    """What is read: rows and columns of the picture."""
    owned: tuple[slice, slice]
    """Its locations in the picture's map; every location belongs to one tile."""
    inner: tuple[slice, slice]
    """The same locations in the map of `pixels`; those around them lack neighbours."""

    def crop(self, image_3HW: Tensor) -> Tensor:
        """What is read of a picture, as floats [1, 3, h, w], a batch of one."""
        pixels_13hw = image_3HW[:, self.pixels[0], self.pixels[1]].unsqueeze(0)
        # The layout that convolutions like: two thirds of the other's time.
        return pixels_13hw.to(torch.float32, memory_format=torch.channels_last)

    def cut(self, features: Tensor) -> Tensor:
        """The tile's own locations of the map [..., h', w'] of what is read."""
        return features[..., self.inner[0], self.inner[1]]


def can_tile(network: nn.Module) -> bool:
    """Whether the network's map can be computed tile by tile: Table 3's, not being trained.

    The others pad by the size of what they read, or let all locations see each other.
    """
    return isinstance(network, PreactivationResNet) and not network.training


def is_large(height: int, width: int) -> bool:
    """Whether a picture of this many pixels is taken tile by tile."""
    return height * width > LARGE


def map_size(network: PreactivationResNet, height: int, width: int) -> tuple[int, int]:
    """Height and width of a picture's last map."""
    stride = ReceptiveField.of(network).stride
    return -(-height // stride), -(-width // stride)


def tiles_of(network: PreactivationResNet, height: int, width: int) -> list[Tile]:
    """Cut a picture into tiles whose own locations cover its last map, row by row."""
    field = ReceptiveField.of(network)
    return [
        Tile(*zip(down, across))
        for down in _spans(height, field)
        for across in _spans(width, field)
    ]


def _spans(length: int, field: ReceptiveField) -> list[tuple[slice, slice, slice]]:
    """Along one side, the spans of tiles that share the locations of the last map out."""
    locations = -(-length // field.stride)
    at_once = max(1, SIDE // field.stride)
    return [
        _span(first, min(first + at_once, locations) - 1, length, field)
        for first in range(0, locations, at_once)
    ]


def _span(first: int, last: int, length: int, field: ReceptiveField) -> tuple[slice, slice, slice]:
    """Of locations `first` to `last`: pixels, locations in the whole map and in the tile's.

    A picture's own border is padded by the network, as ever: there a tile ends with the picture.
    """
    # A tile begins on a multiple of the stride, so that strided convolutions read the same pixels.
    margin = -(-field.before // field.stride) * field.stride
    start = max(0, first * field.stride - margin)
    stop = min(length, last * field.stride + field.after + 1)
    skipped = start // field.stride
    return (
        slice(start, stop),
        slice(first, last + 1),
        slice(first - skipped, last + 1 - skipped),
    )


def _convolutions(network: PreactivationResNet) -> list[nn.Conv2d]:
    """Those on the longest way from a pixel to a location, in order."""
    found = [network.stem]
    for block in network.blocks:
        found += [block.conv1, block.conv2]  # type: ignore[list-item]
    return found


def location_sum(features_BCHW: Tensor) -> Tensor:
    """Sum of a map over its locations [B, C], in double precision: large maps have many."""
    return features_BCHW.sum((2, 3), dtype=torch.float64)

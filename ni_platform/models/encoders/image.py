"""An image network with the pixels that it expects; pictures of any sizes, also large ones."""

from __future__ import annotations

import inspect
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ni_platform.errors import ConfigError
from ni_platform.models.encoders.preactivation_resnet import PreactivationResNet
from ni_platform.models.encoders.tiling import can_tile, is_large, location_sum, tiles_of
from ni_platform.models.normalization import convert_batch_norm, has_batch_norm
from ni_platform.narrowing import of_kind

_PIXELS_AT_ONCE = 4_000_000
"""Largest part of a list of pictures that is encoded together, beyond a first picture."""

_EMPTY_SIDE = 64
"""Side of the pictures that stand for a batch without any."""


class ImageEncoder(nn.Module):
    """uint8 RGB [B, 3, H, W], or a list of B pictures [3, H, W] of any sizes, to [B, width]."""

    mean_311: Tensor
    std_311: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.width: int = network.width  # type: ignore[assignment]
        self.blocks: tuple[int, ...] = getattr(network, "widths", (self.width,))
        """Widths of the parts that stand side by side."""
        self.register_buffer("mean_311", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std_311", torch.tensor(std).view(3, 1, 1))

    def normalize(self, image_B3HW: Tensor) -> Tensor:
        """Standardise pixels of [0, 255] as the network expects them."""
        return (image_B3HW.float() - self.mean_311) / self.std_311

    def forward(self, images: Tensor | list[Tensor]) -> Tensor:
        """Embed B pictures; equal sizes are encoded together.

        Raises:
            ConfigError: pictures of several sizes while batch normalization is being trained:
                its statistics would depend on which sizes happen to meet in a batch.
        """
        if isinstance(images, list):
            return self._encode_list(images)
        if len(images):
            return self._encode(images)
        return self._encode_nothing()

    def _encode(self, image_B3HW: Tensor) -> Tensor:
        large = len(image_B3HW) > 0 and is_large(*image_B3HW.shape[2:])
        if large and can_tile(self.network) and not self._has_gradients(image_B3HW):
            return torch.cat([self._encode_tiles(image_3HW) for image_3HW in image_B3HW])
        embedding: Tensor = self.network(self.normalize(image_B3HW))
        return embedding

    def _has_gradients(self, image_B3HW: Tensor) -> bool:
        """Whether a backward pass may follow: it would hold on to the maps of all tiles at once.

        `attribution.tiles` takes gradients of one tile after the other.
        """
        wanted = (image_B3HW, *self.network.parameters())
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in wanted)

    def _encode_tiles(self, image_3HW: Tensor) -> Tensor:
        """[1, width] as the untiled network gives it, but for rounding."""
        network, locations = of_kind(self.network, PreactivationResNet), 0
        total_1C = image_3HW.new_zeros(1, self.width, dtype=torch.float64)
        for tile in tiles_of(network, *image_3HW.shape[1:]):
            features_1Chw = tile.cut(network.features(self.normalize(tile.crop(image_3HW))))
            total_1C += location_sum(features_1Chw)
            locations += features_1Chw.shape[2] * features_1Chw.shape[3]
        return (total_1C / locations).to(features_1Chw.dtype)

    def _encode_nothing(self) -> Tensor:
        """[0, width] that still depends on every weight, so that workers stay in step."""
        shape = (3, _EMPTY_SIDE, _EMPTY_SIDE)
        if has_batch_norm(self.network):  # takes part in its collective calls
            return self._encode(self.mean_311.new_zeros(0, *shape))
        return self._encode(self.mean_311.new_zeros(1, *shape))[:0]

    def _encode_list(self, images: list[Tensor]) -> Tensor:
        if not images:
            return self._encode_nothing()
        positions_of_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for position, image in enumerate(images):
            positions_of_shape[image.shape].append(position)
        trains_statistics = self.network.training and has_batch_norm(self.network)
        if len(positions_of_shape) > 1 and trains_statistics:
            sizes = ", ".join(f"{shape[2]}x{shape[1]}" for shape in list(positions_of_shape)[:3])
            raise ConfigError(
                "An image encoder with batch normalization trains on pictures of one size, but "
                f"a batch has {sizes}. Set image.input.size or training.image_crop, or freeze "
                "the image encoder."
            )
        order: list[int] = []
        embeddings: list[Tensor] = []
        for shape, positions in positions_of_shape.items():
            at_once = max(1, _PIXELS_AT_ONCE // (shape[1] * shape[2]))
            step = len(positions) if trains_statistics else at_once
            for start in range(0, len(positions), step):
                chunk = positions[start : start + step]
                order += chunk
                embeddings.append(self._encode(torch.stack([images[i] for i in chunk])))
        embedding_BW = torch.cat(embeddings)
        return embedding_BW[torch.tensor(order, device=embedding_BW.device).argsort()]

    def save_skeleton(self, folder: Path) -> None:
        """As `HasSkeleton.save_skeleton`; only transformers' networks need it."""
        if isinstance(self.network, TransformersImageNetwork):
            self.network.config.save_pretrained(folder)


class TransformersImageNetwork(nn.Module):
    """A transformers vision backbone whose last map or sequence is averaged over space.

    With `layers`, from 1, those of these layers are, and stand side by side.
    """

    def __init__(self, backbone: Any, layers: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.config = backbone.config
        self.layers = layers
        self.backbone = convert_batch_norm(backbone)
        parameters = inspect.signature(backbone.forward).parameters
        self.last_map = nn.Identity()  # a name for the map, for GradCAM
        self._resizes_positions = "interpolate_pos_encoding" in parameters
        self.widths = self._probe()
        """Of the parts that stand side by side."""
        self.width = sum(self.widths)

    def _probe(self) -> tuple[int, ...]:
        """Find the widths; weights that nothing is read from are not trained.

        Raises:
            ConfigError: the network has fewer layers than are read.
        """
        side = getattr(self.config, "image_size", None)
        side = side if isinstance(side, int) else 224
        training = self.backbone.training
        read = self.eval()._read(torch.zeros(1, 3, side, side))
        self.backbone.train(training)
        if self.layers:
            weights = list(self.parameters())
            total = torch.cat(read, dim=1).sum()
            used = torch.autograd.grad(total, weights, allow_unused=True)
            for weight, gradient in zip(weights, used):
                weight.requires_grad_(gradient is not None)
        return tuple(part.shape[1] for part in read)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Embed [B, 3, H, W] as [B, width]."""
        return torch.cat(self._read(x_B3HW), dim=1)

    def _read(self, x_B3HW: Tensor) -> list[Tensor]:
        extra = {"interpolate_pos_encoding": True} if self._resizes_positions else {}
        outputs = self.backbone(
            pixel_values=x_B3HW, output_hidden_states=bool(self.layers), **extra
        )
        if not self.layers:
            return [_mean_over_space(self.last_map(outputs.last_hidden_state))]
        states = outputs.hidden_states
        if max(self.layers) >= len(states):
            raise ConfigError(
                f"image.layers must be at most {len(states) - 1} for this network, but are "
                f"{self.layers}"
            )
        # All that is read follows from the first of them, so its gradient is that of all.
        first = min(self.layers)
        read = {layer: states[layer] for layer in self.layers}
        read[first] = self.last_map(states[first])
        return [_mean_over_space(read[layer]) for layer in self.layers]


def _mean_over_space(hidden: Tensor) -> Tensor:
    mean: Tensor = hidden.mean((2, 3)) if hidden.dim() == 4 else hidden.mean(1)
    return mean

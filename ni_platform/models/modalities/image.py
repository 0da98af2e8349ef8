"""Pictures: NI Table 3's network, EfficientNet-Lite0, any transformers vision backbone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from ni_platform.data.batch import ModalityInputs
from ni_platform.data.images import ImageInput, decode, pixel_count
from ni_platform.data.reading.labels import is_null
from ni_platform.errors import ConfigError
from ni_platform.models.encoders.efficientnet_lite import BLOCKS, EfficientNetLite0
from ni_platform.models.encoders.image import ImageEncoder, TransformersImageNetwork
from ni_platform.models.encoders.preactivation_resnet import PreactivationResNet
from ni_platform.models.encoders.pretrained import (
    depth_of,
    load_backbone,
    load_efficientnet_lite0,
    pixel_normalization,
    restore_backbone,
)
from ni_platform.models.modalities.modality import (
    ColumnReader,
    EncoderConfig,
    InputSize,
    Layers,
    Reader,
    check_layers,
    layer_options,
    modality_inputs,
    named_layers,
)
from ni_platform.narrowing import given

_PLACEHOLDER_SIDE = 32
"""Side of the black picture that stands for a missing one of native size."""


@dataclass(frozen=True, kw_only=True)
class ImageReader(ColumnReader):
    """Pictures to uint8 RGB [B, 3, H, W], or to a list of B tensors [3, H, W] of native size."""

    kept: ClassVar[bool] = False
    role: ClassVar[Literal["image", "domain"]] = "image"
    column: str
    """Its cells are paths, s3:// URIs or encoded bytes."""
    input: ImageInput = field(default_factory=ImageInput)

    @classmethod
    def of(cls, column: str, config: Any) -> Self:
        """As `ColumnReader.of`."""
        return cls(column=column, input=config.input)

    def read(
        self,
        frame: pd.DataFrame,
        *,
        crop: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> ModalityInputs:
        """As `Reader.read`."""
        size = self.input.size
        if crop is not None and size is not None and crop > size:
            raise ConfigError(
                f"image_crop must be at most image.input.size = {size}, but is {crop}. "
                "Lower it, or set image.input.size to None to cut from pictures of native size."
            )
        cells = frame[self.column]
        present = [not is_null(cell) for cell in cells]
        pictures = [self._picture(cell, crop, rng) for cell in cells]
        image_B3HW: Tensor | list[Tensor]
        if size is None and crop is None:
            image_B3HW = [torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures]
        else:
            # Height, width, channels in memory: the channels-last layout that convolutions like.
            image_B3HW = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        return modality_inputs(torch.tensor(present), image_B3HW)

    def native_pixels(self, frame: pd.DataFrame) -> list[int]:
        """As `Reader.native_pixels`.

        Raises:
            ImageError: a picture cannot be read.
        """
        if self.input.size is not None:
            return [0] * len(frame)
        return [0 if is_null(cell) else pixel_count(cell) for cell in frame[self.column]]

    def _picture(self, cell: Any, crop: int | None, rng: np.random.Generator | None) -> np.ndarray:
        """uint8 [H, W, 3]; black for a null cell."""
        if is_null(cell):
            side = crop or self.input.size or _PLACEHOLDER_SIDE
            return np.zeros((side, side, 3), dtype=np.uint8)
        picture = decode(cell, max_pixels=self.input.max_pixels)
        if self.input.size is not None:
            square = (self.input.size, self.input.size)
            # The gap lets Pillow shrink by a cheap integer factor first.
            picture = picture.resize(square, Image.Resampling.BICUBIC, reducing_gap=3.0)
        if crop is not None:
            picture = _cropped(picture, crop, rng)
        return np.array(picture, dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class ImageEncoderConfig(EncoderConfig):
    """Which network encodes pictures, where its weights come from, and how they are read."""

    reader: ClassVar[type[Reader]] = ImageReader
    crops: ClassVar[bool] = True
    heavy: ClassVar[bool] = True
    architecture: Literal["table3", "efficientnet_lite0", "transformers"] = "table3"
    weights: str | None = None
    """Hub id, folder, `package:NAME/PATH` or alias (see `encoders.pretrained`); None: random."""
    layers: Layers = ()
    """Layers whose maps, averaged over space, stand side by side: blocks of EfficientNet-Lite0,
    hidden states of transformers."""
    input: ImageInput = field(default_factory=ImageInput)

    def __post_init__(self) -> None:
        blocks = BLOCKS if self.architecture == "efficientnet_lite0" else None
        check_layers(self.layers, blocks, "image.layers")
        if self.layers and self.architecture == "table3":
            raise ConfigError(
                f"Table 3's image network is read at its end, but image.layers are {self.layers}. "
                "Leave them out, or set architecture to 'efficientnet_lite0' or 'transformers'."
            )
        if self.architecture == "transformers" and self.weights is None:
            raise ConfigError(
                "An image encoder of architecture 'transformers' needs weights: a hub id such as "
                "'microsoft/resnet-18' or a folder."
            )
        if self.architecture == "table3" and self.weights is not None:
            raise ConfigError(
                f"Table 3's image network has no pretrained weights, but weights is "
                f"{self.weights!r}. Set weights to None, or architecture to 'transformers'."
            )

    @property
    def pretrained(self) -> bool:
        """As `ModalityConfig.pretrained`."""
        return self.weights is not None

    @property
    def reading(self) -> ImageInput:
        """As `EncoderConfig.reading`."""
        return self.input

    @property
    def layer_options(self) -> tuple[tuple[int, ...], ...]:
        """As `ModalityConfig.layer_options`."""
        if self.layers != "auto":
            return ()
        efficientnet = self.architecture == "efficientnet_lite0"
        return layer_options(BLOCKS if efficientnet else depth_of(given(self.weights)))

    def build(self, size: InputSize, skeleton: Path | None = None) -> ImageEncoder:
        """As `EncoderConfig.build`.

        Raises:
            WeightsError: the weights cannot be reached; the message names the ways to get them.
        """
        layers = named_layers(self.layers, "image.layers")
        if self.architecture == "table3":
            return ImageEncoder(PreactivationResNet(), (127.5,) * 3, (127.5,) * 3)
        if self.architecture == "efficientnet_lite0":
            network = EfficientNetLite0(layers)
            if self.weights is not None and skeleton is None:
                load_efficientnet_lite0(network, self.weights)
            return ImageEncoder(network, (127.0,) * 3, (128.0,) * 3)
        if skeleton is not None:
            # The buffers of the pixel statistics are among the saved weights.
            backbone = restore_backbone(skeleton)
            restored = TransformersImageNetwork(backbone, layers)
            return ImageEncoder(restored, (0.0,) * 3, (1.0,) * 3)
        weights = given(self.weights)
        mean, std = pixel_normalization(weights)
        return ImageEncoder(TransformersImageNetwork(load_backbone(weights), layers), mean, std)


def _cropped(picture: Image.Image, side: int, rng: np.random.Generator | None) -> Image.Image:
    if min(picture.size) < side:
        scale = side / min(picture.size)
        larger = (math.ceil(picture.width * scale), math.ceil(picture.height * scale))
        picture = picture.resize(larger, Image.Resampling.BICUBIC)
    spare_x, spare_y = picture.width - side, picture.height - side
    if rng is None:
        left, top = spare_x // 2, spare_y // 2
    else:
        left, top = int(rng.integers(spare_x + 1)), int(rng.integers(spare_y + 1))
    return picture.crop((left, top, left + side, top + side))

"""M2FN: an image network that auxiliary attributes steer in up to four steps (Section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ni_platform.data.batch import Inputs
from ni_platform.errors import ConfigError
from ni_platform.models.initialization import own_stream
from ni_platform.models.m2fn.image_network import (
    BLOCKS,
    Change,
    ImageNetwork,
    ImageNetworkConfig,
)
from ni_platform.models.m2fn.steps import ConditionalBatchNorm, HighLevelFusion, SpatialAttention
from ni_platform.models.modalities.attributes import OneHotAttributes
from ni_platform.models.modalities.domain import HashedDomain
from ni_platform.models.modalities.modality import EncoderConfig, InputSize, ModelConfig, parts_of
from ni_platform.models.modalities.text import TextEncoderConfig
from ni_platform.models.neural_insights import build_encoder, embed, save_skeletons
from ni_platform.models.outputs import Buckets, output_layer, outputs_of
from ni_platform.narrowing import given, of_kind


@dataclass(frozen=True, kw_only=True)
class M2FNConfig(ModelConfig):
    """Which modules are there (Tables 6 and 7) and how wide they are (Section 7.1).

    text, domain and attributes are the auxiliary vector, the input step. Without any of them the
    other modules must be off, which leaves the image network alone. Where the high-level fusion is
    off, the auxiliary vector is concatenated before the last layer (Section 7.3). So the rivals of
    Tables 4 and 5 are configs of this network as well: NIMA and the plain networks have no
    auxiliary vector, "-cat" and M1FN have it and no module, "-LLF" has low-level fusion alone.
    """

    kind: Literal["m2fn"] = "m2fn"
    image: ImageNetworkConfig = field(default_factory=ImageNetworkConfig)
    text: TextEncoderConfig | None = None
    domain: HashedDomain | None = None
    attributes: OneHotAttributes | None = None
    low_level: tuple[bool, bool, bool, bool, bool] = (True, False, False, False, False)
    """Conditional batch normalization in each of the image network's five blocks (Table 5)."""
    low_level_width: int = 256
    attention: Literal["flattened", "per_location"] | None = "flattened"
    attention_width: int = 512
    high_level: bool = True
    high_level_width: int = 512
    pooling: Literal["flatten", "average"] = "flatten"
    """How the feature map becomes a vector: as VGG, or by its mean over space, as ResNet."""
    head: tuple[int, ...] = (4096, 4096)
    """Widths of the fully connected layers before the output; none, as ResNet, is possible."""
    dropout: float = 0.5
    """After each of them, as in VGG; without any, before the output."""
    output: Literal["rate", "distribution"] = "rate"
    """A success rate, or a distribution over the levels of ratings or ten buckets of the rate."""

    def __post_init__(self) -> None:
        if self.image is None:
            raise ConfigError(
                "M2FN reads a picture, but there is none; declare an image column, or train "
                "another model."
            )
        on = [name for name in ("attention", "high_level") if getattr(self, name)]
        on += ["low_level"] if any(self.low_level) else []
        if on and not self.auxiliary:
            raise ConfigError(
                f"The modules {', '.join(on)} fuse auxiliary attributes, but text, domain and "
                "attributes are all null; switch one of these on, or the modules off."
            )
        if not self.image.fuses and (
            any(self.low_level) or self.attention or self.pooling == "flatten"
        ):
            raise ConfigError(
                f"{self.image.architecture} has neither places for low-level fusion nor a map of "
                f"known size: set model.low_level to {[False] * BLOCKS}, model.attention to null "
                "and model.pooling to average, or take a VGG or ResNet."
            )
        widths = (self.low_level_width, self.attention_width, self.high_level_width, *self.head)
        if min(widths) < 1:
            raise ConfigError(f"Widths must be positive, but got {widths}.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), but is {self.dropout}.")

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """Modalities that make up the auxiliary vector, in its order: all but the picture."""
        return tuple(name for name, part in parts_of(self).items() if part is not self.image)

    @property
    def parts(self) -> dict[str, EncoderConfig]:
        """The modalities that are read."""
        found = parts_of(self)
        return {n: part for n, part in found.items() if n in self.auxiliary or not self.image.blank}

    @property
    def conditioned(self) -> tuple[str, ...]:
        """Modalities whose encoder also reads the others: a picture in conditional batch norm."""
        return tuple(n for n in self.modalities if n not in self.auxiliary and any(self.low_level))


class M2FN(nn.Module):
    """Picture and auxiliary attributes of B contents to logits [B] of their success rates."""

    def __init__(
        self,
        config: M2FNConfig,
        sizes: Mapping[str, InputSize],
        *,
        skeleton: Path | None = None,
        initial_rate: float = 0.5,
        buckets: Buckets | None = None,
        encoded: Mapping[str, int] | None = None,
    ) -> None:
        """Build the network; arguments as those of `NeuralInsights`.

        The width of an encoded image is the number C of channels of its map.
        """
        super().__init__()
        self.config = config
        self.initial_rate = initial_rate
        self.buckets = buckets
        self.encoders = nn.ModuleDict()
        for name, part in parts_of(config).items():
            size = sizes.get(name, InputSize())
            self.encoders[name] = build_encoder(name, part, size, skeleton, encoded or {})
        image: Any = self.encoders["image"]
        aux: int = sum(self.encoders[name].width for name in config.auxiliary)  # type: ignore[misc]
        self.aux_width = aux
        side = given(config.image.input.size) // config.image.stride
        locations = side**2
        self.low_level = nn.ModuleDict()
        for block in (block for block, on in enumerate(config.low_level) if on):
            if not isinstance(image, ImageNetwork):
                raise ValueError("low-level fusion happens inside the image network: encode none")
            with own_stream(f"low_level.{block}"):
                self.low_level[str(block)] = ConditionalBatchNorm(
                    image.channels[block], aux, config.low_level_width
                )
        self.attention: SpatialAttention | None = None
        if config.attention is not None:
            with own_stream("attention"):
                self.attention = SpatialAttention(
                    image.width, locations, aux, config.attention_width, config.attention
                )
        self.last_map = nn.Identity()  # a name for the map, for GradCAM
        self.high_level: HighLevelFusion | None = None
        width = image.width * (locations if config.pooling == "flatten" else 1)
        if config.high_level:
            with own_stream("high_level"):
                self.high_level = HighLevelFusion(width, aux, config.high_level_width)
            width = config.high_level_width
        with own_stream("head"):
            self.head = _head(width, config)
        width = config.head[-1] if config.head else width
        width += 0 if config.high_level else aux
        with own_stream("output"):
            self.output = output_layer(width, initial_rate, buckets)

    def encode(self, name: str, inputs: Inputs) -> Tensor:
        """Output of one encoder: an embedding [B, width], or a map [B, C, H', W'] of pictures.

        Of the image network it is the map without low-level fusion.
        """
        if name == "image":
            return self._map(inputs, {})
        return embed(name, self.encoders[name], inputs)

    def auxiliary(self, inputs: Inputs) -> Tensor | None:
        """The auxiliary vectors [B, X], zeros where a modality is missing; None if there are none.

        M2FN Table 1's one-hot attributes and text embeddings; a hashed domain beyond the paper.
        """
        parts = [self.encode(name, inputs) for name in self.config.auxiliary]
        return torch.cat([part.float() for part in parts], dim=1) if parts else None

    def features(self, inputs: Inputs, aux_BX: Tensor | None) -> Tensor:
        """The last feature map [B, C, H', W'], low-level fusion and attention applied.

        A missing picture is zeros, as in Table 7's row without image.
        """
        changes = {
            int(block): partial(norm, aux_BX=aux_BX) for block, norm in self.low_level.items()
        }
        x_BCHW = self._map(inputs, changes)
        if self.attention is not None:
            x_BCHW = self.attention(x_BCHW, aux_BX)
        last_BCHW: Tensor = self.last_map(x_BCHW)
        return last_BCHW

    def _map(self, inputs: Inputs, changes: Mapping[int, Change]) -> Tensor:
        if "image" in inputs.encoded and not changes:
            return inputs.encoded["image"]
        pixels, present_B = self._pictures(inputs)
        x_BCHW: Tensor = self.encoders["image"](pixels, present_B, changes)
        return x_BCHW

    def _pictures(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        if self.config.image.blank:
            side, device = given(self.config.image.input.size), self.output.weight.device
            nothing = torch.zeros(inputs.size, 3, side, side, device=device)
            return nothing, nothing[:, 0, 0, 0]
        read = inputs.modalities.get("image")
        if read is None or not isinstance(read.tensors[0], Tensor):
            raise ValueError("M2FN reads pictures of one size, but the inputs do not hold them")
        return read.tensors[0], read.present_B

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits [B] of the success rates, or [B, K] over `buckets`."""
        aux_BX = self.auxiliary(inputs)
        x_BCHW = self.features(inputs, aux_BX)
        x_BW = x_BCHW.flatten(1) if self.config.pooling == "flatten" else x_BCHW.mean((2, 3))
        if self.high_level is not None:
            x_BW = self.high_level(x_BW, aux_BX)
        x_BW = self.head(x_BW)
        if aux_BX is not None and self.high_level is None:
            x_BW = torch.cat([x_BW, aux_BX.to(x_BW.dtype)], dim=1)
        return outputs_of(self.output, x_BW)

    def stage(self, name: str) -> nn.Module:
        """What a training stage trains: "fused", the whole network; M2FN is trained at once."""
        if name != "fused":
            raise ConfigError(
                f"M2FN is trained as a whole, but pretraining.{name} is set. Set it to null."
            )
        return self

    def save_skeleton(self, folder: Path) -> None:
        """Write what rebuilds the encoders without their pretrained sources."""
        save_skeletons(self.encoders, folder)

    def parameter_table(self) -> list[tuple[str, int]]:
        """Layer and number of trained parameters, as the rows of Table 3."""
        rows: list[tuple[str, nn.Module | None]] = []
        for block, module in self.low_level.items():
            norm = of_kind(module, ConditionalBatchNorm)
            rows += [(f"CBN {block} scale", norm.scale), (f"CBN {block} shift", norm.shift)]
        rows.append(
            (f"{self.config.image.architecture} without classifier", self.encoders["image"])
        )
        rows.append(("attention", self.attention))
        if self.high_level is not None:
            rows.append(("high-level fusion, image", self.high_level.image))
            rows.append(("high-level fusion, aux", self.high_level.aux))
        rows += [("fully connected layers", self.head), ("output", self.output)]
        return [(name, _count(module)) for name, module in rows if module is not None]


def _head(width: int, config: M2FNConfig) -> nn.Sequential:
    """The fully connected layers before the output; without any, dropout alone."""
    layers: list[nn.Module] = []
    for width_out in config.head:
        layers += [nn.Linear(width, width_out), nn.ReLU(), nn.Dropout(config.dropout)]
        width = width_out
    return nn.Sequential(*(layers or [nn.Dropout(config.dropout)]))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

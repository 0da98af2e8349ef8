"""The multimodal success-rate regressor of Neural Insights (NI Section 3, Table 3).

Each modality is encoded on its own, the embeddings are concatenated (NI Eq. 3) and a
fully-connected network turns them into the logit of the success rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ni_platform.data.batch import Inputs
from ni_platform.errors import ConfigError
from ni_platform.models.encoders.mlp import MLP, MLPConfig
from ni_platform.models.encoders.stand_in import StandIn
from ni_platform.models.initialization import own_stream
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.modalities.domain import DomainEncoderConfig
from ni_platform.models.modalities.embedding import EmbeddingEncoderConfig
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.modality import (
    EncoderConfig,
    HasSkeleton,
    InputSize,
    ModelConfig,
)
from ni_platform.models.modalities.text import TextEncoderConfig
from ni_platform.models.modalities.wording import WordingEncoderConfig
from ni_platform.models.outputs import Buckets, output_layer, outputs_of


@dataclass(frozen=True, kw_only=True)
class NeuralInsightsConfig(ModelConfig):
    """Which modalities are read, how each is encoded, and how they are fused.

    Embeddings are concatenated in the order of the fields. A modality whose config is None is not
    read. MLP3 of Table 3 is
    `MLPConfig(hidden=(512, 1024, 1024))`, followed by the output layer; None leaves the output
    layer alone, which makes a single-modality network of NI Table 1.
    """

    kind: Literal["neural_insights"] = "neural_insights"
    image: ImageEncoderConfig | None = None
    text: TextEncoderConfig | None = None
    wording: WordingEncoderConfig | None = None
    domain: DomainEncoderConfig | None = None
    embedding: EmbeddingEncoderConfig | None = None
    attributes: AttributesEncoderConfig | None = None
    regression: MLPConfig | None = None
    output: Literal["rate", "distribution"] = "rate"
    """A success rate, or a distribution over ten buckets of it (or over those of ratings)."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError("A model reads at least one modality, but all are null: set one.")


class NeuralInsights(nn.Module):
    """Image, text, domain and attributes of B contents to logits [B] of their success rates."""

    def __init__(
        self,
        config: NeuralInsightsConfig,
        sizes: Mapping[str, InputSize],
        *,
        skeleton: Path | None = None,
        initial_rate: float = 0.5,
        buckets: Buckets | None = None,
        encoded: Mapping[str, int] | None = None,
    ) -> None:
        """Build the network, from random numbers and pretrained weights.

        Random numbers of a part follow from torch's seed and its name alone.

        Args:
            config: what to build.
            sizes: what encoders must know of their inputs, by modality.
            skeleton: folder written by `save_skeleton`; no pretrained weights are looked for.
            initial_rate: success rate that output layers start from, in (0, 1).
            buckets: what the output is a distribution over, if it is one.
            encoded: modalities whose encoders' outputs come with the inputs, and how wide they
                are; these encoders are not built.
        """
        super().__init__()
        self.config = config
        self.initial_rate = initial_rate
        self.buckets = buckets
        self.encoders = nn.ModuleDict()
        for name, part in config.parts.items():
            size = sizes.get(name, InputSize())
            self.encoders[name] = build_encoder(name, part, size, skeleton, encoded or {})
        width = sum(encoder.width for encoder in self.encoders.values())  # type: ignore[misc]
        self.regression: nn.Module = nn.Identity()
        if config.regression is not None:
            with own_stream("regression"):
                self.regression = MLP(width, config.regression)
            width = config.regression.hidden[-1]
        with own_stream("output"):
            self.output = output_layer(width, initial_rate, buckets)

    def encode(self, name: str, inputs: Inputs) -> Tensor:
        """Embeddings [B, width] of one modality; zeros for a missing one."""
        return embed(name, self.encoders[name], inputs)

    def embedding(self, inputs: Inputs) -> Tensor:
        """Concatenated embeddings [B, sum of widths]; zeros for a missing modality."""
        return torch.cat([self.encode(name, inputs) for name in self.encoders], dim=1)

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits [B] of the success rates (the argument of NI Eq. 4's sigmoid), or [B, K]."""
        return outputs_of(self.output, self.regression(self.embedding(inputs)))

    def stage(self, name: str) -> nn.Module:
        """What a training stage trains.

        "fused" is the whole network. The name of a modality is its encoder, shared with this
        network, under a new output layer (NI Section 3's head for pretraining); its state dict
        names the encoder's weights as this network's does.
        """
        if name == "fused":
            return self
        if name not in self.encoders:
            known = ", ".join([*self.encoders, "fused"])
            raise ConfigError(f"This model has no stage {name!r}. It has: {known}.")
        return SingleModality(name, self.encoders[name], self.initial_rate, self.buckets)

    def parameter_table(self) -> list[tuple[str, int]]:
        """Part and number of its parameters, as the networks of Table 3."""
        parts = [*self.encoders.items(), ("regression", self.regression), ("output", self.output)]
        return [(name, sum(p.numel() for p in part.parameters())) for name, part in parts]

    def save_skeleton(self, folder: Path) -> None:
        """Write what rebuilds the encoders without their pretrained sources."""
        save_skeletons(self.encoders, folder)


class SingleModality(nn.Module):
    """One encoder with its own output layer, as it is pretrained (NI Section 3)."""

    def __init__(
        self, name: str, encoder: nn.Module, initial_rate: float, buckets: Buckets | None
    ) -> None:
        super().__init__()
        self.name = name
        self.buckets = buckets
        self.encoders = nn.ModuleDict({name: encoder})
        self.head = output_layer(encoder.width, initial_rate, buckets)  # type: ignore[arg-type]

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits as those of the whole network, from this modality alone."""
        return outputs_of(self.head, embed(self.name, self.encoders[self.name], inputs))


def embed(name: str, encoder: nn.Module, inputs: Inputs) -> Tensor:
    """Embeddings [B, width] of one modality; only rows that have it are encoded.

    Those that come with the inputs are taken as they are. Rows without the modality are zero
    (NI Section 6). A batch without any row still runs the encoder on zero
    rows, so that all workers of a distributed run make the same collective calls.
    """
    if name in inputs.encoded:
        return inputs.encoded[name]
    if name not in inputs.modalities:
        raise ValueError(f"the model reads the modality {name!r}, but the inputs do not hold it")
    read = inputs.modalities[name]
    if read.complete:
        embedding: Tensor = encoder(*read.tensors)
        return embedding
    rows = read.present_B.nonzero().squeeze(1)
    encoded = encoder(*[take(tensor, rows) for tensor in read.tensors])
    return encoded.new_zeros(inputs.size, encoded.shape[1]).index_put((rows,), encoded)


def take(values: Tensor | list[Tensor], rows: Tensor) -> Tensor | list[Tensor]:
    """Some rows of what an encoder reads."""
    if isinstance(values, list):
        return [values[row] for row in rows.tolist()]
    return values[rows]


def build_encoder(
    name: str,
    part: EncoderConfig,
    size: InputSize,
    skeleton: Path | None,
    encoded: Mapping[str, int],
) -> nn.Module:
    """One modality's encoder, drawn from its own random numbers; arguments as the network's."""
    if name in encoded:
        return StandIn(encoded[name])
    with own_stream(f"encoders.{name}"):
        return part.build(size, None if skeleton is None else skeleton / name)


def save_skeletons(encoders: nn.ModuleDict, folder: Path) -> None:
    """Write what rebuilds encoders without their pretrained sources."""
    for name, encoder in encoders.items():
        if isinstance(encoder, HasSkeleton):
            encoder.save_skeleton(folder / name)

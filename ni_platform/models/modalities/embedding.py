"""Embeddings that a user brings, such as CLIP's of pictures: a network of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ni_platform.data.manifest import Columns
from ni_platform.models.encoders.mlp import MLP, MLPConfig
from ni_platform.models.modalities.attributes import AttributesReader
from ni_platform.models.modalities.modality import AsItIsConfig, EncoderConfig, InputSize, Reader


@dataclass(frozen=True, kw_only=True)
class EmbeddingReader(AttributesReader):
    """Vector columns to float32 [B, X], side by side, each standardised by one scale.

    Where a model reads them, they are not attributes as well.
    """

    @classmethod
    def declared(cls, columns: Columns) -> tuple[str, ...]:
        """As `Reader.declared`."""
        return columns.vector


@dataclass(frozen=True, kw_only=True)
class EmbeddingEncoderConfig(EncoderConfig):
    """How vector columns are encoded apart from the attributes."""

    reader: ClassVar[type[Reader]] = EmbeddingReader
    mlp: MLPConfig = field(default_factory=MLPConfig)

    def build(self, size: InputSize, skeleton: Path | None = None) -> MLP:
        """As `EncoderConfig.build`."""
        return MLP(size.width, self.mlp)


@dataclass(frozen=True, kw_only=True)
class Vectors(AsItIsConfig):
    """Vector columns enter as they are read."""

    reader: ClassVar[type[Reader]] = EmbeddingReader

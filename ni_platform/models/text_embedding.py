"""Embeddings of texts by a pretrained encoder, as attributes (M2FN Section 4: BERT's, 768 wide)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import torch

from ni_platform.data.attributes.extractor import Unreadable, Value
from ni_platform.data.storage import sha256
from ni_platform.errors import ConfigError
from ni_platform.models.encoders.pretrained import locate
from ni_platform.models.encoders.text import TextEncoder
from ni_platform.models.encoders.tokenization import TextTokenizer
from ni_platform.models.modalities.modality import InputSize
from ni_platform.models.modalities.text import TextEncoderConfig

_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True, kw_only=True)
class TextEmbedding:
    """UTF-8 texts to embeddings float32 [width] of a frozen encoder."""

    config: TextEncoderConfig
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.config.architecture != "transformers":
            raise ConfigError(
                "Texts are embedded by pretrained weights, but architecture is "
                f"{self.config.architecture!r}: use 'transformers'."
            )

    @property
    def name(self) -> str:
        """What is extracted."""
        return "text_embedding"

    @cached_property
    def version(self) -> str:
        """SHA-256 of the weights and tokenizer with how they are used, whatever their name.

        Raises:
            WeightsError: the weights cannot be reached.
        """
        folder = locate(str(self.config.weights))
        files = sorted({path for pattern in _FILES for path in folder.glob(pattern)})
        digest = hashlib.sha256()
        for path in files:
            digest.update(f"{path.name} {sha256(path)}\n".encode())
        return (
            f"transformers {version('transformers')}, weights {digest.hexdigest()}, "
            f"{self.config.pooling} of {self.config.max_tokens} tokens"
        )

    def extract(self, items: Sequence[bytes]) -> list[Value | Unreadable]:
        """Embedding of each text."""
        tokens_BT, mask_BT = self._tokenizer.encode([item.decode() for item in items])
        with torch.inference_mode():
            embedding_BW = self._encoder(tokens_BT.to(self.device), mask_BT.to(self.device))
        return list(embedding_BW.float().cpu().numpy())

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return self.config.tokenizer(())

    @cached_property
    def _encoder(self) -> TextEncoder:
        return self.config.build(InputSize()).eval().to(self.device)

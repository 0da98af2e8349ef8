"""Texts: any transformers text encoder, or a small one trained from scratch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ni_platform.data.batch import ModalityInputs
from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns
from ni_platform.data.reading.labels import is_null
from ni_platform.errors import ConfigError
from ni_platform.models.encoders.pretrained import (
    depth_of,
    load_backbone,
    load_tokenizer,
    restore_backbone,
)
from ni_platform.models.encoders.text import TextEncoder
from ni_platform.models.encoders.tokenization import TextTokenizer, padded_length
from ni_platform.models.modalities.modality import (
    ColumnRole,
    EncoderConfig,
    InputSize,
    Layers,
    Reader,
    check_layers,
    layer_options,
    modality_inputs,
    named_layers,
)
from ni_platform.narrowing import given, of_kind


@dataclass(frozen=True, kw_only=True)
class TextReader(Reader):
    """Texts to int64 token ids [B, T], padded, and a mask of the same shape, 1 for a token.

    Of C columns that are embedded one by one both are [B, C, T]; the mask of an empty one is 0.
    """

    columns: tuple[str, ...]
    tokenizer: TextTokenizer
    separate: bool = False
    """Columns are tokenized one by one, not joined to one text."""

    @classmethod
    def declared(cls, columns: Columns) -> tuple[str, ...]:
        """As `Reader.declared`."""
        return columns.text

    @classmethod
    def fit(cls, config: Any, columns: Columns, dataset: Dataset, frame: pd.DataFrame) -> Self:
        """As `Reader.fit`."""
        tokenizer = config.tokenizer(joined_texts(frame, columns.text, " "))
        return cls(columns=columns.text, tokenizer=tokenizer, separate=_separate(config))

    @classmethod
    def load(cls, config: Any, values: Any, folder: Path) -> Self:
        """As `Reader.load`."""
        columns = tuple(str(name) for name in values["columns"])
        tokenizer = TextTokenizer.load(folder / "tokenizer")
        return cls(columns=columns, tokenizer=tokenizer, separate=_separate(config))

    def save(self, folder: Path) -> dict[str, Any]:
        """As `Reader.save`."""
        self.tokenizer.save(folder / "tokenizer")
        return {"columns": list(self.columns)}

    @property
    def roles(self) -> dict[str, ColumnRole]:
        """As `Reader.roles`."""
        return dict.fromkeys(self.columns, "text")

    @property
    def size(self) -> InputSize:
        """As `Reader.size`."""
        return InputSize(vocabulary=self.tokenizer.vocabulary_size, texts=len(self.columns))

    def describe(self) -> dict[str, Any]:
        """As `Reader.describe`."""
        tokenizer = self.tokenizer
        settings = [tokenizer.max_tokens, tokenizer.pad_id, tokenizer.separator]
        return {
            "columns": self.columns,
            "separate": self.separate,
            "tokenizer": [tokenizer.tokenizer.to_str(), *settings],
        }

    def read(
        self,
        frame: pd.DataFrame,
        *,
        crop: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> ModalityInputs:
        """As `Reader.read`."""
        if self.separate:
            columns = [list(joined_texts(frame, [name], " ")) for name in self.columns]
            texts = [text for row in zip(*columns) for text in row]
            tokens, mask = self.tokenizer.encode(texts)
            present_BC = torch.tensor([bool(text) for text in texts]).view(-1, len(columns))
            shape = (*present_BC.shape, tokens.shape[-1])
            mask_BCT = mask.view(shape) * present_BC.unsqueeze(2)
            return modality_inputs(present_BC.any(1), tokens.view(shape), mask_BCT)
        texts = list(joined_texts(frame, self.columns, self.tokenizer.separator))
        tokens_BT, mask_BT = self.tokenizer.encode(texts)
        return modality_inputs(torch.tensor([bool(text) for text in texts]), tokens_BT, mask_BT)

    @classmethod
    def pack(cls, tensors: Sequence[Tensor | list[Tensor]]) -> tuple[np.ndarray, ...]:
        """As `Reader.pack`: token ids and, as a mask is ones and then zeros, their number."""
        tokens, mask = (of_kind(tensor, Tensor) for tensor in tensors)
        return tokens.to(torch.int32).numpy(), mask.sum(-1).to(torch.int32).numpy()

    @classmethod
    def unpack(cls, arrays: tuple[np.ndarray, ...], rows: np.ndarray) -> tuple[Tensor, ...]:
        """As `Reader.unpack`, padded as the tokenizer pads a batch."""
        tokens, lengths = arrays[0], arrays[1][rows]
        length = min(tokens.shape[-1], padded_length(int(lengths.max(initial=0))))
        chosen = tokens[rows][..., :length].astype(np.int64)
        mask = (np.arange(length) < lengths[..., None]).astype(np.int64)
        return torch.from_numpy(chosen), torch.from_numpy(mask)


@dataclass(frozen=True, kw_only=True)
class ScratchTransformerConfig:
    """Size of the small transformer that needs no pretrained weights."""

    vocabulary: int = 8000
    layers: int = 2
    width: int = 128
    heads: int = 4

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(
                f"width must be a multiple of heads, but is {self.width} with {self.heads} heads."
            )


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig(EncoderConfig):
    """Which network encodes texts, where its weights come from, and how texts are read."""

    reader: ClassVar[type[Reader]] = TextReader
    heavy: ClassVar[bool] = True
    architecture: Literal["transformers", "scratch"] = "transformers"
    weights: str | None = "bert-base-uncased"
    """Hub id, folder, `package:NAME/PATH` or alias (see `encoders.pretrained`)."""
    pooling: Literal["cls", "mean"] = "cls"
    """`cls`: the first token's state, as BERT; `mean`: of all tokens, as sentence encoders."""
    layers: Layers = ()
    """Layers whose embeddings stand side by side. Middle layers keep how a text is written, which
    the last one was trained to forget."""
    max_tokens: int = 128
    columns: Literal["joined", "separate"] = "joined"
    """Several text columns are one text, or each has its own embedding (M2FN Table 1)."""
    dropout: float | None = None
    """Dropout of the backbone; None keeps its own."""
    scratch: ScratchTransformerConfig = field(default_factory=ScratchTransformerConfig)

    def __post_init__(self) -> None:
        if self.architecture == "transformers" and self.weights is None:
            raise ConfigError(
                "A text encoder of architecture 'transformers' needs weights: a hub id such as "
                "'bert-base-uncased' or a folder. Without any, use architecture 'scratch'."
            )
        depth = self.scratch.layers if self.architecture == "scratch" else None
        check_layers(self.layers, depth, "text.layers")
        if self.max_tokens < 3:
            raise ConfigError(f"max_tokens must be at least 3, but is {self.max_tokens}.")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), but is {self.dropout}.")

    @property
    def pretrained(self) -> bool:
        """As `ModalityConfig.pretrained`."""
        return self.architecture != "scratch" and self.weights is not None

    @property
    def reading(self) -> Any:
        """As `EncoderConfig.reading`."""
        return (
            self.architecture, self.weights, self.max_tokens, self.columns,
            self.scratch.vocabulary,
        )  # fmt: skip

    @property
    def layer_options(self) -> tuple[tuple[int, ...], ...]:
        """As `ModalityConfig.layer_options`."""
        if self.layers != "auto":
            return ()
        scratch = self.architecture == "scratch"
        return layer_options(self.scratch.layers if scratch else depth_of(given(self.weights)))

    def tokenizer(self, texts: Iterable[str]) -> TextTokenizer:
        """The pretrained encoder's tokenizer, or a vocabulary learned from the training `texts`."""
        if self.architecture == "scratch":
            return TextTokenizer.train(texts, self.scratch.vocabulary, self.max_tokens)
        tokenizer = load_tokenizer(given(self.weights))
        return TextTokenizer.from_transformers(tokenizer, self.max_tokens)

    def build(self, size: InputSize, skeleton: Path | None = None) -> TextEncoder:
        """As `EncoderConfig.build`.

        Raises:
            WeightsError: the weights cannot be reached; the message names the ways to get them.
        """
        layers = named_layers(self.layers, "text.layers")
        if skeleton is not None:
            backbone = restore_backbone(skeleton)
        elif self.architecture == "scratch":
            backbone = self._small_transformer(size.vocabulary)
        else:
            last = max(layers, default=None)
            backbone = load_backbone(given(self.weights), dropout=self.dropout, layers=last)
        longest = getattr(backbone.config, "max_position_embeddings", None)
        if longest is not None and self.max_tokens > longest:
            raise ConfigError(
                f"max_tokens must be at most {longest} for {self.weights or 'this encoder'}, "
                f"but is {self.max_tokens}."
            )
        columns = size.texts if _separate(self) else 1
        return TextEncoder(backbone, self.pooling, columns, layers)

    def _small_transformer(self, vocabulary: int) -> Any:
        from transformers import BertConfig, BertModel  # takes seconds

        size = self.scratch
        dropout = 0.1 if self.dropout is None else self.dropout
        return BertModel(
            BertConfig(
                vocab_size=vocabulary,
                hidden_size=size.width,
                num_hidden_layers=size.layers,
                num_attention_heads=size.heads,
                intermediate_size=4 * size.width,
                max_position_embeddings=self.max_tokens,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
            ),
            add_pooling_layer=False,
        )


def joined_texts(frame: pd.DataFrame, columns: Sequence[str], separator: str) -> Iterator[str]:
    """The texts of each row as one, empty where all are null or blank."""
    for cells in zip(*(frame[column] for column in columns)):
        parts = [str(cell).strip() for cell in cells if not is_null(cell)]
        yield separator.join(part for part in parts if part)


def _separate(config: TextEncoderConfig) -> bool:
    return config.columns == "separate"

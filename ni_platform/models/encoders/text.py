"""Text encoders: any transformers text encoder, or a small one trained from scratch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ni_platform.errors import ConfigError
from ni_platform.models.encoders.pretrained import (
    load_backbone,
    load_tokenizer,
    restore_backbone,
)
from ni_platform.models.encoders.tokenization import TextTokenizer
from ni_platform.narrowing import given


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
class TextEncoderConfig:
    """Which network encodes texts, where its weights come from, and how texts are read."""

    architecture: Literal["transformers", "scratch"] = "transformers"
    weights: str | None = "bert-base-uncased"
    """Hub id, folder, `package:NAME/PATH` or alias (see `encoders.pretrained`)."""
    pooling: Literal["cls", "mean"] = "cls"
    """`cls`: the first token's state, as BERT; `mean`: of all tokens, as sentence encoders."""
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
        if self.max_tokens < 3:
            raise ConfigError(f"max_tokens must be at least 3, but is {self.max_tokens}.")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), but is {self.dropout}.")


class TextEncoder(nn.Module):
    """Token ids [B, T] and their mask [B, T] to embeddings [B, width].

    Of C separate columns ids and mask are [B, C, T] and the C embeddings stand side by side, that
    of an empty column being zeros.
    """

    def __init__(self, backbone: Any, pooling: Literal["cls", "mean"], columns: int = 1) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.width: int = backbone.config.hidden_size * columns

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Embed B contents."""
        if tokens.dim() == 2:
            return self.embed(tokens, mask)
        filled = mask.flatten(0, 1).any(1).nonzero().squeeze(1)
        found = self.embed(tokens.flatten(0, 1)[filled], mask.flatten(0, 1)[filled])
        every = found.new_zeros(tokens.shape[0] * tokens.shape[1], found.shape[1])
        return every.index_put((filled,), found).view(len(tokens), self.width)

    def embed(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Embed B texts; equal ones once, since arms of an A/B test often share their text."""
        texts = len(tokens_BT)
        if not texts:  # transformers' attention refuses an empty batch
            tokens_BT = tokens_BT.new_zeros(1, max(1, tokens_BT.shape[1]))
            mask_BT = torch.ones_like(tokens_BT)
        tokens_and_mask, text_of_B = torch.unique(
            torch.stack([tokens_BT, mask_BT], dim=1), dim=0, return_inverse=True
        )
        tokens_UT, mask_UT = tokens_and_mask.unbind(dim=1)
        hidden_UTW = self.backbone(input_ids=tokens_UT, attention_mask=mask_UT).last_hidden_state
        embedding_BW: Tensor = self._pool(hidden_UTW, mask_UT)[text_of_B]
        return embedding_BW[:texts]

    def token_vectors(self, tokens_BT: Tensor) -> Tensor:
        """Vectors [B, T, V] that stand for tokens, before positions are added."""
        vectors: Tensor = self.backbone.get_input_embeddings()(tokens_BT)
        return vectors

    def embed_vectors(self, vectors_BTV: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Embed B texts given as `token_vectors`; differentiable.

        Returns embeddings [B, width of one text] and the states [B, T, V] of tokens in the last
        layer in which every token's state still counts: the last one where they are averaged,
        the one before where only the first token's state is read.
        """
        outputs = self.backbone(
            inputs_embeds=vectors_BTV, attention_mask=mask_BT, output_hidden_states=True
        )
        states = outputs.hidden_states[-1 if self.pooling == "mean" else -2]
        return self._pool(outputs.hidden_states[-1], mask_BT), states

    def _pool(self, hidden_BTW: Tensor, mask_BT: Tensor) -> Tensor:
        if self.pooling == "cls":
            return hidden_BTW[:, 0]
        mask_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTW.dtype)
        return (hidden_BTW * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)

    def save_skeleton(self, folder: Path) -> None:
        """Write what `text_encoder` needs to rebuild the network without its source."""
        self.backbone.config.save_pretrained(folder / "text")


def text_encoder(
    config: TextEncoderConfig,
    vocabulary_size: int,
    skeleton: Path | None = None,
    columns: int = 1,
) -> TextEncoder:
    """Build the encoder: with its pretrained weights, or empty from a saved `skeleton` folder.

    `columns` is the number of text columns, which counts where they are embedded one by one.

    Raises:
        WeightsError: the weights cannot be reached; the message names the ways to get them.
    """
    if skeleton is not None:
        backbone = restore_backbone(skeleton / "text")
    elif config.architecture == "scratch":
        backbone = _small_transformer(config, vocabulary_size)
    else:
        backbone = load_backbone(given(config.weights), dropout=config.dropout)
    longest = getattr(backbone.config, "max_position_embeddings", None)
    if longest is not None and config.max_tokens > longest:
        raise ConfigError(
            f"max_tokens must be at most {longest} for {config.weights or 'this encoder'}, "
            f"but is {config.max_tokens}."
        )
    return TextEncoder(backbone, config.pooling, columns if config.columns == "separate" else 1)


def text_tokenizer(config: TextEncoderConfig, texts: Iterable[str]) -> TextTokenizer:
    """The pretrained encoder's tokenizer, or a vocabulary learned from the training `texts`."""
    if config.architecture == "scratch":
        return TextTokenizer.train(texts, config.scratch.vocabulary, config.max_tokens)
    tokenizer = load_tokenizer(given(config.weights))
    return TextTokenizer.from_transformers(tokenizer, config.max_tokens)


def _small_transformer(config: TextEncoderConfig, vocabulary_size: int) -> Any:
    from transformers import BertConfig, BertModel  # takes seconds

    size = config.scratch
    dropout = 0.1 if config.dropout is None else config.dropout
    return BertModel(
        BertConfig(
            vocab_size=vocabulary_size,
            hidden_size=size.width,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.width,
            max_position_embeddings=config.max_tokens,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        ),
        add_pooling_layer=False,
    )

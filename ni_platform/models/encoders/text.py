"""A transformers text network, whose states are pooled to one embedding per text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn


class TextEncoder(nn.Module):
    """Token ids [B, T] and their mask [B, T] to embeddings [B, width].

    Of C separate columns ids and mask are [B, C, T] and the C embeddings stand side by side, that
    of an empty column being zeros.
    """

    def __init__(
        self,
        backbone: Any,
        pooling: Literal["cls", "mean"],
        columns: int = 1,
        layers: tuple[int, ...] = (),
    ) -> None:
        """Take a transformers network; embeddings of several `layers` stand side by side.

        Layer 0 is what the network's layers read, and without any the last one is taken.
        """
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.layers = layers
        self.blocks: tuple[int, ...] = (
            (backbone.config.hidden_size,) * max(1, len(layers)) * columns
        )
        """Widths of the parts that stand side by side."""
        self.width = sum(self.blocks)

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
        outputs = self.backbone(
            input_ids=tokens_UT, attention_mask=mask_UT, output_hidden_states=bool(self.layers)
        )
        embedding_BW: Tensor = self._read(outputs, mask_UT)[text_of_B]
        return embedding_BW[:texts]

    def token_vectors(self, tokens_BT: Tensor) -> Tensor:
        """Vectors [B, T, V] that stand for tokens, before positions are added."""
        vectors: Tensor = self.backbone.get_input_embeddings()(tokens_BT)
        return vectors

    def embed_vectors(self, vectors_BTV: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Embed B texts given as `token_vectors`; differentiable.

        Returns embeddings [B, width of one text] and the states [B, T, V] of tokens in the last
        layer in which every token's state still counts: the first that is read where they are
        averaged, the one before where only the first token's state is read.
        """
        outputs = self.backbone(
            inputs_embeds=vectors_BTV, attention_mask=mask_BT, output_hidden_states=True
        )
        first = min(self.layers, default=len(outputs.hidden_states) - 1)
        states = outputs.hidden_states[first if self.pooling == "mean" else max(0, first - 1)]
        return self._read(outputs, mask_BT), states

    def _read(self, outputs: Any, mask_BT: Tensor) -> Tensor:
        if not self.layers:
            return self._pool(outputs.last_hidden_state, mask_BT)
        read = [self._pool(outputs.hidden_states[layer], mask_BT) for layer in self.layers]
        return torch.cat(read, dim=1)

    def _pool(self, hidden_BTW: Tensor, mask_BT: Tensor) -> Tensor:
        if self.pooling == "cls":
            return hidden_BTW[:, 0]
        mask_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTW.dtype)
        return (hidden_BTW * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)

    def save_skeleton(self, folder: Path) -> None:
        """As `HasSkeleton.save_skeleton`."""
        self.backbone.config.save_pretrained(folder)

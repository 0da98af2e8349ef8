"""Texts to token ids, safely from several threads at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from ni_platform.errors import ConfigError

_PAD, _CLS, _SEP = "[PAD]", "[CLS]", "[SEP]"
_LENGTH_STEP = 8
"""Batches are padded to a multiple of this, so that kernels see few different shapes."""


class TextTokenizer:
    """A tokenizer with fixed truncation.

    transformers' own wrappers set padding and truncation anew on every call, which fails when
    two threads meet; this one sets truncation once and pads on its own.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, max_tokens: int, pad_id: int, separator: str
    ) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)
        self.max_tokens = max_tokens
        self.pad_id = pad_id
        self.separator = separator
        """Stands between the texts of one content."""

    @classmethod
    def from_transformers(cls, tokenizer: Any, max_tokens: int) -> TextTokenizer:
        """Take the fast tokenizer inside a transformers tokenizer.

        Raises:
            ConfigError: the tokenizer has no fast version.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(
                f"Only encoders with a fast tokenizer can be used, but {tokenizer.name_or_path} "
                "has none. Save one beside the weights (tokenizer.json), or use another encoder."
            )
        pad_id = tokenizer.pad_token_id
        return cls(
            tokenizer.backend_tokenizer,
            max_tokens=max_tokens,
            pad_id=0 if pad_id is None else pad_id,  # masked anyway
            separator=f"{tokenizer.sep_token} " if tokenizer.sep_token else "\n",
        )

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary_size: int, max_tokens: int) -> TextTokenizer:
        """Learn a lower-case byte-level BPE vocabulary of `vocabulary_size` from `texts`.

        Bytes leave no text unknown; WordPiece training is not used because the library numbers
        its tokens in another order on every run.
        """
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            special_tokens=[_PAD, _CLS, _SEP],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        ids = tokenizer.get_vocab()
        tokenizer.post_processor = processors.BertProcessing((_SEP, ids[_SEP]), (_CLS, ids[_CLS]))
        return cls(tokenizer, max_tokens=max_tokens, pad_id=ids[_PAD], separator=f"{_SEP} ")

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        return int(self.tokenizer.get_vocab_size())

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask of B texts, both int64 [B, T], padded to the longest.

        An empty text has no tokens but the tokenizer's own special ones.
        """
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        longest = max((len(row) for row in rows), default=1)
        length = min(self.max_tokens, padded_length(longest))
        tokens_BT = torch.full((len(rows), length), self.pad_id, dtype=torch.int64)
        mask_BT = torch.zeros_like(tokens_BT)
        for tokens_T, mask_T, row in zip(tokens_BT, mask_BT, rows):
            tokens_T[: len(row)] = torch.tensor(row, dtype=torch.int64)
            mask_T[: len(row)] = 1
        return tokens_BT, mask_BT

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and settings.json into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(folder / "tokenizer.json"))
        settings = {
            "max_tokens": self.max_tokens,
            "pad_id": self.pad_id,
            "separator": self.separator,
        }
        (folder / "settings.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TextTokenizer:
        """Read what `save` wrote."""
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        return cls(Tokenizer.from_file(str(folder / "tokenizer.json")), **settings)


def padded_length(longest: int) -> int:
    """Tokens that a batch is padded to whose longest text has so many."""
    return -(-max(1, longest) // _LENGTH_STEP) * _LENGTH_STEP

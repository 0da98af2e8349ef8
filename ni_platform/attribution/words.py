"""The words of a content's texts, merged from the tokens that the text encoder reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ni_platform.attribution.contents import Contents
from ni_platform.attribution.features import distinct, in_batches, no_grad_rates
from ni_platform.models.encoders.text import TextEncoder
from ni_platform.models.modalities.text import TextReader, joined_texts
from ni_platform.narrowing import of_kind

_WORD = re.compile(r"\w+(?:[.,'’\-]\w+)*|[^\w\s]")
"""Runs of letters and digits, such as don't, 7.99 and well-known; a punctuation mark by itself."""

_TOKENS_AT_ONCE = 8192
"""Padded tokens that the encoder reads together."""
_HEADS_AT_ONCE = 4096
"""Predictions from encoded texts that are made together, unless pictures are encoded again."""
_PICTURES_AT_ONCE = 64


@dataclass(frozen=True)
class Word:
    """A word of a content."""

    text: str
    column: str
    """The text column in which it stands."""
    start: int
    end: int
    """Its first character in the cell without blanks around it, and the one behind its last."""

    @property
    def key(self) -> str:
        """What makes two words the same: case does not matter."""
        return self.text.lower()


def words_of(text: str, column: str) -> list[Word]:
    """Split a text into words and punctuation marks."""
    return [Word(m.group(), column, m.start(), m.end()) for m in _WORD.finditer(text)]


@dataclass(frozen=True)
class _Slot:
    """One text that the encoder reads: all columns joined, or one of separate columns."""

    tokens: np.ndarray
    """Token ids [T], int64."""
    word: np.ndarray
    """The word that each token belongs to [T]; -1 for special tokens, which stay."""
    separates: np.ndarray
    """The text before which each token is the separator [T]; -1 for all others."""
    text: np.ndarray
    """The text that each word of the content stands in [words], where the slot has it."""

    def without(self, present: np.ndarray) -> bytes:
        """Token ids when only the words `present` [words] are there; empty without any."""
        kept = np.append(present, True)[self.word]  # the number -1 is the last: True
        if not kept[self.word >= 0].any():
            return b""
        if (self.separates >= 0).any():
            # A separator stands before a text if it and one before it have words.
            texts = np.unique(self.text[present[: len(self.text)] & (self.text >= 0)])
            kept &= (self.separates < 0) | np.isin(self.separates, texts[1:])
        return self.tokens[kept].tobytes()


class Words:
    """Features: words. Without a word its tokens are not there, and those behind it move up.

    So a prediction is the one that the model makes for the shorter text; without any word, for
    a missing text.
    """

    def __init__(self, contents: Contents, modality: str) -> None:
        """Split the texts; words beyond the encoder's longest text are left out."""
        reader = of_kind(contents.scorer.inputs.readers[modality], TextReader)
        self.contents = contents
        self.modality = modality
        self.evaluations = 0
        self._columns = reader.columns
        self._separate = reader.separate
        self._tokenizer = reader.tokenizer
        self._encoder: TextEncoder = contents.network.encoders[modality]  # type: ignore[assignment]
        self._slots: list[list[_Slot]] = []
        self.words: list[list[Word]] = []
        """Of each content."""
        for cells in zip(*(joined_texts(contents.frame, [name], " ") for name in self._columns)):
            words, slots = self._read(cells)
            self.words.append(words)
            self._slots.append(slots)
        self.shapes: list[tuple[int, ...]] = [(len(words),) for words in self.words]
        self._sizes = np.array([len(words) for words in self.words], dtype=np.int64)

    def _read(self, cells: Sequence[str]) -> tuple[list[Word], list[_Slot]]:
        tokenizer = self._tokenizer
        parts = [(name, cell) for name, cell in zip(self._columns, cells) if cell]
        groups = [[part] for part in zip(self._columns, cells)] if self._separate else [parts]
        words: list[Word] = []
        slots: list[_Slot] = []
        for group in groups:
            starts, text = [], ""
            for _, cell in group:
                text += tokenizer.separator if text else ""
                starts.append(len(text))
                text += cell
            encoding = tokenizer.tokenizer.encode(text)
            begins = np.array([start for start, _ in encoding.offsets])
            real = np.array([start < end for start, end in encoding.offsets])
            found = [
                (word, start + word.start, start + word.end)
                for (name, cell), start in zip(group, starts)
                for word in words_of(cell, name)
            ]
            owner = _owners(encoding.offsets, [(start, end) for _, start, end in found])
            kept = np.unique(owner[owner >= 0])
            number = np.full(len(found) + 1, -1)
            number[kept] = np.arange(len(kept)) + len(words)
            text_at = np.searchsorted(starts, begins, side="right")
            before_next = np.full(len(owner), -1)
            for place, (start, (_, cell)) in enumerate(zip(starts, group)):
                between = real & (text_at == place + 1) & (begins >= start + len(cell))
                before_next[between] = place + 1
            stands_in = np.full(len(words) + len(kept), -1)
            stands_in[len(words) :] = [
                np.searchsorted(starts, found[position][1], side="right") - 1 for position in kept
            ]
            words += [found[position][0] for position in kept]
            slots.append(
                _Slot(
                    tokens=np.array(encoding.ids, dtype=np.int64),
                    word=number[owner],
                    separates=before_next,
                    text=stands_in,
                )
            )
        return words, slots

    @property
    def elements(self) -> list[list[str]]:
        """The words of each content, equal where two contents have the same one."""
        return [[word.key for word in words] for words in self.words]

    def rates(self, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """As `Features.rates`; texts that are equal are encoded once, whosever they are."""
        first, which = distinct(rows, present, self._sizes)
        rows, present = rows[first], present[first]
        texts: dict[bytes, int] = {}
        text_of = np.empty((len(rows), len(self._slots[0]) if self._slots else 1), dtype=np.int64)
        for position, (row, words) in enumerate(zip(rows, present)):
            for place, slot in enumerate(self._slots[row]):
                text_of[position, place] = texts.setdefault(slot.without(words), len(texts))
        embedding_UW = self._encode(list(texts))
        self.evaluations += len(rows)
        at_once = _PICTURES_AT_ONCE if self.contents.with_pictures else _HEADS_AT_ONCE
        found = [
            no_grad_rates(
                self.contents,
                rows[part],
                self.modality,
                encoded=embedding_UW[text_of[part]].flatten(1).to(self.contents.device),
            )
            for part in in_batches(len(rows), at_once)
        ]
        return np.concatenate([*found, np.empty(0)])[which]

    def _encode(self, texts: list[bytes]) -> Tensor:
        """Embeddings [U, width] of texts given as token ids; zeros for an empty one."""
        width = self._encoder.width // (len(self._columns) if self._separate else 1)
        ids = [np.frombuffer(text, dtype=np.int64) for text in texts]
        embedding_UW = torch.zeros(len(texts), width)
        order = sorted((position for position in range(len(ids)) if len(ids[position])),
                       key=lambda position: len(ids[position]))  # fmt: skip
        start = 0
        with torch.inference_mode():
            while start < len(order):
                # Sorted by length: the last of a batch is its longest.
                stop = start + 1
                while stop < len(order) and (
                    (stop + 1 - start) * len(ids[order[stop]]) <= _TOKENS_AT_ONCE
                ):
                    stop += 1
                batch = order[start:stop]
                tokens, mask = _padded([ids[position] for position in batch])
                device = self.contents.device
                found = self._encoder.embed(tokens.to(device), mask.to(device))
                embedding_UW[torch.tensor(batch)] = found.float().cpu()
                start = stop
        return embedding_UW

    def points(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Vectors of the tokens [B, C, T, V]; in the baseline those of words are zero."""
        device = self.contents.device
        slots = [slot for row in rows for slot in self._slots[row]]
        tokens_XT, mask_XT = _padded([slot.tokens for slot in slots])
        word_XT = torch.full_like(tokens_XT, -1)
        for position, slot in enumerate(slots):
            word_XT[position, : len(slot.word)] = torch.from_numpy(slot.word)
        shape = (len(rows), -1, tokens_XT.shape[1])
        # An empty column is zeros to the model, whatever its special tokens say.
        worded = torch.tensor([bool((slot.word >= 0).any()) for slot in slots], device=device)
        self._mask = dict(zip(rows, mask_XT.view(shape).to(device)))
        self._worded = dict(zip(rows, worded.view(len(rows), -1)))
        self._word = dict(zip(rows, word_XT.view(shape)))
        with torch.no_grad():
            vectors = self._encoder.token_vectors(tokens_XT.to(device))
        vectors = vectors.view(*shape, vectors.shape[-1])
        stays = (word_XT < 0).view(shape).unsqueeze(-1).to(device)
        return vectors, vectors * stays

    def rates_at(self, points: Tensor, rows: Tensor) -> Tensor:
        """As `Features.rates_at`, through the whole text encoder."""
        return self.states(points, rows)[1]

    def states(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """States of the tokens [P C, T, V] that GradCAM weighs, and the rates [P] they lead to."""
        chosen = rows.tolist()
        mask_XT = torch.cat([self._mask[row] for row in chosen])
        worded_X1 = torch.cat([self._worded[row] for row in chosen]).unsqueeze(1)
        found, states = self._encoder.embed_vectors(points.flatten(0, 1), mask_XT)
        embedding_PW = (found * worded_X1).view(len(chosen), -1)
        return states, self.contents.rates(rows, self.modality, encoded=embedding_PW)

    def tokens(self, rows: Sequence[int]) -> Tensor:
        """Mask [B, C, T] of the tokens in `points`, special ones included."""
        return torch.stack([self._mask[row] for row in rows])

    def collect(self, contributions: Tensor, rows: Sequence[int]) -> list[np.ndarray]:
        """Contributions [B, C, T, ...] of tokens, summed by word."""
        per_token = contributions.detach().double().cpu()
        if per_token.dim() == 4:
            per_token = per_token.sum(-1)
        values = []
        for position, row in enumerate(rows):
            word = self._word[row].flatten()
            total = torch.zeros(len(self.words[row]) + 1, dtype=torch.float64)
            total.index_add_(0, word % len(total), per_token[position].flatten())
            values.append(total[:-1].numpy())
        return values


def _owners(offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> np.ndarray:
    """The span that each token overlaps most to the left; -1 for none."""
    owner = np.full(len(offsets), -1, dtype=np.int64)
    position = 0
    for token, (start, end) in enumerate(offsets):
        if start == end:
            continue  # added by the tokenizer
        while position < len(spans) and spans[position][1] <= start:
            position += 1
        if position < len(spans) and spans[position][0] < end:
            owner[token] = position
    return owner


def _padded(sequences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Token ids and mask [X, T]; padding is the id 0, which the mask hides."""
    longest = max((len(sequence) for sequence in sequences), default=1)
    tokens = torch.zeros(len(sequences), longest, dtype=torch.int64)
    mask = torch.zeros_like(tokens)
    for position, sequence in enumerate(sequences):
        tokens[position, : len(sequence)] = torch.from_numpy(sequence.copy())
        mask[position, : len(sequence)] = 1
    return tokens, mask

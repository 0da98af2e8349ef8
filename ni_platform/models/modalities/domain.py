"""The domain: hashed tokens of the domain string into NI Table 3's MLP1."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch

from ni_platform.data.batch import ModalityInputs
from ni_platform.errors import ConfigError
from ni_platform.models.encoders.mlp import MLP, MLPConfig
from ni_platform.models.modalities.modality import (
    AsItIsConfig,
    ColumnReader,
    EncoderConfig,
    InputSize,
    Reader,
    VectorReader,
    category,
    modality_inputs,
)


@dataclass(frozen=True, kw_only=True)
class DomainReader(ColumnReader, VectorReader):
    """Domains to float32 counts of their hashed tokens [B, buckets]."""

    role: ClassVar[Literal["image", "domain"]] = "domain"
    column: str
    buckets: int

    @classmethod
    def of(cls, column: str, config: Any) -> Self:
        """As `ColumnReader.of`."""
        return cls(column=column, buckets=config.buckets)

    @property
    def size(self) -> InputSize:
        """As `Reader.size`."""
        return InputSize(width=self.buckets)

    def read(
        self,
        frame: pd.DataFrame,
        *,
        crop: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> ModalityInputs:
        """As `Reader.read`."""
        counts_BK = np.zeros((len(frame), self.buckets), dtype=np.float32)
        present_B = np.zeros(len(frame), dtype=bool)
        for row, cell in enumerate(frame[self.column]):
            domain = category(cell)
            if domain is not None:
                counts_BK[row] = domain_counts(domain, self.buckets)
                present_B[row] = True
        return modality_inputs(torch.from_numpy(present_B), torch.from_numpy(counts_BK))

    def parts(self, frame: pd.DataFrame) -> tuple[list[list[str]], list[np.ndarray]]:
        """As `VectorReader.parts`: tokens, such as "email" and "de" of "email/de"."""
        names, shares = [], []
        for cell in frame[self.column]:
            tokens = list(dict.fromkeys(domain_tokens(category(cell) or "")))
            counts = [domain_counts(token, self.buckets) for token in tokens]
            found = np.array(counts, dtype=np.float64)
            if len(tokens):
                # Tokens that are hashed alike share their counter.
                found /= np.maximum(found.sum(0), 1)
            names.append(tokens)
            shares.append(found)
        return names, shares

    def elements(self, frame: pd.DataFrame, names: list[list[str]]) -> list[list[Any]]:
        """As `VectorReader.elements`: the tokens themselves."""
        return [list(tokens) for tokens in names]


@dataclass(frozen=True, kw_only=True)
class DomainEncoderConfig(EncoderConfig):
    """How the domain string is encoded."""

    reader: ClassVar[type[Reader]] = DomainReader
    buckets: int = 256
    """Number of counters that the tokens of a domain are hashed into."""
    mlp: MLPConfig = field(default_factory=MLPConfig)

    def __post_init__(self) -> None:
        if self.buckets < 1:
            raise ConfigError(f"buckets must be at least 1, but is {self.buckets}.")

    @property
    def reading(self) -> int:
        """As `EncoderConfig.reading`."""
        return self.buckets

    def build(self, size: InputSize, skeleton: Path | None = None) -> MLP:
        """As `EncoderConfig.build`."""
        return MLP(self.buckets, self.mlp)


@dataclass(frozen=True, kw_only=True)
class HashedDomain(AsItIsConfig):
    """The domain enters as counts of its hashed tokens."""

    reader: ClassVar[type[Reader]] = DomainReader
    buckets: int = 64

    @property
    def reading(self) -> int:
        """As `EncoderConfig.reading`."""
        return self.buckets


def domain_tokens(domain: str) -> list[str]:
    """The runs of letters and digits of a domain, in lower case."""
    return re.findall(r"[^\W_]+", domain.lower())


def domain_counts(domain: str, buckets: int) -> np.ndarray:
    """Counts [buckets] of the hashed tokens of a domain, float32.

    Tokens (`domain_tokens`) are hashed one by one, so that "DE/homepage" and
    "FR/homepage" share what "homepage" stands for, and an unseen domain what its parts share.
    """
    counts = np.zeros(buckets, dtype=np.float32)
    for token in domain_tokens(domain):
        counts[zlib.crc32(token.encode()) % buckets] += 1
    return counts

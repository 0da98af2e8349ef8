"""The domain encoder: hashed tokens of the domain string into NI Table 3's MLP1."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field

import numpy as np

from ni_platform.errors import ConfigError
from ni_platform.models.encoders.mlp import MLPConfig


@dataclass(frozen=True, kw_only=True)
class DomainEncoderConfig:
    """How the domain string is encoded."""

    buckets: int = 256
    """Number of counters that the tokens of a domain are hashed into."""
    mlp: MLPConfig = field(default_factory=MLPConfig)

    def __post_init__(self) -> None:
        if self.buckets < 1:
            raise ConfigError(f"buckets must be at least 1, but is {self.buckets}.")


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

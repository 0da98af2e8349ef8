"""What insights are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from ni_platform.attribution.config import AttributionConfig
from ni_platform.errors import ConfigError
from ni_platform.seeds import check_seed


@dataclass(frozen=True, kw_only=True)
class SupportConfig:
    """What a recommendation must rest on to be shown."""

    contents: int = 10
    """Contents that have the feature."""
    tests: int = 5
    """A/B tests (or contents outside tests) that they are from."""
    agreement: float = 0.5
    """Share of the pairs of past A/B tests, where there are any, in which its direction held."""


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """How patches are cut out and clustered."""

    share: float = 0.25
    """Side of a patch, as a share of the square root of the picture's area."""
    per_picture: int = 3
    """K: most patches with positive contributions of a picture, and most with negative ones."""
    overlap: float = 0.1
    """Intersection over union with a better patch beyond which a window is suppressed."""
    clusters: int = 20
    """Most clusters that are tried."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"share must be in (0, 1], but is {self.share}")
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"overlap must be in [0, 1), but is {self.overlap}")
        for name in ("per_picture", "clusters"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, but is {getattr(self, name)}")
        check_seed("seed", self.seed)


@dataclass(frozen=True, kw_only=True)
class InsightsConfig:
    """How a model is explained, and how its explanations are judged."""

    attribution: AttributionConfig = field(default_factory=AttributionConfig)
    contents: int = 1000
    """Most contents that are explained: whole A/B tests, held-out ones first."""
    similarity: float = 0.8
    """Locations of two pictures whose features' cosine reaches this are alike (Algorithm 4, iv).

    The paper gives none. On planted data the correlation rises with it, until nearly every
    location counts as different; up to 0.8 it orders the methods as the truth does, beyond not
    (`tests/benchmarks/RESULTS.md`).
    """
    replicates: int = 1000
    """Bootstrap replicates of whole A/B tests behind each interval."""
    permutations: int = 1000
    """Permutations of outcomes within A/B tests behind each p-value."""
    shuffles: int = 3
    """Networks with shuffled weights that are explained as well, for the trust score."""
    support: SupportConfig = field(default_factory=SupportConfig)
    patches: PatchConfig = field(default_factory=PatchConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.contents < 1:
            raise ConfigError(f"contents must be positive, but is {self.contents}")
        check_seed("seed", self.seed)
        if self.shuffles < 0:
            raise ConfigError(f"shuffles must not be negative, but is {self.shuffles}")
        if not -1 < self.similarity <= 1:
            raise ConfigError(
                f"similarity is a cosine above -1 and at most 1, not {self.similarity}"
            )

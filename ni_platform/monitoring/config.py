"""What counts as a change, and how surely."""

from __future__ import annotations

from dataclasses import dataclass

from ni_platform.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """How a model is watched. With enough contents any difference is certain, so each has a size.

    Tolerances are beside the 95 % interval of what the model's own held-out contents have.
    """

    alpha: float = 0.05
    """Probability of a false alarm in a year of daily looks, over all streams together."""
    share_tolerance: float = 0.05
    """By how much shares of inputs (missing, never seen, far) may rise."""
    rank_tolerance: float = 0.1
    """By how much the mean rank of predictions among the held-out ones, and their spread, may
    move."""
    accuracy_tolerance: float = 0.0
    """By how much accuracy may fall below its interval."""
    domain_tests: int = 10
    """Held-out A/B tests from which on a domain's accuracy is watched by itself."""
    domain_contents: int = 10
    """Contents from which on a domain that the model never saw is told."""
    far_quantile: float = 0.99
    """Contents count as far from training's beyond this quantile of held-out ones' distances."""
    training_sample: int = 5_000
    """Training contents that distances are taken to, at most."""
    seed: int = 0
    """Of that sample."""

    def __post_init__(self) -> None:
        for name in ("alpha", "far_quantile"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"0 < {name} < 1 must hold, but got {getattr(self, name)}.")
        for name in ("share_tolerance", "rank_tolerance", "accuracy_tolerance"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"0 <= {name} < 1 must hold, but got {getattr(self, name)}.")
        for name in ("domain_tests", "domain_contents", "training_sample"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, but got {getattr(self, name)}.")

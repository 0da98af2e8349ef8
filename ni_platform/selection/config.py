"""How attributes are selected."""

from __future__ import annotations

from dataclasses import dataclass

from ni_platform.errors import ConfigError

CORRECTIONS = {"holm": "holm", "benjamini-hochberg": "fdr_bh", "none": None}
"""Corrections for several tests, and what statsmodels calls them."""


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """What counts as an effect."""

    alpha: float = 0.05
    """Significance level; M2FN Section 6.3.1."""
    correction: str = "holm"
    """For testing several attributes: holm bounds the chance of keeping any attribute without
    effect, benjamini-hochberg the share of such attributes among the kept ones; or none."""
    redundant_from: float = 0.95
    """Association with another attribute, in [0, 1], from which one of the two is redundant."""
    min_level_groups: int = 10
    """A level needs this many independent groups of contents, or it joins the other rare ones."""
    min_level_clicks: float = 10.0
    """The same for the clicks (and the exposures without one) to expect at the average rate."""
    cluster: str | None = None
    """Column whose equal values tie contents together; if none, contents of one A/B test, with
    the same picture or with the same words are."""
    include_test: bool = True
    """Whether the test part of the default split takes part."""

    def __post_init__(self) -> None:
        for name in ("alpha", "redundant_from"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name} must be above 0 and at most 1, but is {getattr(self, name)}."
                )
        if self.correction not in CORRECTIONS:
            raise ConfigError(
                f"correction must be one of {', '.join(CORRECTIONS)}, but is {self.correction!r}."
            )
        if self.min_level_groups < 2 or self.min_level_clicks <= 0:
            raise ConfigError(
                "min_level_groups must be 2 or more and min_level_clicks above 0, but they are "
                f"{self.min_level_groups} and {self.min_level_clicks}."
            )

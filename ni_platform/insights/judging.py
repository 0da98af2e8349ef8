"""Attributions of one modality held against what happened in held-out A/B tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ni_platform.attribution.attribution import Attribution
from ni_platform.attribution.config import PCA, RATE_CHANGES
from ni_platform.attribution.consensus import PrincipalComponent
from ni_platform.attribution.explain import ModalityExplained
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.correlation import (
    Agreement,
    agreement,
    all_pairs,
    control_against_best,
)
from ni_platform.insights.differences import Differences
from ni_platform.insights.pairs import Arms
from ni_platform.insights.trust import Trust, trust_score


@dataclass(frozen=True)
class ModalityInsights:
    """What is known of one modality's attributions."""

    all_pairs: dict[str, Agreement]
    """Method -> agreement over every pair of arms of held-out tests that differ in it."""
    control_against_best: dict[str, Agreement]
    """The same of each control and its best treatment; empty where no control is declared."""
    method: str
    """The method that recommendations follow: of highest correlation on validation tests."""
    trust: Trust
    """How far that method has earned it."""
    platform: dict[str, Agreement] = field(default_factory=dict)
    """As `all_pairs`, of A/B tests whose arms a platform delivered; empty without such. What was
    delivered together with success may have come from the audience: no trust rests on it."""
    component: PrincipalComponent | None = None
    """What PCA made of the methods, so that a content that comes later is explained alike."""

    @property
    def in_points(self) -> bool:
        """Whether recommended contributions are changes of the success rate.

        If not, they have a unit of the method's own.
        """
        return self.method in RATE_CHANGES


def judged(
    explained: ModalityExplained,
    differences: Differences,
    arms: Arms,
    platform: Arms,
    held_out: np.ndarray,
    part: np.ndarray,
    config: InsightsConfig,
    shuffled: Callable[[str], list[Agreement]],
) -> ModalityInsights:
    """Judge each method, and choose the one that recommendations follow.

    Args:
        explained: N contents, explained by each method.
        differences: of the pairs of `arms`.
        arms: pairs of the contents within randomised A/B tests.
        platform: pairs within A/B tests whose arms a platform delivered.
        held_out: contents that the model did not learn from, bool [N].
        part: of the split [N].
        config: how.
        shuffled: what a method's attributions reach on networks with shuffled weights.
    """
    inside = held_out[arms.first] & held_out[arms.second]
    validation = (part[arms.first] == "validation") & (part[arms.second] == "validation")
    unseen = (part[arms.first] == "out_of_domain") & (part[arms.second] == "out_of_domain")

    def judge(method: str, chooser: Callable, pairs: np.ndarray, draws: bool = True) -> Agreement:
        attributions = explained.by_method[method]
        return _agreed(attributions, differences, arms, chooser, pairs, config, draws)

    every = {method: judge(method, all_pairs, inside) for method in explained.by_method}
    best = {}
    if arms.control.any():
        best = {method: judge(method, control_against_best, inside) for method in every}
    on_validation = {m: judge(m, all_pairs, validation, False).correlation.value for m in every}
    method = _preferred(on_validation)
    return ModalityInsights(
        all_pairs=every,
        control_against_best=best,
        method=method,
        trust=trust_score(every[method], judge(method, all_pairs, unseen), shuffled(method)),
        platform=_of_platform(explained, platform, held_out, config),
        component=explained.component,
    )


def _of_platform(
    explained: ModalityExplained, arms: Arms, held_out: np.ndarray, config: InsightsConfig
) -> dict[str, Agreement]:
    """`ModalityInsights.platform`."""
    inside = held_out[arms.first] & held_out[arms.second]
    if not inside.any():
        return {}
    differences = Differences(explained, arms, config.similarity)
    return {
        method: _agreed(attributions, differences, arms, all_pairs, inside, config)
        for method, attributions in explained.by_method.items()
    }


def _agreed(
    attributions: list[Attribution],
    differences: Differences,
    arms: Arms,
    chooser: Callable,
    pairs: np.ndarray,
    config: InsightsConfig,
    draws: bool = True,
) -> Agreement:
    return agreement(
        arms,
        differences.of(attributions),
        chooser(arms, differences.differ & pairs),
        replicates=config.replicates if draws else 0,
        permutations=config.permutations if draws else 0,
        seed=config.seed,
    )


def _preferred(correlation: Mapping[str, float]) -> str:
    """The method of highest correlation; the consensus, or the first, if all are unknown."""
    known = {method: value for method, value in correlation.items() if np.isfinite(value)}
    if known:
        return max(known, key=lambda method: known[method])
    return PCA if PCA in correlation else next(iter(correlation))

"""The trust score: how far recommendations of a method have earned to be followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from ni_platform.insights.correlation import Agreement

ENOUGH_TESTS = 20
"""Held-out A/B tests below which there is no score."""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """A figure from 0 to 100 and what it is made of; see `trust_score`."""

    score: float | None
    """None: not enough evidence."""
    correlation: float
    """Lower end of the insight correlation's 95 % interval, cut at 0."""
    direction: float
    """Lower end of the interval of twice the pairwise agreement less one, cut at 0."""
    transfer: float | None
    """Twice the pairwise agreement less one in domains that the model never saw, cut at 0; None
    where there are none with enough tests."""
    sanity: float
    """1 less the share of the correlation that networks with shuffled weights reach."""
    tests: int
    """Held-out A/B tests behind it."""

    def __str__(self) -> str:
        if self.score is None:
            return f"not enough evidence ({self.tests} A/B tests, {ENOUGH_TESTS} are needed)"
        return f"{self.score:.0f} of 100"


def trust_score(
    held_out: Agreement, unseen_domains: Agreement | None, shuffled: Sequence[Agreement]
) -> Trust:
    """Score a method's attributions of one modality.

    trust = 100 x sanity x mean(correlation, direction, transfer), each in [0, 1]:

    - correlation: the lower end of the 95 % interval of the insight correlation rho (NI Eq. 7)
      over all pairs of arms of held-out A/B tests; 0 if negative. So few tests, which make the
      interval wide, lower it.
    - direction: 2a - 1 at the lower end of the interval of a, how often the arm with the higher
      attribution difference won; 0 is a coin's.
    - transfer: 2a - 1 in domains that the model was not trained on, at a itself, as they have
      few tests; left out of the mean where there are fewer than `ENOUGH_TESTS` such tests.
    - sanity: 1 - rho_shuffled / rho, in [0, 1], where rho_shuffled is the mean over networks of the
      same shape with shuffled weights (Adebayo et al. 2018): an explanation that does not depend
      on what was learned earns nothing. The mean, because one such network reaches much by chance
      where tests are few. 1 where there are none.

    With fewer than `ENOUGH_TESTS` held-out tests there is no score.

    Observed rates are noisy, so even perfect explanations stay below 100.
    """
    rho, agreed = held_out.correlation, held_out.pairwise
    correlation = _share(rho.low)
    direction = _share(2 * agreed.low - 1)
    transfer = None
    if unseen_domains is not None and unseen_domains.tests >= ENOUGH_TESTS:
        transfer = _share(2 * unseen_domains.pairwise.value - 1)
    sanity = 1.0
    reached = [one.correlation.value for one in shuffled if isfinite(one.correlation.value)]
    if reached and rho.value > 0:
        sanity = 1 - _share(fmean(reached) / rho.value)
    parts = [part for part in (correlation, direction, transfer) if part is not None]
    enough = held_out.tests >= ENOUGH_TESTS
    return Trust(
        score=100 * sanity * sum(parts) / len(parts) if enough else None,
        correlation=correlation,
        direction=direction,
        transfer=transfer,
        sanity=sanity,
        tests=held_out.tests,
    )


def _share(value: float) -> float:
    """Cut to [0, 1]; what is undefined counts 0."""
    return min(max(value, 0.0), 1.0) if value == value else 0.0  # NaN differs from itself

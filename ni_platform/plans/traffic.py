"""How much traffic a test needs, how it is shared out, and what the test is expected to gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

POWER = 0.8
"""Chance that a difference which is there is found."""
_LEVEL = 0.05


def traffic_shares(arms: int, control: int | None) -> np.ndarray:
    """Share of the traffic of each arm [A].

    Equal, but a control that all others are compared with gets the square root of their number in
    the unit of one of them, which makes the comparisons most precise (Dunnett 1955).
    """
    weight = np.ones(arms)
    if control is not None and arms > 1:
        weight[control] = np.sqrt(arms - 1)
    return weight / weight.sum()


def impressions_needed(
    rates: tuple[float, float], shares: tuple[float, float], overdispersion: float = 1.0
) -> float:
    """Impressions of the whole test that find the difference of two arms with probability `POWER`.

    By a two-sided z-test at 5 % of two proportions. Infinite where the rates are equal.

    Args:
        rates: true rates of both arms.
        shares: of the test's traffic that they get.
        overdispersion: variance of observed rates in units of the binomial one.
    """
    difference = abs(rates[0] - rates[1])
    if difference == 0:
        return float("inf")
    variance = overdispersion * sum(p * (1 - p) / s for p, s in zip(rates, shares))
    reach = float(ndtri(1 - _LEVEL / 2) + ndtri(POWER))
    return variance * (reach / difference) ** 2


def chance_found(
    first_S: np.ndarray,
    second_S: np.ndarray,
    shares: tuple[float, float],
    traffic: float,
    overdispersion: float = 1.0,
) -> float:
    """Chance that a test of this size shows the first arm above the second, significantly.

    The power over what the rates may be (assurance; O'Hagan, Stevens and Campbell 2005).

    Args:
        first_S: S draws of the first arm's true rate.
        second_S: of the second's, drawn together.
        shares: of the traffic that they get.
        traffic: impressions of the whole test.
        overdispersion: variance of observed rates in units of the binomial one.
    """
    variance = sum(p * (1 - p) / (s * traffic) for p, s in zip((first_S, second_S), shares))
    z = (first_S - second_S) / np.sqrt(overdispersion * variance)
    return float(ndtr(z - ndtri(1 - _LEVEL / 2)).mean())


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Expected clicks per 1,000 impressions of what is shown afterwards."""

    planned: float
    """The winner of the planned test."""
    without_model: float
    """The winner of a test of as many arms, drawn blindly from the drafts."""
    without_test: float
    """The control; without one, a draft drawn blindly."""


def expected_gain(
    rate_SN: np.ndarray,
    chosen: Sequence[int],
    shares: np.ndarray,
    traffic: float,
    *,
    control: int | None,
    overdispersion: float = 1.0,
    seed: int = 0,
) -> Gain:
    """What is expected of the arm that wins, by simulating tests on draws of the true rates.

    The arm with the highest observed rate wins; observed rates scatter normally.

    Args:
        rate_SN: S draws of the true rates of N drafts.
        chosen: drafts of the planned test [A].
        shares: of the traffic that they get [A].
        traffic: impressions of the whole test.
        control: a draft that is tested in any case.
        overdispersion: variance of observed rates in units of the binomial one.
        seed: of the simulation.
    """
    rng = np.random.default_rng(seed)
    draws, drafts = rate_SN.shape
    planned = _winners(rate_SN[:, list(chosen)], shares * traffic, overdispersion, rng)
    others = np.array([draft for draft in range(drafts) if draft != control])
    order = rng.permuted(np.tile(others, (draws, 1)), axis=1)
    blind = order[:, : len(chosen) - (control is not None)]
    if control is not None:
        blind = np.concatenate([np.full((draws, 1), control), blind], axis=1)
    tested = np.take_along_axis(rate_SN, blind, axis=1)
    equal = traffic_shares(len(chosen), None if control is None else 0)
    unplanned = _winners(tested, equal * traffic, overdispersion, rng)
    untested = rate_SN if control is None else rate_SN[:, [control]]
    return Gain(
        planned=1000 * float(planned.mean()),
        without_model=1000 * float(unplanned.mean()),
        without_test=1000 * float(untested.mean()),
    )


def _winners(
    rate_SA: np.ndarray, impressions_A: np.ndarray, overdispersion: float, rng: np.random.Generator
) -> np.ndarray:
    """True rate of the arm that looks best [S]."""
    spread = np.sqrt(overdispersion * rate_SA * (1 - rate_SA) / impressions_A)
    seen = rate_SA + spread * rng.standard_normal(rate_SA.shape)
    return np.take_along_axis(rate_SA, seen.argmax(axis=1)[:, None], axis=1)[:, 0]

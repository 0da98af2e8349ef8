"""What is believed of a test's arms before it is run, and after some of their counts.

The true logit of an arm is taken as

    level of its A/B test + slope * predicted logit + error,    errors ~ N(0, C + deviation² I),

with a wide normal level N(., 4), so that only differences within a test count, and C the joint
uncertainty of the model where it has one. Slope and deviation maximise the marginal likelihood of
past tests (empirical Bayes) that the model did not train on: a model that knows nothing of them
gets a slope near 0, and the deviation is then how far arms of a test lie apart.

Counts enter by one step of Fisher scoring from the pooled rate p of the test (McCullagh and Nelder
1989, section 2.5): an arm with c clicks of n impressions is observed at (c / n - p) / (p (1 - p))
beside logit(p), with variance φ / (n p (1 - p)), φ the overdispersion. That is exact enough while
rates of a test's arms differ by less than a factor of two or three, and needs no clicks at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from ni_platform.beliefs.arms import SizedTests
from ni_platform.metrics.scored import Codes, Floats

LEVEL_VARIANCE = 4.0
"""Of the levels of A/B tests, in squared logits."""
FEWEST_TESTS = 5
"""Past tests from which on a prior is fitted."""
_DEVIATIONS = (1e-3, 3.0)
"""Bounds of the deviation, in logits."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """See above."""

    slope: float
    """Of the model's predicted differences; 0 without a model."""
    deviation: float
    """In logits."""
    overdispersion: float
    """Variance of observed rates in units of the binomial one."""
    with_model: bool = True
    """Whether it holds the model's own uncertainty."""
    tests: int = 0
    """Past tests that it was fitted to."""

    @classmethod
    def fit(
        cls, past: Sequence[SizedTests], overdispersion: float, *, with_model: bool
    ) -> Prior | None:
        """Fit it to past tests; None where they are fewer than `FEWEST_TESTS`.

        Without the model the slope is 0 and only the deviation is fitted.
        """
        tests = sum(len(some.number_T) for some in past)
        if tests < FEWEST_TESTS:
            return None
        observed = [fisher_step(one.clicks_TA, one.impressions_TA, overdispersion) for one in past]

        def likelihood(log_deviation: float) -> tuple[float, float]:
            return _profile(past, observed, float(np.exp(log_deviation)), with_model)

        found = minimize_scalar(
            lambda at: -likelihood(at)[0], bounds=np.log(_DEVIATIONS), method="bounded"
        )
        return cls(
            slope=likelihood(found.x)[1],
            deviation=float(np.exp(found.x)),
            overdispersion=overdispersion,
            with_model=with_model,
            tests=tests,
        )

    def of(self, tests: SizedTests) -> tuple[Floats, Floats]:
        """Mean [T, A] and covariance [T, A, A] of logits, levels included."""
        covariance_TAA = _with_spread(tests, self.deviation, self.with_model)
        return self.slope * tests.logit_TA, covariance_TAA


def fisher_step(
    clicks_PA: Codes | Floats, impressions_PA: Codes, overdispersion: float
) -> tuple[Floats, Floats]:
    """Observed logits beside that of the test's pooled rate, and 1 / their variances, two [P, A].

    An arm without impressions is observed at 0, with nothing behind it.
    """
    total_P1 = impressions_PA.sum(1, keepdims=True)
    # Clicks of part of a test may be fractions, even below 0: see `thinning.py`.
    pooled_P1 = (np.clip(clicks_PA.sum(1, keepdims=True), 0, total_P1) + 0.5) / (total_P1 + 1)
    variance_P1 = pooled_P1 * (1 - pooled_P1)
    rate_PA = clicks_PA / np.maximum(impressions_PA, 1)
    observed_PA = np.where(impressions_PA > 0, (rate_PA - pooled_P1) / variance_P1, 0.0)
    return observed_PA, impressions_PA * variance_P1 / overdispersion


def posterior(
    mean_PA: Floats,
    covariance_PAA: Floats,
    observed_PA: Floats,
    weight_PA: Floats,
    root_PAA: Floats | None = None,
    noise: tuple[Floats, Floats] | None = None,
) -> tuple[Floats, Floats]:
    """Posterior mean [P, A] of logits, and draws of all arms together [P, A, S].

    By B = I + √W C √W, W the weights (Rasmussen and Williams 2006, Algorithm 3.1), which needs no
    weight to be positive. Draws are corrected draws of the prior (Matheron's rule; Wilson et al.
    2020, "Efficiently sampling functions from Gaussian process posteriors", equation 9).

    Args:
        mean_PA: of the prior.
        covariance_PAA: of the prior.
        observed_PA: see `fisher_step`.
        weight_PA: see `fisher_step`.
        root_PAA: see `root`, for draws.
        noise: standard normal numbers for draws, two [P, A, S]; no draws if None.
    """
    root_weight = np.sqrt(weight_PA)[..., None]
    b_PAA = np.eye(mean_PA.shape[1]) + root_weight * covariance_PAA * root_weight.swapaxes(1, 2)
    start_PAS = np.zeros((*mean_PA.shape, 1))
    error_PAS = start_PAS
    if noise is not None and root_PAA is not None:
        start_PAS = np.concatenate([start_PAS, root_PAA @ noise[0]], axis=2)
        error_PAS = np.concatenate([error_PAS, noise[1]], axis=2)
    off_PAS = (observed_PA - mean_PA)[..., None] - start_PAS
    solved_PAS = np.linalg.solve(b_PAA, root_weight * off_PAS - error_PAS)
    found_PAS = mean_PA[..., None] + start_PAS + covariance_PAA @ (root_weight * solved_PAS)
    return found_PAS[..., 0], found_PAS[..., 1:]


def root(covariance_PAA: Floats) -> Floats:
    """R [P, A, A] with R Rᵀ the covariance, which rounding may have left a little below 0."""
    values_PA, vectors_PAA = np.linalg.eigh(covariance_PAA)
    return np.asarray(vectors_PAA * np.sqrt(np.maximum(values_PA, 0))[:, None, :])


def _with_spread(tests: SizedTests, deviation: float, with_model: bool) -> Floats:
    """Covariances of logits [T, A, A]: the model's own, the spread and the level."""
    own_TAA = tests.covariance_TAA if with_model else np.zeros_like(tests.covariance_TAA)
    return own_TAA + deviation**2 * np.eye(tests.arms) + LEVEL_VARIANCE


def _profile(
    past: Sequence[SizedTests],
    observed: Sequence[tuple[Floats, Floats]],
    deviation: float,
    with_model: bool,
) -> tuple[float, float]:
    """Log likelihood at a deviation with its best slope (generalised least squares), and that."""
    squares = np.zeros((2, 2))
    determinant = 0.0
    for tests, (logit_TA, weight_TA) in zip(past, observed):
        covariance_TAA = _with_spread(tests, deviation, with_model)
        covariance_TAA = covariance_TAA + np.eye(tests.arms) / weight_TA[:, None, :]
        both_TA2 = np.stack([logit_TA, tests.logit_TA], axis=2)
        solved_TA2 = np.linalg.solve(covariance_TAA, both_TA2)
        determinant += float(np.linalg.slogdet(covariance_TAA)[1].sum())
        squares += np.einsum("tai,taj->ij", both_TA2, solved_TA2)
    known = with_model and squares[1, 1] > 0
    slope = max(0.0, float(squares[0, 1] / squares[1, 1])) if known else 0.0
    misfit = squares[0, 0] - 2 * slope * squares[0, 1] + slope**2 * squares[1, 1]
    return -0.5 * (determinant + float(misfit)), slope

"""Training losses and how they add up over workers.

Every loss is a sum over contents or pairs (the numerator) over what it is an average of (the
denominator). Workers add up both, so the loss of W workers equals that of one worker with the
whole batch, whatever share of the batch each has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from ni_platform.data.batch import Outcomes
from ni_platform.errors import ConfigError
from ni_platform.models.outputs import Buckets, logits_of
from ni_platform.narrowing import given

Terms = dict[str, tuple[Tensor, Tensor]]
"""Numerator (differentiable) and denominator (not) of each loss, both scalars in float32."""

_LOGISTIC_WIDTH = 1.702
"""A logistic curve of this slope differs from Phi by less than 0.01 everywhere."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weight of each loss in the sum that is minimised; a loss of weight 0 is not computed.

    Where contents differ much in exposure, `overdispersion` keeps a few of them from deciding all.
    """

    mse: float = 1.0
    """NI Eq. 4: squared error of the rate, mean over contents."""
    weighted_mse: float = 0.0
    """The same, each content weighted by its impressions."""
    binomial: float = 0.0
    """Negative log-likelihood of the clicks given the impressions, per impression."""
    pairwise: float = 0.0
    """Cross entropy of which arm of an A/B test is better, weighted by how sure that is."""
    within_test_likelihood: float = 0.0
    """Negative log-likelihood of how a test's clicks divide over its arms, per click."""
    kl_divergence: float = 0.0
    """M2FN Eq. 2: divergence of the predicted distribution over buckets from the observed one."""
    earth_movers_distance: float = 0.0
    """Root mean squared difference of the cumulative distributions (NIMA, Talebi and Milanfar
    2018, Eq. 1 with r = 2)."""
    overdispersion: float = 0.0
    """Variance of true rates that no model explains, as a share of p (1 - p) in [0, 1]: n
    impressions then count as n / (1 + (n - 1) overdispersion) (Williams 1982, Applied Statistics).
    """

    def __post_init__(self) -> None:
        weights = self.weights
        wrong = {name: w for name, w in weights.items() if not (math.isfinite(w) and w >= 0)}
        if wrong:
            raise ConfigError(f"Loss weights must be finite and not negative, but {wrong} is.")
        if not any(weights.values()):
            raise ConfigError(f"At least one loss of {', '.join(weights)} needs a weight above 0.")
        if not 0 <= self.overdispersion <= 1:
            raise ConfigError(f"overdispersion must be in [0, 1], but is {self.overdispersion}.")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every loss, 0 included."""
        return {name: getattr(self, name) for name in (*_RATE_TERMS, *_DISTRIBUTION_TERMS)}

    @property
    def needs_distribution(self) -> bool:
        """Whether the model must give a distribution over buckets."""
        return any(self.weights[name] > 0 for name in _DISTRIBUTION_TERMS)

    @property
    def needs_whole_tests(self) -> bool:
        """Whether contents of one A/B test must meet in one worker's batch."""
        return self.pairwise > 0 or self.within_test_likelihood > 0


class Loss:
    """Weighted sum of losses of a model's outputs: logits [B], or [B, K] over `buckets`."""

    def __init__(
        self, config: LossConfig, buckets: Buckets | None = None, noise: float = 1.0
    ) -> None:
        """Take what the outputs are over, and the noise of rates in units of the binomial one."""
        self.buckets = buckets
        self._rate_terms = _RATE_TERMS | {"pairwise": partial(pairwise, noise=noise)}
        self.weights = {name: w for name, w in config.weights.items() if w > 0}
        self._overdispersion = config.overdispersion

    def terms(self, outputs: Tensor, outcomes: Outcomes) -> Terms:
        """Numerator and denominator of every loss with a weight, for these B contents."""
        outputs = outputs.float()
        if self._overdispersion:
            outcomes = _effective(outcomes, self._overdispersion)
        terms: Terms = {}
        on_rates = [name for name in self.weights if name in _RATE_TERMS]
        if on_rates:
            logits_B = logits_of(outputs, self.buckets)
            terms |= {name: self._rate_terms[name](logits_B, outcomes) for name in on_rates}
        for name in self.weights:
            if name in _DISTRIBUTION_TERMS:
                observed_BK = given(self.buckets).spread(outcomes)
                terms[name] = _DISTRIBUTION_TERMS[name](outputs, observed_BK)
        return terms

    def any_outputs(self, contents: int) -> Tensor:
        """Outputs of the right shape, for denominators, which do not depend on their values."""
        return torch.zeros(contents, *([len(self.buckets.values)] if self.buckets else []))

    def combine(self, terms: Terms, denominators: Mapping[str, Tensor] | None = None) -> Tensor:
        """Weighted sum of numerator over denominator.

        `denominators` replaces the terms' own, for instance by their sum over workers and
        micro-batches; the sum of all these results is then the loss of the whole batch. A loss
        whose denominator is 0 (no pair in the batch) counts 0.
        """
        total = torch.zeros(())
        for name, (numerator, own) in terms.items():
            denominator = own if denominators is None else denominators[name]
            share = numerator / torch.where(denominator > 0, denominator, 1.0)
            total = total.to(share) + self.weights[name] * share
        return total

    def __call__(self, outputs: Tensor, outcomes: Outcomes) -> Tensor:
        """The loss of one batch that no other worker shares."""
        return self.combine(self.terms(outputs, outcomes))


def mse(logits_B: Tensor, outcomes: Outcomes) -> tuple[Tensor, Tensor]:
    """Squared error between sigmoid(logit) and the success rate (NI Eq. 4), per content."""
    error_B = torch.sigmoid(logits_B) - outcomes.success_rate_B
    return error_B.square().sum(), error_B.new_tensor(float(len(error_B)))


def weighted_mse(logits_B: Tensor, outcomes: Outcomes) -> tuple[Tensor, Tensor]:
    """Squared error weighted by impressions: a rate from few impressions says little."""
    error_B = torch.sigmoid(logits_B) - outcomes.success_rate_B
    return (error_B.square() * outcomes.impressions_B).sum(), outcomes.impressions_B.sum()


def binomial(logits_B: Tensor, outcomes: Outcomes) -> tuple[Tensor, Tensor]:
    """-[c log p + (n - c) log(1 - p)], per impression."""
    misses_B = outcomes.impressions_B - outcomes.clicks_B
    likelihood_B = outcomes.clicks_B * functional.logsigmoid(logits_B)
    likelihood_B = likelihood_B + misses_B * functional.logsigmoid(-logits_B)
    return -likelihood_B.sum(), outcomes.impressions_B.sum()


def pairwise(logits_B: Tensor, outcomes: Outcomes, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """Cross entropy of which arm of an A/B test shows the higher rate, over its pairs.

    With s the noise of a pair's observed log-odds difference, a model foresees that the first
    arm comes out better with probability Phi(difference of logits / s), here by the logistic
    curve of the same width. So a pair asks for differences of the size that rates really have,
    and the loss agrees with `binomial` on them. The target is Phi(z), z the two-proportion z
    statistic, and the pair's weight |2 Phi(z) - 1|: what may well be noise hardly counts. `noise`
    is the variance of observed rates in units of the binomial one.
    """
    impressions_B, clicks_B = outcomes.impressions_B, outcomes.clicks_B
    shown_BB = (impressions_B > 0).unsqueeze(1) & (impressions_B > 0).unsqueeze(0)
    pair_BB = _same_test(outcomes.ab_test_B).triu(1) & shown_BB
    # Impossible pairs get harmless counts instead of a division by zero.
    safe_B = impressions_B.clamp(min=1)
    rate_B = clicks_B / safe_B
    pooled_BB = (clicks_B.unsqueeze(1) + clicks_B) / (safe_B.unsqueeze(1) + safe_B)
    spread_BB = pooled_BB * (1 - pooled_BB)
    inverse_BB = noise * (1 / safe_B.unsqueeze(1) + 1 / safe_B)
    usable_BB = pair_BB & (spread_BB > 0)
    spread_BB = torch.where(usable_BB, spread_BB, 1.0)
    z_BB = (rate_B.unsqueeze(1) - rate_B) / (spread_BB * inverse_BB).sqrt()
    target_BB = torch.special.ndtr(z_BB)
    weight_BB = torch.where(usable_BB, (2 * target_BB - 1).abs(), 0.0)
    noise_BB = (inverse_BB / spread_BB).sqrt()
    margin_BB = _LOGISTIC_WIDTH * (logits_B.unsqueeze(1) - logits_B) / noise_BB
    loss_BB = functional.softplus(margin_BB) - target_BB * margin_BB
    return (weight_BB * loss_BB).sum(), weight_BB.sum()


def within_test_likelihood(logits_B: Tensor, outcomes: Outcomes) -> tuple[Tensor, Tensor]:
    """Likelihood of how the clicks of an A/B test divide over its arms, per click.

    Given the test's total, clicks of arms are multinomial with probabilities proportional to
    impressions times rate (exact for Poisson clicks), so the test's own level cancels. Contents
    without another arm in the batch do not count.
    """
    shown_B = outcomes.impressions_B > 0
    same_BB = _same_test(outcomes.ab_test_B) & shown_B.unsqueeze(0) & shown_B.unsqueeze(1)
    counts_B = same_BB.sum(1) > 1
    expected_B = functional.logsigmoid(logits_B) + outcomes.impressions_B.clamp(min=1).log()
    # A row without a test would have no term: give it its own, it has no weight anyway.
    eye_BB = torch.eye(len(logits_B), dtype=torch.bool, device=logits_B.device)
    total_B = (
        expected_B.unsqueeze(0)
        .expand_as(same_BB)
        .masked_fill(~(same_BB | eye_BB), -torch.inf)
        .logsumexp(1)
    )
    clicks_B = torch.where(counts_B, outcomes.clicks_B, 0.0)
    return (clicks_B * (total_B - expected_B)).sum(), clicks_B.sum()


def kl_divergence(logits_BK: Tensor, observed_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over buckets of p log(p / p̂) (M2FN Eq. 2), per content."""
    predicted_BK = logits_BK.log_softmax(1)
    entropy = torch.special.entr(observed_BK).sum()
    cross = -(observed_BK * predicted_BK).sum()
    return cross - entropy, logits_BK.new_tensor(float(len(logits_BK)))


def earth_movers_distance(logits_BK: Tensor, observed_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Root mean squared difference, over buckets, of cumulative distributions, per content."""
    gap_BK = logits_BK.softmax(1).cumsum(1) - observed_BK.cumsum(1)
    # A root has no gradient at zero, where a model that is exactly right would be.
    distance_B = (gap_BK.square().mean(1) + 1e-12).sqrt()
    return distance_B.sum(), logits_BK.new_tensor(float(len(logits_BK)))


def _effective(outcomes: Outcomes, overdispersion: float) -> Outcomes:
    """Outcomes with as many impressions as the binomial noise of their rates alone would need."""
    impressions_B = outcomes.impressions_B
    share_B = 1 / (1 + (impressions_B - 1).clamp(min=0) * overdispersion)
    return replace(
        outcomes, impressions_B=impressions_B * share_B, clicks_B=outcomes.clicks_B * share_B
    )


def _same_test(ab_test_B: Tensor) -> Tensor:
    """Bool [B, B]: whether two contents are of one A/B test."""
    return (ab_test_B.unsqueeze(1) == ab_test_B) & (ab_test_B >= 0).unsqueeze(1)


_RATE_TERMS: dict[str, Callable[[Tensor, Outcomes], tuple[Tensor, Tensor]]] = {
    "mse": mse,
    "weighted_mse": weighted_mse,
    "binomial": binomial,
    "pairwise": pairwise,
    "within_test_likelihood": within_test_likelihood,
}
_DISTRIBUTION_TERMS = {
    "kl_divergence": kl_divergence,
    "earth_movers_distance": earth_movers_distance,
}

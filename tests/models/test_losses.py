"""Each loss against arithmetic done by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import multinomial, norm
from statsmodels.stats.proportion import proportions_ztest

from ni_platform.data.batch import Outcomes
from ni_platform.errors import ConfigError
from ni_platform.models.losses import Loss, LossConfig
from ni_platform.models.outputs import Buckets


def outcomes(clicks, impressions, ab_test) -> Outcomes:
    """Outcomes of as many contents as counts are given."""
    clicks, impressions = torch.tensor(clicks), torch.tensor(impressions)
    return Outcomes(
        impressions_B=impressions.float(),
        clicks_B=clicks.float(),
        success_rate_B=clicks / impressions.clamp(min=1),
        ab_test_B=torch.tensor(ab_test),
    )


def only(name: str) -> Loss:
    """The loss of one name alone."""
    return Loss(LossConfig(**{"mse": 0.0, name: 1.0}))


def logit(rate: float) -> float:
    """The argument at which the sigmoid is `rate`."""
    return math.log(rate / (1 - rate))


def test_mse():
    """The squared error is taken on the rate, not on the logit."""
    observed = outcomes([1, 5], [10, 10], [-1, -1])
    loss = only("mse")(torch.tensor([logit(0.2), logit(0.2)]), observed)
    assert loss.item() == pytest.approx((0.1**2 + 0.3**2) / 2)


def test_weighted_mse():
    """Impressions weight the squared error."""
    observed = outcomes([1, 15], [10, 30], [-1, -1])
    loss = only("weighted_mse")(torch.tensor([logit(0.2), logit(0.2)]), observed)
    assert loss.item() == pytest.approx((10 * 0.1**2 + 30 * 0.3**2) / 40)


def test_binomial():
    """The binomial loss is the entropy per impression where the rate is the observed one."""
    observed = outcomes([2, 5], [10, 10], [-1, -1])
    loss = only("binomial")(torch.tensor([logit(0.2), 0.0]), observed)
    entropy = -(2 * math.log(0.2) + 8 * math.log(0.8)) - 10 * math.log(0.5)
    assert loss.item() == pytest.approx(entropy / 20)


def test_overdispersion_keeps_the_rate_and_bounds_the_weight():
    """With rho 0.1, 10 impressions count as 10 / 1.9 and a million as just under 10."""
    observed = outcomes([5, 100_000], [10, 1_000_000], [-1, -1])
    config = LossConfig(mse=0.0, binomial=1.0, overdispersion=0.1)
    loss = Loss(config)(torch.tensor([logit(0.2), logit(0.2)]), observed)

    few, many = 10 / 1.9, 1e6 / (1 + 999_999 * 0.1)
    few_loss = -(0.5 * math.log(0.2) + 0.5 * math.log(0.8))
    many_loss = -(0.1 * math.log(0.2) + 0.9 * math.log(0.8))
    assert loss.item() == pytest.approx((few * few_loss + many * many_loss) / (few + many))


@pytest.mark.parametrize("overdispersion", [1.0, 2.5])
def test_pairwise(overdispersion):
    """A pair's logit difference over its noise is compared with Phi(z), weighted by certainty."""
    clicks, impressions = [30, 50, 40, 7], [1000, 1000, 800, 100]
    observed = outcomes(clicks, impressions, [3, 3, 3, -1])
    logits = torch.tensor([0.3, -0.2, 0.1, 2.0])
    total = weight = 0.0
    for i, j in ((0, 1), (0, 2), (1, 2)):
        z, _ = proportions_ztest([clicks[i], clicks[j]], [impressions[i], impressions[j]])
        z /= math.sqrt(overdispersion)
        target, certainty = norm.cdf(z), abs(2 * norm.cdf(z) - 1)
        pooled = (clicks[i] + clicks[j]) / (impressions[i] + impressions[j])
        inverse = overdispersion * (1 / impressions[i] + 1 / impressions[j])
        noise = math.sqrt(inverse / (pooled * (1 - pooled)))
        better = 1 / (1 + math.exp(-1.702 * (logits[i] - logits[j]) / noise))
        entropy = -(target * math.log(better) + (1 - target) * math.log(1 - better))
        total, weight = total + certainty * entropy, weight + certainty
    loss = Loss(LossConfig(mse=0.0, pairwise=1.0), noise=overdispersion)
    assert loss(logits, observed).item() == pytest.approx(total / weight, rel=1e-5)


def test_pairwise_agrees_with_the_observed_difference():
    """Two arms fit best when their logits differ as their observed log-odds do."""
    observed = outcomes([80, 66], [1000, 1000], [0, 0])
    difference = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([difference], max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = only("pairwise")(torch.cat([difference, torch.zeros(1)]), observed)
        loss.backward()
        return loss

    optimizer.step(closure)
    # The logistic curve stands in for Phi and the pooled rate for both, hence the tolerance.
    assert difference.item() == pytest.approx(logit(0.08) - logit(0.066), rel=0.1)


def test_pairwise_without_information():
    """Arms without clicks or impressions add nothing, and no nan to the gradient."""
    observed = outcomes([0, 0, 0], [100, 100, 0], [1, 1, 1])
    logits = torch.tensor([1.0, -1.0, 0.0], requires_grad=True)
    loss = only("pairwise")(logits, observed)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.tolist() == [0, 0, 0]


def test_within_test_likelihood():
    """It is the multinomial likelihood of the clicks, up to its coefficient, per click."""
    clicks, impressions = [3, 5, 4, 2, 9], [100, 120, 80, 50, 60]
    observed = outcomes(clicks, impressions, [0, 0, 7, 7, -1])
    rates = [0.02, 0.05, 0.03, 0.04, 0.5]
    expected = 0.0
    for arms in ((0, 1), (2, 3)):
        shares = [impressions[i] * rates[i] for i in arms]
        shares = [share / sum(shares) for share in shares]
        counts = [clicks[i] for i in arms]
        coefficient = math.comb(sum(counts), counts[0])
        likelihood = multinomial.pmf(counts, sum(counts), shares)
        expected -= math.log(likelihood / coefficient)
    loss = only("within_test_likelihood")(torch.tensor([logit(rate) for rate in rates]), observed)
    assert loss.item() == pytest.approx(expected / 14, rel=1e-5)


def test_within_test_likelihood_ignores_the_level():
    """A common factor on all rates of a test changes nothing."""
    observed = outcomes([3, 5], [100, 120], [0, 0])
    loss = only("within_test_likelihood")
    low = loss(torch.tensor([logit(0.01), logit(0.02)]), observed)
    high = loss(torch.tensor([logit(0.1), logit(0.2)]), observed)
    assert low.item() == pytest.approx(high.item(), rel=1e-5)


def test_lone_contents_keep_a_gradient_of_zero():
    """Without any pair the within-test losses are zero and finite, gradient included."""
    logits = torch.tensor([1.0, -1.0], requires_grad=True)
    config = LossConfig(mse=0.0, pairwise=1.0, within_test_likelihood=1.0)
    loss = Loss(config)(logits, outcomes([3, 5], [100, 120], [-1, 4]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.tolist() == [0, 0]


def test_terms_of_shards_add_up():
    """With denominators summed over shards, the shards' losses add up to the whole batch's."""
    config = LossConfig(mse=2.0, weighted_mse=1.0, binomial=0.5, pairwise=1.5)
    loss = Loss(config)
    logits = torch.randn(5, generator=torch.Generator().manual_seed(0))
    whole = outcomes([3, 5, 4, 2, 9], [100, 120, 80, 50, 60], [0, 0, 7, 7, -1])
    shards = [
        (slice(0, 2), [3, 5], [100, 120], [0, 0]),
        (slice(2, 5), [4, 2, 9], [80, 50, 60], [7, 7, -1]),
    ]
    terms = [loss.terms(logits[rows], outcomes(*counts)) for rows, *counts in shards]
    denominators = {name: sum(part[name][1] for part in terms) for name in terms[0]}
    total = sum(loss.combine(part, denominators) for part in terms)
    torch.testing.assert_close(total, loss(logits, whole))


@pytest.mark.parametrize(
    "weights",
    [{"mse": 0.0}, {"mse": -1.0}, {"binomial": math.nan}, {"overdispersion": 1.5}],
)
def test_weights_that_make_no_loss(weights):
    """Weights must be finite, not negative, and not all zero."""
    with pytest.raises(ConfigError, match=r"Loss weights|At least one|overdispersion"):
        LossConfig(**weights)


def test_extreme_logits_stay_finite():
    """Logits of a diverging model give a large loss, not nan."""
    config = LossConfig(binomial=1.0, pairwise=1.0, within_test_likelihood=1.0)
    observed = outcomes([3, 5], [100, 120], [0, 0])
    assert torch.isfinite(Loss(config)(torch.tensor([500.0, -500.0]), observed))


def test_losses_of_distributions():
    """Divergence and earth mover's distance of two contents, summed up bucket by bucket."""
    buckets = Buckets(values=(0.0, 0.5, 1.0), shares=(1 / 3,) * 3)
    observed = replace(
        outcomes([3, 2], [4, 4], [-1, -1]), ratings_BK=torch.tensor([[1.0, 0, 3], [2, 2, 0]])
    )
    predicted = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]])
    outputs = predicted.log() + 7  # softmax does not see a constant

    divergence = Loss(LossConfig(mse=0, kl_divergence=1), buckets)(outputs, observed)
    first = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.25)
    second = 0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.3)
    assert divergence.item() == pytest.approx((first + second) / 2)

    distance = Loss(LossConfig(mse=0, earth_movers_distance=1), buckets)(outputs, observed)
    first = math.sqrt((0.25**2 + 0.5**2 + 0) / 3)
    second = math.sqrt((0.3**2 + 0.5**2 + 0) / 3)
    assert distance.item() == pytest.approx((first + second) / 2, rel=1e-4)

    # The mean of a predicted distribution is a rate, so losses of rates work as well.
    squared = Loss(LossConfig(mse=1), buckets)(outputs, observed)
    expected = ((0.375 - 0.75) ** 2 + (0.65 - 0.5) ** 2) / 2
    assert squared.item() == pytest.approx(expected, rel=1e-4)


def test_a_distribution_that_is_right_costs_nothing():
    """At the observed distribution both losses are zero and so is their gradient."""
    buckets = Buckets(values=(0.0, 0.5, 1.0), shares=(1 / 3,) * 3)
    ratings = torch.tensor([[1.0, 2.0, 5.0]])
    observed = replace(outcomes([6], [8], [-1]), ratings_BK=ratings)
    outputs = ratings.log().requires_grad_()
    config = LossConfig(mse=0, kl_divergence=1, earth_movers_distance=1)
    loss = Loss(config, buckets)(outputs, observed)
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert gradient.abs().max().item() < 1e-5

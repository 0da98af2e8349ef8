"""Buckets against scipy's normal distribution and ratings counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from ni_platform.data.batch import Outcomes
from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import DatasetError
from ni_platform.models.outputs import Buckets, logits_of, output_layer, outputs_of, rates


def clicked(clicks, impressions) -> Dataset:
    """A dataset of contents with these counts."""
    frame = pd.DataFrame({"id": range(len(clicks)), "n": impressions, "c": clicks})
    manifest = Manifest(
        name="t", columns=Columns(content_id="id"), target=Target(impressions="n", clicks="c")
    )
    return Dataset("memory", manifest, frame)


def rated(*counts) -> Dataset:
    """A dataset of contents rated in three buckets."""
    frame = pd.DataFrame(counts, columns=["r1", "r2", "r3"]).assign(id=range(len(counts)))
    target = Target(ratings=("r1", "r2", "r3"))
    return Dataset(
        "memory", Manifest(name="t", columns=Columns(content_id="id"), target=target), frame
    )


def outcomes(clicks, impressions) -> Outcomes:
    """Outcomes in float64, as independent computations are."""
    clicks = torch.tensor(clicks, dtype=torch.float64)
    impressions = torch.tensor(impressions, dtype=torch.float64)
    return Outcomes(
        impressions_B=impressions,
        clicks_B=clicks,
        success_rate_B=clicks / impressions,
        ab_test_B=torch.full((len(clicks),), -1),
    )


def test_a_rate_is_spread_log_normally():
    """Each bucket gets the normal probability of the log rate between its edges."""
    buckets = Buckets(values=(0.01, 0.03, 0.1), shares=(1 / 3,) * 3, log_edges=(-4.0, -3.0))
    (found,) = buckets.spread(outcomes([5], [200]))
    rate = 5.5 / 201
    noise = math.sqrt((1 - rate) / (200 * rate))
    below = norm.cdf([-4.0, -3.0], loc=math.log(rate), scale=noise)
    assert found.numpy() == pytest.approx([below[0], below[1] - below[0], 1 - below[1]])


def test_buckets_are_fitted_on_shown_training_rows():
    """Edges stand at -2 to 2 deviations of the log rates; values are means inside the buckets."""
    rng = np.random.default_rng(0)
    impressions = np.full(4000, 10_000)
    log_rates = rng.normal(-3.5, 0.4, size=4000)
    clicks = (impressions * np.exp(log_rates)).round()
    data = clicked([*clicks, 0, 0], [*impressions, 0, 10_000])
    buckets = Buckets.fit(data, np.arange(4001))  # the last row is not a training row

    assert len(buckets.values) == len(buckets.shares) == 10
    assert buckets.log_edges == pytest.approx(-3.5 + 0.4 * np.linspace(-2, 2, 9), abs=0.04)
    inside = np.digitize(log_rates, buckets.log_edges)
    means = [np.exp(log_rates[inside == k]).mean() for k in range(10)]
    assert buckets.values == pytest.approx(means, rel=0.06)
    assert buckets.shares == pytest.approx(np.bincount(inside) / 4000, abs=0.02)
    with pytest.raises(DatasetError, match="contents with impressions"):
        Buckets.fit(data, [4000])


def test_ratings_are_distributions_already():
    """Shares of the counts; the mean lies on [0, 1] and the deviation is the histogram's."""
    data = rated((1, 2, 1), (0, 0, 4))
    buckets = Buckets.fit(data, [0, 1])
    assert buckets.values == (0.0, 0.5, 1.0)
    assert buckets.shares == pytest.approx((0.125, 0.25, 0.625))
    found = buckets.observed_deviation(data, np.array([0, 1]))
    assert found == pytest.approx([math.sqrt(0.25 * 0.25 * 2), 0.0])


def test_rates_of_logits_and_of_distributions():
    """A sigmoid, or the mean and deviation of the softmax; both as logits again."""
    buckets = Buckets(values=(0.1, 0.4), shares=(0.75, 0.25), log_edges=(-1.0,))
    outputs = torch.tensor([[math.log(3.0), 0.0]])
    mean, deviation = rates(outputs, buckets)
    assert mean.item() == pytest.approx(0.75 * 0.1 + 0.25 * 0.4)
    assert deviation.item() == pytest.approx(0.3 * math.sqrt(0.75 * 0.25))
    assert torch.sigmoid(logits_of(outputs, buckets)).item() == pytest.approx(mean.item())

    logit = torch.tensor([-2.0, -1e4])
    mean, none = rates(logit, None)
    assert mean[0].item() == pytest.approx(1 / (1 + math.exp(2)))
    assert 0 < mean[1].item() < 1e-12
    assert none is None
    assert torch.equal(logits_of(logit, None), logit)


def test_output_layers_start_at_the_training_rows():
    """With zero features a rate is the usual one and a distribution the mean one."""
    nothing = torch.zeros(1, 4)
    assert torch.sigmoid(outputs_of(output_layer(4, 0.02), nothing)).item() == pytest.approx(0.02)
    buckets = Buckets(values=(0.1, 0.4), shares=(0.75, 0.25), log_edges=(-1.0,))
    layer = output_layer(4, 0.02, buckets)
    assert outputs_of(layer, nothing).softmax(1)[0].tolist() == pytest.approx([0.75, 0.25])

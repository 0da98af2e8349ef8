"""What a regressor gives out: the logit of one success rate, or logits over ordered buckets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor, nn

from ni_platform.data.batch import Outcomes
from ni_platform.data.dataset import Dataset
from ni_platform.errors import DatasetError
from ni_platform.narrowing import given

BUCKETS = 10
"""Of a success rate's distribution, as many as AVA's ratings have (M2FN Sections 6.4, 7.2)."""

_EDGES_AT = np.linspace(-2, 2, BUCKETS - 1)
"""Inner edges in standard deviations of the training contents' log rates."""

_LOGIT_LIMIT = 30.0
"""Beyond it float64 rates come close to being exactly 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class Buckets:
    """K ordered buckets of success rates, fitted on training contents.

    Ratings are distributions already. A success rate is spread log-normally (M2FN Section 7.2):
    with c clicks of n impressions its logarithm has the mean log p, p = (c + 1/2) / (n + 1), and
    the variance (1 - p) / (n p) of the delta method; a bucket gets the probability between its
    edges. So few impressions give a wide distribution and many a narrow one.
    """

    values: tuple[float, ...]
    """The success rate that stands for each bucket, rising."""
    shares: tuple[float, ...]
    """Mean distribution of the training contents; output layers start there."""
    log_edges: tuple[float, ...] | None = None
    """Logarithms of the K - 1 inner edges; None for ratings."""

    @classmethod
    def fit(cls, dataset: Dataset, rows: Sequence[int] | np.ndarray) -> Buckets:
        """Take the levels of ratings, or ten buckets between the rates of the rows that were shown.

        Raises:
            DatasetError: no row was shown.
        """
        shown: np.ndarray = np.asarray(rows, dtype=np.int64)
        shown = shown[dataset.impressions[shown] > 0]
        if not len(shown):
            raise DatasetError(
                "Buckets are fitted on contents with impressions, but there are none."
            )
        ratings = dataset.ratings
        if ratings is not None:
            shares = (ratings[shown] / ratings[shown].sum(axis=1, keepdims=True)).mean(axis=0)
            return cls(
                values=tuple(np.linspace(0, 1, ratings.shape[1]).tolist()),
                shares=tuple(shares.tolist()),
            )
        clicks, impressions = dataset.clicks[shown], dataset.impressions[shown]
        log_rate = np.log((clicks + 0.5) / (impressions + 1))
        # Rates that are all the same would leave no room between the edges.
        mean, spread = float(log_rate.mean()), max(float(log_rate.std()), 1e-2)
        buckets = cls(
            values=tuple(_means_between(mean, spread).tolist()),
            shares=(1 / BUCKETS,) * BUCKETS,
            log_edges=tuple((mean + spread * _EDGES_AT).tolist()),
        )
        spreads_BK = buckets.spread(
            Outcomes(
                impressions_B=torch.as_tensor(impressions),
                clicks_B=torch.as_tensor(clicks),
                success_rate_B=torch.as_tensor(clicks / impressions),
                ab_test_B=torch.full((len(shown),), -1),
            )
        )
        return cls(
            values=buckets.values,
            shares=tuple(spreads_BK.mean(0).tolist()),
            log_edges=buckets.log_edges,
        )

    def spread(self, outcomes: Outcomes) -> Tensor:
        """Observed distributions [B, K] of contents with impressions; rows sum to 1."""
        if self.log_edges is None:
            ratings_BK = given(outcomes.ratings_BK)
            return ratings_BK / ratings_BK.sum(1, keepdim=True)
        n_B1, c_B1 = outcomes.impressions_B.unsqueeze(1), outcomes.clicks_B.unsqueeze(1)
        rate_B1 = (c_B1 + 0.5) / (n_B1 + 1)
        deviation_B1 = ((1 - rate_B1) / (n_B1.clamp(min=1) * rate_B1)).sqrt()
        edges_K = torch.as_tensor(self.log_edges, dtype=n_B1.dtype, device=n_B1.device)
        below_BK = torch.special.ndtr((edges_K - rate_B1.log()) / deviation_B1)
        zero_B1, one_B1 = torch.zeros_like(n_B1), torch.ones_like(n_B1)
        return torch.cat([zero_B1, below_BK, one_B1], dim=1).diff(dim=1)

    def observed_deviation(self, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
        """Standard deviation of the observed distributions of dataset rows, float64 [len(rows)]."""
        outcomes = Outcomes(
            impressions_B=torch.as_tensor(dataset.impressions[rows]),
            clicks_B=torch.as_tensor(dataset.clicks[rows]),
            success_rate_B=torch.as_tensor(dataset.success_rate[rows]),
            ab_test_B=torch.full((len(rows),), -1),
            ratings_BK=None if dataset.ratings is None else torch.as_tensor(dataset.ratings[rows]),
        )
        return self.mean_and_deviation(self.spread(outcomes))[1].numpy()

    def mean_and_deviation(self, probabilities_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [B] and standard deviation [B] of success rates with these distributions."""
        values_K = torch.as_tensor(
            self.values, dtype=probabilities_BK.dtype, device=probabilities_BK.device
        )
        mean_B = probabilities_BK @ values_K
        squares_BK = (values_K - mean_B.unsqueeze(1)).square()
        return mean_B, (probabilities_BK * squares_BK).sum(1).sqrt()


def rates(outputs: Tensor, buckets: Buckets | None) -> tuple[Tensor, Tensor | None]:
    """Success rates [B] in (0, 1), and their standard deviations [B] where there are buckets.

    `outputs` are logits [B] without buckets and logits [B, K] with them; results are float64.
    """
    outputs = outputs.double()
    if buckets is None:
        return torch.sigmoid(outputs.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)), None
    return buckets.mean_and_deviation(outputs.softmax(1))


def logits_of(outputs: Tensor, buckets: Buckets | None) -> Tensor:
    """Logits [B] of the success rates that `outputs` stand for; differentiable."""
    if buckets is None:
        return outputs
    mean_B, _ = buckets.mean_and_deviation(outputs.softmax(1))
    return torch.logit(mean_B, eps=1e-6)


def output_layer(width: int, initial_rate: float, buckets: Buckets | None = None) -> nn.Linear:
    """The last layer; its bias starts at the usual rate: marketing rates are far from one half."""
    layer = nn.Linear(width, 1 if buckets is None else len(buckets.values))
    if buckets is None:
        nn.init.constant_(layer.bias, math.log(initial_rate / (1 - initial_rate)))
    else:
        with torch.no_grad():
            layer.bias.copy_(torch.tensor(buckets.shares).clamp(min=1e-4).log())
    return layer


def outputs_of(layer: nn.Linear, x_BW: Tensor) -> Tensor:
    """Logits [B], or [B, K], in float32, also under autocast: bfloat16 holds -4.1 to 0.03 only."""
    with torch.autocast(x_BW.device.type, enabled=False):
        outputs: Tensor = layer(x_BW.float())
    return outputs.squeeze(1) if layer.out_features == 1 else outputs


def _means_between(mean: float, spread: float) -> np.ndarray:
    """Mean rate inside each bucket of rates whose logarithm is normal."""
    edges = np.concatenate([[-np.inf], _EDGES_AT, [np.inf]])
    inside = np.diff(ndtr(edges - spread)) / np.diff(ndtr(edges))
    return np.clip(np.exp(mean + spread**2 / 2) * inside, 0, 1)

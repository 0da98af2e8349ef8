"""The arms of A/B tests as a Gaussian process learns from them.

An arm with c clicks of n impressions has y = log((c + 1/2) / (n - c + 1/2)) with

    y = level of its A/B test + f(content) + residual + noise,

levels N(mean, 4), f a Gaussian process with one kernel per modality, the residual what no
modality says of an arm, and the noise φ / (n p (1 - p)), p = (c + 1/2) / (n + 1): binomial but for
the overdispersion φ (`data/overdispersion.py`). Arms of a test with equal inputs are
pooled. Variances of kernels and residual maximise the marginal likelihood.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ni_platform.data.overdispersion import empirical_logit, logit_noise

LEVEL_VARIANCE = 4.0
"""Of the levels of A/B tests: wide, as only differences within tests are to be learned from."""

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class Arms:
    """N arms, those of a test with equal inputs pooled."""

    content_N: np.ndarray
    """Of each arm the position of its distinct content."""
    test_N: np.ndarray
    """Codes of their tests; contents of no test share one."""
    clicks_N: np.ndarray
    impressions_N: np.ndarray
    alone_N: np.ndarray
    """Bool: contents of no test, whose codes only keep them from being one large test."""
    overdispersion: float
    """Variance of observed rates in units of the binomial one."""

    @classmethod
    def pool(
        cls,
        content: np.ndarray,
        test: np.ndarray,
        clicks: np.ndarray,
        impressions: np.ndarray,
        overdispersion: float = 1.0,
        alone: np.ndarray | None = None,
    ) -> Arms:
        """Pool the arms that were shown; `alone` says which are of no test."""
        shown = impressions > 0
        content, test, clicks, impressions = (
            values[shown] for values in (content, test, clicks, impressions)
        )
        pairs, first, arm = np.unique(
            np.stack([test, content]), axis=1, return_index=True, return_inverse=True
        )
        count = pairs.shape[1]
        pooled_clicks = np.bincount(arm, clicks, count)
        pooled_impressions = np.bincount(arm, impressions, count)
        _, code = np.unique(pairs[0], return_inverse=True)
        return cls(
            content_N=pairs[1],
            test_N=code,
            clicks_N=pooled_clicks,
            impressions_N=pooled_impressions,
            alone_N=np.zeros(count, dtype=bool) if alone is None else alone[shown][first],
            overdispersion=overdispersion,
        )

    @property
    def logits(self) -> np.ndarray:
        """Empirical logits, float64."""
        return empirical_logit(self.clicks_N, self.impressions_N)

    @property
    def noise(self) -> np.ndarray:
        """Variances of the logits, float64."""
        return self.overdispersion * logit_noise(self.clicks_N, self.impressions_N)


def chunks_of_tests(test_N: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of whole tests, by codes [N] from 0, some thousand arms at a time."""
    order = np.argsort(test_N, kind="stable")
    order = order[np.searchsorted(test_N[order], 0) :]
    ends = np.append(np.flatnonzero(np.diff(test_N[order])) + 1, len(order))
    begin = 0
    for end in ends.tolist():
        if end - begin >= _CHUNK or (end == len(order) and end > begin):
            yield order[begin:end]
            begin = end

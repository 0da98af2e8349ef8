"""A/B tests that happened, gathered by their number of arms so that all are computed at once.

T is a number of A/B tests, A of the arms that each of these has, P of replays of tests (a test
several times), S of draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ni_platform.errors import DatasetError
from ni_platform.metrics.scored import Codes, Floats

MOST_IMPRESSIONS = 10**9
"""Of an arm, from which on drawing without replacement is not exact any more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SizedTests:
    """T A/B tests with A arms each, two or more."""

    number_T: Codes
    """Position of each test among all."""
    clicks_TA: Codes
    impressions_TA: Codes
    """All positive."""
    logit_TA: Floats
    """Predicted logits less their mean in the test."""
    covariance_TAA: Floats
    """Of what the model does not know of them; zeros where it does not say."""

    @property
    def arms(self) -> int:
        """Arms of each test."""
        return self.clicks_TA.shape[1]

    def rows(self, chosen: np.ndarray) -> SizedTests:
        """Return some of the tests, by an index of numpy."""
        return SizedTests(
            number_T=self.number_T[chosen],
            clicks_TA=self.clicks_TA[chosen],
            impressions_TA=self.impressions_TA[chosen],
            logit_TA=self.logit_TA[chosen],
            covariance_TAA=self.covariance_TAA[chosen],
        )


def gathered(
    test: Codes,
    clicks: Floats,
    impressions: Floats,
    logit: Floats,
    covariance: Mapping[int, Floats],
) -> list[SizedTests]:
    """Gather N arms by tests, and these by their number of arms.

    Args:
        test: numbers from 0 [N]; tests with one arm are left out.
        clicks: of each arm [N].
        impressions: of each arm [N], positive.
        logit: predicted [N].
        covariance: of the logits of a test's arms, in their order [A, A]; zeros if not given.

    Raises:
        DatasetError: A count is no whole number, or too large.
    """
    _check(clicks, impressions)
    order = np.argsort(test, kind="stable")
    starts = np.flatnonzero(np.diff(test[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(order)))
    found = []
    for size in np.unique(sizes[sizes > 1]).tolist():
        rows_TA = order[starts[sizes == size][:, None] + np.arange(size)]
        number_T = test[rows_TA[:, 0]]
        none = np.zeros((size, size))
        own_TA = logit[rows_TA]
        found.append(
            SizedTests(
                number_T=number_T,
                clicks_TA=clicks[rows_TA].astype(np.int64),
                impressions_TA=impressions[rows_TA].astype(np.int64),
                logit_TA=own_TA - own_TA.mean(1, keepdims=True),
                covariance_TAA=np.stack([covariance.get(one, none) for one in number_T.tolist()]),
            )
        )
    return found


def _check(clicks: Floats, impressions: Floats) -> None:
    for name, counts in (("clicks", clicks), ("impressions", impressions)):
        if (counts != np.round(counts)).any():
            raise DatasetError(
                f"The value of a model is counted in clicks, so {name} must be whole numbers, but "
                f"one arm has {counts[counts != np.round(counts)][0]:g}: use a dataset with clicks "
                "and impressions, not one of ratings."
            )
    if len(impressions) and impressions.max() >= MOST_IMPRESSIONS:
        raise DatasetError(
            f"An arm must have fewer than {MOST_IMPRESSIONS:,} impressions to be replayed, but one "
            f"has {impressions.max():,.0f}: leave its A/B test out of the dataset."
        )

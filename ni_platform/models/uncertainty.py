"""How sure a Gaussian process is: intervals of rates, and the chance to be the best of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from scipy.special import expit, ndtri

from ni_platform.data.batch import Inputs
from ni_platform.data.loading import ab_test_codes
from ni_platform.models.gaussian_process.arms import chunks_of_tests
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.scorer import Scorer
from ni_platform.narrowing import of_kind

MOST_ARMS = 1024
"""Of a test with more arms no chance to be the best is given."""
_DRAWS = 10_000
_Z = float(ndtri(0.975))


def predict_with_uncertainty(
    scorer: Scorer,
    frame: pd.DataFrame,
    ab_test: pd.Series,
    *,
    progress: Callable[[int], None] = lambda rows: None,
) -> pd.DataFrame:
    """Predicted rates, their intervals and who is the best of each A/B test, a row per content.

    The columns are `prediction`, the mean success rate over tests; `low` and `high`,
    between which the true rate in a test of unknown level lies with a probability of 95 %; and
    `chance_best`, the probability that the true rate is the highest of its A/B test (by 10,000
    draws of all arms together, so within 0.01), NaN for a content of none or of more than
    `MOST_ARMS`.

    Args:
        scorer: of a Gaussian process.
        frame: inputs of N contents, as `Scorer.predict` takes them.
        ab_test: labels of their A/B tests [N], null for none.
        progress: called with the number of rows of each batch when it is done.

    Raises:
        DatasetError: a column is missing, or a cell cannot be read.
    """
    network = of_kind(scorer.model, GaussianProcess)
    codes = ab_test_codes(ab_test)
    found = np.full((len(frame), 4), np.nan)
    sizes = np.bincount(codes[codes >= 0])
    rng = np.random.default_rng(0)
    for chunk in _chunks(codes):
        mean, covariance = joint_posterior(scorer, frame.iloc[chunk], progress)
        rate, level = float(network.intercept) + mean, float(network.level_mean) + mean
        reach = _Z * np.sqrt(covariance.diagonal() + float(network.level_variance))
        found[chunk, :3] = expit(np.stack([rate, level - reach, level + reach], axis=1))
        for own in np.unique(codes[chunk][codes[chunk] >= 0]):
            arms = np.flatnonzero(codes[chunk] == own)
            if sizes[own] <= MOST_ARMS:
                chance = _chance_best(mean[arms], covariance[np.ix_(arms, arms)], rng)
                found[chunk[arms], 3] = chance
    return pd.DataFrame(found, columns=["prediction", "low", "high", "chance_best"])


def joint_posterior(
    scorer: Scorer, frame: pd.DataFrame, progress: Callable[[int], None] = lambda rows: None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [N] and covariance [N, N] of N contents' logits, beside the level of their A/B test.

    With what no input explains of an arm, so that differences are those of true rates.

    Args:
        scorer: of a Gaussian process.
        frame: inputs of N contents, as `Scorer.predict` takes them; all are in memory together.
        progress: called with the number of rows of each batch when it is done.
    """
    network = of_kind(scorer.model, GaussianProcess)
    with scorer.evaluating():
        mean_B, covariance_BB = network.posterior(_encoded(scorer, frame, progress))
    mean, covariance = mean_B.cpu().numpy(), covariance_BB.cpu().numpy()
    return mean, covariance + float(network.residual) * np.eye(len(mean))


def _chance_best(
    mean_A: np.ndarray, covariance_AA: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    drawn = rng.multivariate_normal(mean_A, covariance_AA, size=_DRAWS, method="eigh")
    return np.bincount(drawn.argmax(axis=1), minlength=len(mean_A)) / _DRAWS


def _chunks(codes: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of whole tests, but not too many at once; then those of no test."""
    for chunk in [*chunks_of_tests(codes), np.flatnonzero(codes < 0)]:
        for start in range(0, len(chunk), 2 * MOST_ARMS):
            yield chunk[start : start + 2 * MOST_ARMS]


def _encoded(scorer: Scorer, frame: pd.DataFrame, progress: Callable[[int], None]) -> Inputs:
    """What the encoders give for a frame."""
    names = scorer.config.modalities
    found: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    for _, inputs in scorer.read_ahead(frame):
        read = inputs.to(scorer.device)
        for name in names:
            found[name].append(scorer.model.encode(name, read))
        progress(inputs.size)
    return Inputs(size=len(frame), encoded={name: torch.cat(found[name]) for name in names})

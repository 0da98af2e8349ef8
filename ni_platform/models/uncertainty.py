"""How sure a model is: intervals of rates, joint uncertainty, the chance to be the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeGuard

import numpy as np
import pandas as pd
import torch
from scipy.special import expit, logit, ndtri

from ni_platform.data.batch import Inputs
from ni_platform.data.loading import ab_test_codes
from ni_platform.models.gaussian_process.arms import chunks_of_tests
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.regressor import Regressor
from ni_platform.models.scorer import Scorer
from ni_platform.narrowing import of_kind

MOST_ARMS = 1024
"""Of a test with more arms no chance to be the best is given."""
_DRAWS = 10_000
Z_95 = float(ndtri(0.975))
"""Standard deviations from the mean within which 95 % of a normal distribution lie."""


def is_gaussian_process(model: object) -> TypeGuard[Scorer]:
    """Whether a model knows how sure it is of rates and of their differences."""
    return isinstance(model, Scorer) and isinstance(model.model, GaussianProcess)


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
    for chunk, mean, covariance in _posteriors(scorer, network, frame, codes, progress):
        covariance += float(network.residual) * np.eye(len(mean))
        logits = float(network.intercept) + mean
        found[chunk, :3] = rates_with_intervals(network, logits, covariance.diagonal())
        for own in np.unique(codes[chunk][codes[chunk] >= 0]):
            arms = np.flatnonzero(codes[chunk] == own)
            if sizes[own] <= MOST_ARMS:
                chance = _chance_best(mean[arms], covariance[np.ix_(arms, arms)], rng)
                found[chunk[arms], 3] = chance
    return pd.DataFrame(found, columns=["prediction", "low", "high", "chance_best"])


def rates_with_intervals(
    network: GaussianProcess, logits: np.ndarray, variance: np.ndarray
) -> pd.DataFrame:
    """`prediction`, `low` and `high` as in `predict_with_uncertainty`, a row per content.

    Args:
        network: that predicted them.
        logits: predicted [N].
        variance: of the true logits about these [N], the level of the test left out.
    """
    level = logits - float(network.intercept) + float(network.level_mean)
    reach = Z_95 * np.sqrt(variance + float(network.level_variance))
    rates = expit(np.stack([logits, level - reach, level + reach], axis=1))
    return pd.DataFrame(rates, columns=["prediction", "low", "high"])


def joint_logits(
    model: Regressor,
    frame: pd.DataFrame,
    test: np.ndarray,
    *,
    progress: Callable[[int], None] = lambda rows: None,
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Predicted logits [N] of success rates, and what the model does not know of a test's arms.

    Of a Gaussian process the second is the covariance [A, A] of each A/B test's logits, without the
    residual, for tests of at most `MOST_ARMS` arms; other models do not say it: then it is empty.

    Args:
        model: of any kind.
        frame: inputs of N contents, as `Scorer.predict` takes them.
        test: numbers of their A/B tests [N] from 0, negative for none.
        progress: called with the number of rows of each batch when it is done.

    Raises:
        DatasetError: a column is missing, or a cell cannot be read.
    """
    if not is_gaussian_process(model):
        return logit(model.predict(frame, progress=progress)), {}
    network = of_kind(model.model, GaussianProcess)
    mean_N, covariances = np.empty(len(frame)), {}
    sizes = np.bincount(test[test >= 0])
    for chunk, mean, covariance in _posteriors(model, network, frame, test, progress):
        mean_N[chunk] = float(network.intercept) + mean
        for own in np.unique(test[chunk][test[chunk] >= 0]).tolist():
            if sizes[own] <= MOST_ARMS:
                # In the order of the rows, as chunks of tests are.
                arms = np.flatnonzero(test[chunk] == own)
                covariances[own] = covariance[np.ix_(arms, arms)]
    return mean_N, covariances


def _posteriors(
    scorer: Scorer,
    network: GaussianProcess,
    frame: pd.DataFrame,
    codes: np.ndarray,
    progress: Callable[[int], None],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions of some rows, and mean [B] and covariance [B, B] of the function's values there."""
    for chunk in _chunks(codes):
        with scorer.evaluating():
            mean_B, covariance_BB = network.posterior(_encoded(scorer, frame.iloc[chunk], progress))
        yield chunk, mean_B.cpu().numpy(), covariance_BB.cpu().numpy()


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

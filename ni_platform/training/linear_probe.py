"""A network's output layer started from a linear probe of its encoders.

Fine-tuning from a random output layer first pulls pretrained encoders towards noise. A linear probe
is the layer that would be best if they stayed as they are (Kumar et al. 2022, "Fine-Tuning can
Distort Pretrained Features and Underperform Out-of-Distribution", LP-FT).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.special import logit

from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import ab_test_codes
from ni_platform.data.overdispersion import empirical_logit, logit_noise
from ni_platform.models.neural_insights import NeuralInsights
from ni_platform.models.scorer import Scorer, chosen_device
from ni_platform.narrowing import of_kind
from ni_platform.training.config import TrainingConfig
from ni_platform.training.encoded import encode_once

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Of the ridge penalty, in units of the features' mean variance."""
_EXACT = TrainingConfig(precision="float32")


def start_from_probe(
    scorer: Scorer,
    dataset: Dataset,
    train_rows: np.ndarray,
    validation_rows: np.ndarray,
    folder: str | Path,
    *,
    say: Callable[[str], None] = lambda words: None,
) -> None:
    """Set the output layer of an untrained `NeuralInsights` without regression network.

    Args:
        scorer: holds the network.
        dataset: what it reads.
        train_rows: rows that the probe is fitted to; those without impressions are left out.
        validation_rows: rows that choose its strength.
        folder: where encoders' outputs are kept, see `encode_once`.
        say: told in words what is being done.

    Raises:
        NiError: A content cannot be read.
    """
    network = of_kind(scorer.model, NeuralInsights)
    scorer.model.to(chosen_device())
    encoded = []
    for name in network.encoders:
        say(f"encoding {name}")
        encoded.append(encode_once(scorer, name, dataset, _EXACT, folder))
    scorer.model.to("cpu")
    tests, clicks, shown = ab_test_codes(dataset.ab_test), dataset.clicks, dataset.impressions

    def table(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Features [N, W], log-odds [N], their precisions [N] and tests [N]; without unseen."""
        rows = rows[shown[rows] > 0]
        features = np.concatenate([e.rows(rows).double().numpy() for e in encoded], axis=1)
        target = empirical_logit(clicks[rows], shown[rows])
        return features, target, 1 / logit_noise(clicks[rows], shown[rows]), tests[rows]

    features, target, weight, groups = table(train_rows)
    coefficients = ridge(features, target, weight, groups, table(validation_rows))
    rate = clicks[train_rows].sum() / shown[train_rows].sum()
    with torch.no_grad():
        network.output.weight.copy_(torch.from_numpy(coefficients)[None])
        network.output.bias.fill_(float(logit(rate) - (features @ coefficients).mean()))


def ridge(
    features: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    groups: np.ndarray,
    held_out: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Coefficients [W] of a weighted ridge regression within groups, its strength chosen.

    Each group has a level of its own, which is not penalized; contents of group -1 share one. The
    strength is that with the least weighted squared error within the groups that are held out.

    Args:
        features: [N, W].
        target: [N].
        weight: precision of each target [N], positive.
        groups: [N] numbers.
        held_out: the same four of other rows.
    """
    centred, aim = _within(features, target, weight, groups)
    gram, moment = centred.T @ (weight[:, None] * centred), centred.T @ (weight * aim)
    values, vectors = np.linalg.eigh(gram)
    rotated, unit = vectors.T @ moment, values.mean()
    others, aims = _within(*held_out)
    found = [vectors @ (rotated / (values + strength * unit)) for strength in STRENGTHS]
    errors = [float((held_out[2] * (aims - others @ each) ** 2).sum()) for each in found]
    return np.asarray(found[int(np.argmin(errors))])


def _within(
    features: np.ndarray, target: np.ndarray, weight: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Features and target less their weighted means in each group."""
    _, codes = np.unique(groups, return_inverse=True)
    total = np.bincount(codes, weight)
    level = np.bincount(codes, weight * target) / total
    means = np.stack([np.bincount(codes, weight * column) / total for column in features.T], axis=1)
    return features - means[codes], target - level[codes]

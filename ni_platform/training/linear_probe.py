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

Table = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Features [N, W], log-odds of rates [N], their precisions [N], codes of A/B tests [N]."""


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
        validation_rows: rows that choose its strength; without any, a fifth of the training
            tests does.
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

    def table(rows: np.ndarray) -> Table:
        rows = rows[shown[rows] > 0]
        features = np.concatenate([e.rows(rows).double().numpy() for e in encoded], axis=1)
        target = empirical_logit(clicks[rows], shown[rows])
        return features, target, 1 / logit_noise(clicks[rows], shown[rows]), tests[rows]

    train = table(train_rows)
    if len(validation_rows):
        learn, judge = train, table(validation_rows)
    else:  # all is trained on: a fifth of the tests judges, and is learned from afterwards
        apart = train[3] % 5 == 0
        learn, judge = (tuple(c[rows] for c in train) for rows in (~apart, apart))
    coefficients = ridge(train, best_strength(learn, judge))
    rate = clicks[train_rows].sum() / shown[train_rows].sum()
    with torch.no_grad():
        network.output.weight.copy_(torch.from_numpy(coefficients)[None])
        network.output.bias.fill_(float(logit(rate) - (train[0] @ coefficients).mean()))


def best_strength(learn: Table, judge: Table) -> float:
    """The strength with the least weighted squared error within the tests of `judge`."""
    features, target = _within(judge)
    errors = [
        float((judge[2] * (target - features @ ridge(learn, strength)) ** 2).sum())
        for strength in STRENGTHS
    ]
    return STRENGTHS[int(np.argmin(errors))]


def ridge(table: Table, strength: float) -> np.ndarray:
    """Coefficients [W] of a weighted ridge regression within tests.

    Each test has a level of its own, which is not penalized; contents of test -1 share one.
    """
    features, target = _within(table)
    gram = features.T @ (table[2][:, None] * features)
    penalty = strength * np.trace(gram) / len(gram) * np.eye(len(gram))
    found: np.ndarray = np.linalg.solve(gram + penalty, features.T @ (table[2] * target))
    return found


def _within(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Features and target less their weighted means in each test."""
    features, target, weight, tests = table
    _, codes = np.unique(tests, return_inverse=True)
    total = np.bincount(codes, weight)
    level = np.bincount(codes, weight * target) / total
    means = np.stack([np.bincount(codes, weight * column) / total for column in features.T], axis=1)
    return features - means[codes], target - level[codes]

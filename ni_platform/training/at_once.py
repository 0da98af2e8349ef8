"""A Gaussian process fitted to a dataset: its frozen encoders run once, and no epochs follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ni_platform.data.batch import Inputs
from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import ab_test_codes
from ni_platform.data.overdispersion import dataset_overdispersion
from ni_platform.metrics.pair_probability import PredictedPairs
from ni_platform.metrics.pairs import within_test_pairs
from ni_platform.models.gaussian_process.arms import Arms, chunks_of_tests
from ni_platform.models.gaussian_process.fitting import fit
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.outputs import rates
from ni_platform.models.scorer import Scorer, chosen_device
from ni_platform.narrowing import of_kind
from ni_platform.training.config import TrainingConfig
from ni_platform.training.encoded import Encoded, encode_once

_ROWS_AT_ONCE = 4096
_EXACT = TrainingConfig(precision="float32")
"""Embeddings that differ by rounding would not be those of equal contents."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedAtOnce:
    """A fitted regressor, and what its encoders gave for every row of the dataset."""

    scorer: Scorer
    outputs: Mapping[str, Encoded]

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Predicted success rates, float64 [len(rows)], of dataset rows."""
        found = [np.empty(0)]
        with torch.inference_mode():
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                logits = self.scorer.model(self._inputs(rows[start : start + _ROWS_AT_ONCE]))
                found.append(rates(logits, None)[0].double().cpu().numpy())
        return np.concatenate(found)

    def pairs(self, rows: np.ndarray, tests: np.ndarray, keys: np.ndarray) -> PredictedPairs:
        """What is predicted of each pair of arms of a test whose inputs differ.

        Args:
            rows: dataset rows [N].
            tests: codes of their A/B tests [N], -1 for none.
            keys: of their inputs [N]; arms with equal ones are not compared.
        """
        network = of_kind(self.scorer.model, GaussianProcess)
        first, second, difference, variance = [], [], [], []
        with torch.inference_mode():
            for chunk in chunks_of_tests(tests):
                mean_B, covariance_BB = network.posterior(self._inputs(rows[chunk]))
                mean, covariance = mean_B.numpy(), covariance_BB.numpy()
                for i, j in within_test_pairs(tests[chunk]):
                    differ = keys[chunk[i]] != keys[chunk[j]]
                    i, j = i[differ], j[differ]
                    own = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
                    first.append(chunk[i])
                    second.append(chunk[j])
                    difference.append(mean[i] - mean[j])
                    variance.append(own.clip(min=0) + 2 * float(network.residual))
        return PredictedPairs(
            first=np.concatenate([np.empty(0, np.int64), *first]),
            second=np.concatenate([np.empty(0, np.int64), *second]),
            difference=np.concatenate([np.empty(0), *difference]),
            variance=np.concatenate([np.empty(0), *variance]),
            overdispersion=float(network.overdispersion),
        )

    def _inputs(self, rows: np.ndarray) -> Inputs:
        encoded = {name: output.rows(rows) for name, output in self.outputs.items()}
        return Inputs(size=len(rows), encoded=encoded).to(self.scorer.device)


def encode_all(
    scorer: Scorer,
    dataset: Dataset,
    folder: str | Path,
    *,
    known: Mapping[str, Encoded] | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> dict[str, Encoded]:
    """What each encoder of a Gaussian process gives for all rows; `known` is not computed again."""
    outputs = dict(known or {})
    scorer.model.to(chosen_device())
    for name in scorer.config.modalities:
        if name not in outputs:
            say(f"encoding {name}")
            progress = _tenths(name, len(dataset), say)
            outputs[name] = encode_once(scorer, name, dataset, _EXACT, folder, progress=progress)
    scorer.model.to("cpu")  # the equations are solved in double precision
    return outputs


def _tenths(name: str, rows: int, say: Callable[[str], None]) -> Callable[[int], None]:
    """Say when each tenth of the rows is done."""
    done = 0

    def progress(more: int) -> None:
        nonlocal done
        before, done = done, done + more
        if 10 * before // rows < 10 * done // rows < 10:
            say(f"encoding {name}: {100 * done // rows} %")

    return progress


class _Rows:
    """Some rows of an encoder's outputs, read from the mapped file as they are asked for."""

    def __init__(self, output: Encoded, rows: np.ndarray) -> None:
        self._output, self._rows = output, rows
        self.shape = (len(rows), output.width)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self._output.rows(self._rows[rows.numpy()])


def fit_at_once(
    scorer: Scorer,
    dataset: Dataset,
    keys: np.ndarray,
    train_rows: np.ndarray,
    folder: str | Path,
    *,
    outputs: Mapping[str, Encoded] | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> FittedAtOnce:
    """Fit an untrained Gaussian process to rows of a dataset.

    Args:
        scorer: holds the process and its encoders.
        dataset: what is encoded, and what happened; with all its columns, as twins go by them.
        keys: of all contents [N], equal where a model is given the same inputs.
        train_rows: rows to fit to; those without impressions are left out.
        folder: where encoders' outputs are kept for the next time, see `encode_once`.
        outputs: of encoders, where they are known.
        say: told in words what is being done.

    Raises:
        NiError: a content cannot be read, or there are too few arms.
    """
    network = of_kind(scorer.model, GaussianProcess)
    outputs = encode_all(scorer, dataset, folder, known=outputs, say=say)
    rows = np.asarray(train_rows, dtype=np.int64)
    rows = rows[dataset.impressions[rows] > 0]
    _, first, content = np.unique(keys[rows], return_index=True, return_inverse=True)
    test = ab_test_codes(dataset.ab_test)[rows]
    alone = test < 0
    # Contents of no test share a code, some thousand of them at a time.
    test[alone] = test.max(initial=-1) + 1 + np.arange(alone.sum()) // _ROWS_AT_ONCE
    arms = Arms.pool(
        content,
        test,
        dataset.clicks[rows],
        dataset.impressions[rows],
        dataset_overdispersion(dataset, rows),
        alone,
    )
    distinct = {name: _Rows(output, rows[first]) for name, output in outputs.items()}
    fit(network, distinct, arms, say=say)
    return FittedAtOnce(scorer=scorer, outputs=outputs)

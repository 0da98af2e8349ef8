"""Predictions of all workers together, and the validation metrics computed from them.

Metrics are computed once from the gathered predictions: a rank correlation or a pairwise
accuracy is never the mean of per-worker ones.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ni_platform.data.batch import Inputs
from ni_platform.data.loading import Loader, Request, Rows, Source, plan_batches
from ni_platform.metrics.error import rmse
from ni_platform.metrics.pairwise import pairwise_accuracy, pairwise_within
from ni_platform.models.losses import Loss
from ni_platform.models.outputs import rates
from ni_platform.training.workers import WorkerGroup

_ROWS_PER_LOSS = 512
"""Contents whose losses are computed at once: pairwise losses need memory quadratic in it."""


class Predictor:
    """Predicts dataset rows with all workers."""

    def __init__(self, loader: Loader, workers: WorkerGroup, dtype: torch.dtype) -> None:
        self._loader = loader
        self._workers = workers
        self._dtype = dtype

    def outputs(self, module: nn.Module, rows: Rows, rows_per_pass: int) -> np.ndarray:
        """Return the module's outputs, float32 [len(rows)] or [len(rows), K], on every worker.

        Worker r predicts every r-th batch.
        """
        workers = self._workers
        batches = [
            np.arange(start, min(start + rows_per_pass, len(rows)))
            for start in range(0, len(rows), rows_per_pass)
        ]
        mine = batches[workers.rank :: workers.size]
        module.eval()
        predicted = []
        with (
            torch.inference_mode(),
            torch.autocast(workers.device.type, self._dtype, enabled=self._dtype != torch.float32),
            closing(self._loader.iterate([Request(rows=rows[part]) for part in mine])) as loaded,
        ):
            for batch in loaded:
                outputs = module(on_device(batch.inputs, workers.device))
                predicted.append(outputs.float().cpu().numpy())
        gathered = workers.gather(predicted)
        # Every output has the shape of the first; without rows there is none.
        shape = next((part.shape[1:] for parts in gathered for part in parts), ())
        result = np.empty((len(rows), *shape), dtype=np.float32)
        for rank, parts in enumerate(gathered):
            for positions, values in zip(batches[rank :: workers.size], parts):
                result[positions] = values
        return result


def on_device(inputs: Inputs, device: torch.device) -> Inputs:
    """Move inputs to the device, pictures in channels-last layout."""
    inputs = inputs.to(device, non_blocking=True)
    for name, read in inputs.modalities.items():
        tensors = tuple(_channels_last(tensor) for tensor in read.tensors)
        inputs = inputs.with_modality(name, replace(read, tensors=tensors))
    return inputs


def _channels_last(values: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    if isinstance(values, Tensor) and values.dim() == 4:  # only pictures have four dimensions
        return values.contiguous(memory_format=torch.channels_last)
    return values


def validation_metrics(
    outputs: np.ndarray, source: Source, rows: Rows, loss: Loss
) -> dict[str, float]:
    """Return loss, rmse and pairwise accuracies of a model's outputs for dataset rows."""
    outcomes = source.outcomes(rows)
    predicted = rates(torch.as_tensor(outputs), loss.buckets)[0].numpy()
    truth = outcomes.success_rate_B.double().numpy()
    codes = source.ab_test_codes[rows]
    metrics = {
        "loss": _loss(outputs, source, rows, loss),
        "rmse": rmse(predicted, truth),
        "pairwise_accuracy": pairwise_accuracy(predicted, truth),
    }
    if (codes >= 0).any():
        metrics["pairwise_within"] = pairwise_within(
            predicted,
            outcomes.clicks_B.double().numpy(),
            outcomes.impressions_B.double().numpy(),
            [None if code < 0 else int(code) for code in codes],
        )
    return metrics


def _loss(outputs: np.ndarray, source: Source, rows: Rows, loss: Loss) -> float:
    """The loss of all rows: sums of numerators over sums of denominators, A/B tests whole."""
    codes = source.ab_test_codes[rows]
    steps = plan_batches(codes, len(rows), _ROWS_PER_LOSS, 1, 0, 0, shuffle=False)
    sums: dict[str, list[float]] = {name: [0.0, 0.0] for name in loss.weights}
    for (positions,) in steps:
        terms = loss.terms(torch.as_tensor(outputs[positions]), source.outcomes(rows[positions]))
        for name, (numerator, denominator) in terms.items():
            sums[name][0] += float(numerator)
            sums[name][1] += float(denominator)
    return sum(loss.weights[name] * top / bottom for name, (top, bottom) in sums.items() if bottom)

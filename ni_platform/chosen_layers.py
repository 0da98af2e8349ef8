"""Which layers of an encoder a Gaussian process reads, where its config leaves that to the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ni_platform.data.content_keys import input_keys
from ni_platform.data.loading import ab_test_codes
from ni_platform.errors import DatasetError
from ni_platform.metrics.pair_probability import pair_probability_metrics
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.narrowing import of_kind
from ni_platform.opened import OpenedExperiment
from ni_platform.training.at_once import FittedAtOnce, encode_all, fit_at_once
from ni_platform.training.encoded import Encoded

_MIN_PAIRS = 100
"""Of validation, with fewer of which options are judged by the error of rates."""


def choose_layers(
    experiment: OpenedExperiment, folder: str | Path, say: Callable[[str], None]
) -> tuple[OpenedExperiment, dict[str, Encoded]]:
    """Choose the layers of each encoder whose config says `auto`, by the validation part.

    One modality after the other, beside those whose layers are known: each option is fitted to the
    training rows and judged by the log loss of which arm of a validation pair wins, or by the
    squared error of rates where there are few pairs.

    Args:
        experiment: of a Gaussian process.
        folder: where encoders' outputs are kept, see `encode_once`; all options come from one pass.
        say: told in words what is being done.

    Returns:
        The experiment with the chosen layers, and what their encoders give where that is known.

    Raises:
        DatasetError: there is no validation part to choose by.
    """
    config = of_kind(experiment.config.model, GaussianProcessConfig)
    known: dict[str, Any] = {n: part for n, part in config.parts.items() if not part.layer_options}
    outputs: dict[str, Encoded] = {}
    if len(known) < len(config.parts) and not len(experiment.splits.rows("validation")):
        raise DatasetError(
            "layers='auto' are chosen by validation contents, but there are none: give "
            "splits.validation a share, leave out train_on_validation, or name the layers"
        )
    for name, part in config.parts.items():
        if not part.layer_options:
            continue
        every = tuple(sorted({layer for option in part.layer_options for layer in option}))
        scorer = experiment.reading({name: replace(part, layers=every)}).build_scorer()
        encoder: Any = scorer.model.encoders[name]
        whole = encode_all(scorer, experiment.dataset, folder, say=say)[name]
        losses = {}
        for option in part.layer_options:
            columns = _columns(encoder.blocks, every, option)
            known[name], outputs[name] = replace(part, layers=option), whole.only(columns)
            losses[option] = _loss(experiment.reading(known), folder, outputs)
            say(f"{name} layers {option}: {losses[option]:.4g} on validation, less is better")
        best = min(losses, key=lambda option: losses[option])
        columns = _columns(encoder.blocks, every, best)
        known[name], outputs[name] = replace(part, layers=best), whole.only(columns)
        say(f"reading layers {best} of {name}")
        if not _agrees(experiment.reading({name: known[name]}), name, outputs[name]):
            del outputs[name]
    return experiment.reading(known), outputs


def _agrees(experiment: OpenedExperiment, name: str, output: Encoded) -> bool:
    """Whether the encoder of these layers alone gives the same.

    One that is cut after the last of them may normalise what it ends with.
    """
    scorer, rows = experiment.build_scorer(), experiment.splits.rows("train")[:4]
    with scorer.evaluating():
        own = scorer.model.encode(name, scorer.inputs.encode(experiment.dataset.inputs(rows)))
    return torch.allclose(own, output.rows(rows), rtol=1e-3, atol=1e-4)


def _columns(blocks: Sequence[int], every: Sequence[int], chosen: Sequence[int]) -> np.ndarray:
    """Positions of the chosen layers' numbers among those of `every` layer, column by column."""
    ends = np.cumsum(blocks)
    places = [np.arange(end - width, end) for end, width in zip(ends, blocks)]
    copies = range(0, len(blocks), len(every))  # one per text column that is embedded by itself
    return np.concatenate([places[at + every.index(layer)] for at in copies for layer in chosen])


def _loss(
    experiment: OpenedExperiment, folder: str | Path, outputs: Mapping[str, Encoded]
) -> float:
    dataset, rows = experiment.dataset, experiment.splits.rows("validation")
    fitted, keys = fit_opened(experiment, folder, outputs)
    shown = rows[dataset.impressions[rows] > 0]
    pairs = fitted.pairs(shown, ab_test_codes(dataset.ab_test)[shown], keys[shown])
    if len(pairs.first) < _MIN_PAIRS:
        return float(np.mean((fitted.predict(shown) - dataset.success_rate[shown]) ** 2))
    clicks, impressions = dataset.clicks[shown], dataset.impressions[shown]
    clusters = np.arange(len(shown))
    found = pair_probability_metrics(pairs, clicks, impressions, clusters, replicates=0)
    return found["pair_log_loss"].value


def fit_opened(
    experiment: OpenedExperiment,
    folder: str | Path,
    outputs: Mapping[str, Encoded],
    say: Callable[[str], None] = lambda words: None,
) -> tuple[FittedAtOnce, np.ndarray]:
    """Fit the Gaussian process of an experiment whose layers are named to its training rows.

    Returns it, and keys of all contents [N] that are equal where it reads the same. Arguments and
    errors as `fit_at_once`.
    """
    scorer, dataset = experiment.build_scorer(), experiment.dataset
    keys, rows = input_keys(dataset, scorer.inputs.roles), experiment.splits.rows("train")
    return fit_at_once(scorer, dataset, keys, rows, folder, outputs=outputs, say=say), keys

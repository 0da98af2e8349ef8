"""Gates of use: whether a model's intervals hold, how fast it answers, how large it is."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from ni_platform.data.attributes.extraction import available_workers
from ni_platform.errors import NiError, TrackingError
from ni_platform.metrics.evaluation import estimate_in
from ni_platform.models.regressor import Regressor, load_regressor
from ni_platform.registry.challenger import Challenger
from ni_platform.registry.gate import Figure, Gate
from ni_platform.registry.gates_config import (
    CalibrationOfDifferences,
    CoverageOfDifferences,
    Latency,
    Size,
)
from ni_platform.registry.model_source import model_folder, read_model, scorer_folder
from ni_platform.registry.served_pictures import ServedPictures

_BATCH = 100
_TIMES = {1: 21, _BATCH: 5}
"""How often a prediction of so many contents is timed; odd, so that the median is one of them."""


def calibration_of_differences(
    challenger: Challenger, thresholds: CalibrationOfDifferences
) -> Gate:
    """The predicted chances of one arm to beat another are as extreme as outcomes are.

    It passes when `pair_slope` of the test part lies within the thresholds.
    """
    return _within(
        "calibration_of_differences", challenger, "pair_slope", thresholds.low, thresholds.high
    )


def coverage_of_differences(challenger: Challenger, thresholds: CoverageOfDifferences) -> Gate:
    """Observed differences of arms lie inside of their 95 % interval as often as that says.

    It passes when `pair_coverage` of the test part lies within the thresholds.
    """
    return _within(
        "coverage_of_differences", challenger, "pair_coverage", thresholds.low, thresholds.high
    )


def _within(name: str, challenger: Challenger, metric: str, low: float, high: float) -> Gate:
    found = estimate_in(challenger.metrics, f"test/{metric}")
    if found is None:
        return Gate(
            name=name,
            passed=False,
            explanation=f"the run has no figure test/{metric}: it is of an earlier version, its"
            " model does not say how sure it is of differences, or its test part has no randomised"
            " A/B test. Train again on a dataset that has some, or switch this gate off.",
        )
    passed = low <= found.value <= high
    why = f"{metric} {found.value:.4g} on the test part"
    if np.isfinite(found.low):
        why += f", 95 % interval [{found.low:.4g}, {found.high:.4g}]"
    if not passed:
        why += f"; it must lie from {low:g} to {high:g}"
    figures: dict[str, Figure] = {metric: found.value, "low": found.low, "high": found.high}
    return Gate(name=name, passed=passed, explanation=why, figures=figures)


def latency(challenger: Challenger, thresholds: Latency) -> Gate:
    """On this machine the model predicts one content, and 100, within their budgets.

    The contents are those of the model's own input example, repeated; times are medians, after a
    first prediction that is not counted. Reading the model is no part of them.
    """
    name = "latency"
    try:
        model, example = _read(challenger)
        took = {rows: _milliseconds(model, _repeated(example, rows)) for rows in _TIMES}
    except NiError as error:
        return Gate(name=name, passed=False, explanation=f"it cannot be measured: {error}")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    figures: dict[str, Figure] = {
        "one_ms": took[1],
        "one_budget_ms": thresholds.one_ms,
        "hundred_ms": took[_BATCH],
        "hundred_budget_ms": thresholds.hundred_ms,
        "threads": torch.get_num_threads(),
        "cores": available_workers(),
        "gpu": gpu,
    }
    slow = [
        text
        for text, found, budget in (
            ("1 content", took[1], thresholds.one_ms),
            ("100 contents", took[_BATCH], thresholds.hundred_ms),
        )
        if found > budget
    ]
    why = (
        f"1 content in {_ms(took[1])} ms of {thresholds.one_ms:g}, 100 in {_ms(took[_BATCH])} ms of"
        f" {thresholds.hundred_ms:g}; {figures['threads']} threads, {figures['cores']} cores,"
        f" {gpu or 'no GPU'}"
    )
    empty = [column for column, role in model.roles.items() if example[column].isna().all()]
    if empty:
        why += f" (the example has no {', '.join(empty)}, so reading them is not in it)"
    if slow:
        why += (
            f"; {' and '.join(slow)} took longer than the budget. Train a smaller model, or measure"
            " on a faster machine"
        )
    return Gate(name=name, passed=not slow, explanation=why, figures=figures)


def _ms(took: float) -> str:
    """Three digits, and none as a power of ten."""
    return f"{took:.0f}" if took >= 100 else f"{took:.3g}"


def size(challenger: Challenger, thresholds: Size) -> Gate:
    """The files of the model have no more megabytes (millions of bytes) than the threshold."""
    name = "size"
    try:
        folder = model_folder(challenger.store, challenger.model_uri)
    except NiError as error:
        return Gate(name=name, passed=False, explanation=f"it cannot be measured: {error}")
    files = [file for file in folder.rglob("*") if file.is_file()]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    passed = megabytes <= thresholds.megabytes
    why = f"{megabytes:.3f} MB in {len(files)} files, of {thresholds.megabytes:g}"
    if not passed:
        why += "; train a smaller model, or raise the threshold"
    figures: dict[str, Figure] = {"megabytes": megabytes, "files": len(files)}
    return Gate(name=name, passed=passed, explanation=why, figures=figures)


def _read(challenger: Challenger) -> tuple[Regressor, pd.DataFrame]:
    """The model as it was logged, and its input example with pictures as bytes.

    Its signature is not asked for: what passes the gates is signed after them.
    """
    uri = challenger.model_uri
    folder = model_folder(challenger.store, uri)
    model = load_regressor(scorer_folder(folder, uri))
    with challenger.store.errors(f"read the input example of {uri}"):
        example = read_model(folder).load_input_example(str(folder))
    if not isinstance(example, pd.DataFrame) or example.empty:
        raise TrackingError("the model was logged without an input example. Train it again.")
    pictures = ServedPictures()
    sources = {
        column: pd.Series([pictures.source(cell) for cell in example[column]], dtype=object)
        for column, role in model.roles.items()
        if role == "image"
    }
    return model, example.assign(**sources)


def _repeated(example: pd.DataFrame, rows: int) -> pd.DataFrame:
    return example.iloc[np.arange(rows) % len(example)].reset_index(drop=True)


def _milliseconds(model: Regressor, contents: pd.DataFrame) -> float:
    """Median time of a prediction, without the first, which makes what later ones use."""
    predict: Callable[[pd.DataFrame], object] = model.predict
    predict(contents)
    took = []
    for _ in range(_TIMES[len(contents)]):
        began = time.perf_counter()
        predict(contents)
        took.append(time.perf_counter() - began)
    return 1000 * float(np.median(took))

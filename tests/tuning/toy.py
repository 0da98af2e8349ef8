"""Sweeps whose trials need no time: a space, a training with a known curve, and a config."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ni_platform.experiment_config import load_experiment
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.engine.lane import OnEpoch, TrialDone
from ni_platform.tuning.files.trial_log import TrialRecord, ranked, read_trials
from ni_platform.tuning.files.validation_predictions import ValidationPredictions

STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}

SPACE = '''
def one(trial):
    """A number between 0 and 1, called a learning rate."""
    return {"training.learning_rate": trial.suggest_float("x", 0.0, 1.0)}


def failing(trial):
    """As `one`, for four trials."""
    if trial.number == 4:
        raise RuntimeError("planted")
    return one(trial)


def wider(trial):
    """As `one`, with another range."""
    return {"training.learning_rate": trial.suggest_float("x", 0.0, 2.0)}


def two(trial):
    """As `one`, with a second value."""
    chosen = one(trial)
    return chosen | {"training.weight_decay": trial.suggest_float("y", 0.0, 1.0)}


def half(trial):
    """Ends before the second value."""
    one(trial)
    raise RuntimeError("planted")
'''


def toy_config(trials: int, *, epochs: int = 3, **changes: Any) -> SweepConfig:
    """A sweep of `SPACE`; trials have `epochs` epochs."""
    experiment = load_experiment("neural_insights.quickstart")
    training = replace(experiment.training, epochs=epochs)
    settings = {"space": "toy_space.one", "objective": "rmse", "scheduler": "none"}
    settings |= {"experiment": replace(experiment, training=training)} | changes
    return SweepConfig(name="toy", data="none", trials=trials, **settings)


def toy_folder(root: Path) -> SweepFolder:
    """An empty folder for the sweep of `toy_config`."""
    folder = SweepFolder.named("toy", root)
    folder.path.mkdir(parents=True)
    return folder


def write_space(root: Path) -> None:
    """Put `SPACE` into `root`, from where any process that knows it can load it."""
    (root / "tune_spaces").mkdir()
    (root / "tune_spaces/toy_space.py").write_text(SPACE)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


def toy_value(x: float, epoch: int) -> float:
    """The objective of a trial after an epoch: falls to x."""
    return x + 1.0 / epoch - 1.0 / 3


class Toy:
    """Trains by formula; `before` is called with x and the epoch that begins."""

    def __init__(
        self, epochs: int = 3, before: Callable[[float, int], None] = lambda x, epoch: None
    ) -> None:
        self._epochs, self._before = epochs, before

    def __call__(self, overrides: Mapping[str, Any], on_epoch: OnEpoch) -> TrialDone:
        """Follow the curve of `toy_value`."""
        x = overrides["training.learning_rate"]
        for epoch in range(1, self._epochs + 1):
            self._before(x, epoch)
            value = toy_value(x, epoch)
            metrics = {"epoch": float(epoch), "train_loss": 2 * value, "rmse": value}
            on_epoch(metrics, value, epoch, epoch == self._epochs)
        return TrialDone(
            value=toy_value(x, self._epochs),
            predictions=np.array([x, 1 - x], dtype=np.float32),
            save=lambda folder: _save(folder, x),
        )


def _save(folder: Path, x: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x").write_text(str(x))


def assert_consistent(config: SweepConfig, folder: SweepFolder) -> dict[int, TrialRecord]:
    """Each trial ended once, as Optuna reads it too; weights and predictions are theirs."""
    # Optuna writes down that a trial ended as operation 6 with the trial's id and a state.
    lines = [json.loads(line) for line in folder.log.read_text().splitlines()]
    ends = Counter(line["trial_id"] for line in lines if line["op_code"] == 6)
    assert ends == dict.fromkeys(range(config.trials), 1)
    trials = read_trials(folder.log)
    study = study_trials(folder)
    assert [trial.number for trial in study] == list(trials) == list(range(config.trials))
    for found in study:
        trial = trials[found.number]
        assert found.state == STATES[trial.status]
        x = trial.overrides["training.learning_rate"]
        assert found.params == trial.parameters == {"x": x}
        assert list(found.intermediate_values.values()) == trial.values
        assert found.value == trial.value
        assert trial.values == [toy_value(x, e + 1) for e in range(len(trial.values))]
        assert len(trial.values) == trial.reached
    complete = {n: trial for n, trial in trials.items() if trial.status == "complete"}
    best = ranked(complete, config.lower_is_better)[: config.keep]
    assert kept_weights(folder) == {t.number: t.overrides["training.learning_rate"] for t in best}
    numbers, predictions = ValidationPredictions(path=folder.predictions).read()
    assert numbers.tolist() == sorted(complete)
    for number, row in zip(numbers.tolist(), predictions):
        x = trials[number].overrides["training.learning_rate"]
        np.testing.assert_array_equal(row, np.array([x, 1 - x], dtype=np.float32))
    return trials


def kept_weights(folder: SweepFolder) -> dict[int, float]:
    """The x that each trial's weights hold, of those whose weights are on disk."""
    return {
        int(path.parent.name): float(path.read_text()) for path in folder.path.glob("trials/*/x")
    }


def study_trials(folder: SweepFolder) -> list[optuna.trial.FrozenTrial]:
    """The trials of the sweep's study as Optuna reads them."""
    storage = JournalStorage(JournalFileBackend(str(folder.log)))
    return optuna.load_study(study_name="toy", storage=storage).trials

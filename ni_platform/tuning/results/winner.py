"""The winner of a sweep: which trial, how it is trained again, and how lucky it was."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import split_dataset
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.metrics.best_of import BestOfMany, best_of_many
from ni_platform.metrics.scored import EvaluationError, Observed
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.narrowing import given
from ni_platform.training.config import TrainingConfig
from ni_platform.training.worker import StageResult
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.files.trial_log import TrialRecord, ranked, read_trials
from ni_platform.tuning.files.validation_predictions import ValidationPredictions, validated_rows
from ni_platform.tuning.search.spaces import trial_config

STAND_IN = "rmse"
"""Compared where the objective is the training loss, which is no metric of a test part: trials may
differ in what their loss is made of."""
MAX_TRIALS = 2000
MAX_PREDICTIONS = 5_000_000


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The trial of a sweep that is to be promoted."""

    sweep: SweepConfig
    folder: SweepFolder
    run_id: str
    """The sweep's run in MLflow."""
    trial: TrialRecord
    rank: int
    """1: the best."""
    trials: int
    """Among how many, those that the scheduler stopped included."""

    @classmethod
    def of(cls, folder: SweepFolder, trial: int | None = None) -> Winner:
        """Return the best trial of a sweep on validation, or the trial that is named.

        Raises:
            ConfigError: There is no such sweep or trial, or it has no objective.

        """
        sweep, run_id = folder.read()
        trials = read_trials(folder.log)
        order = ranked(trials, sweep.lower_is_better)
        if not order:
            raise ConfigError(
                f"only a trial that ended with a result can be promoted, but sweep {sweep.name} "
                f"has none among its {len(trials)}; `ni sweep report {sweep.name}` tells why"
            )
        numbers = [record.number for record in order]
        if trial is not None and trial not in numbers:
            state = trials[trial].status if trial in trials else "not there"
            raise ConfigError(
                f"only a trial that ended with a result can be promoted, but trial {trial} of "
                f"sweep {sweep.name} is {state}; the best are {', '.join(map(str, numbers[:5]))}"
            )
        rank = 0 if trial is None else numbers.index(trial)
        return cls(
            sweep=sweep,
            folder=folder,
            run_id=run_id,
            trial=order[rank],
            rank=rank + 1,
            trials=len(order),
        )

    @property
    def metric(self) -> str:
        """The metric that validation and test are compared by: the objective, if it is one."""
        return STAND_IN if self.sweep.objective == "loss" else self.sweep.objective

    @property
    def validation(self) -> float:
        """That metric of the kept epoch on the validation part."""
        trial = self.trial
        if self.metric == self.sweep.objective:
            return given(trial.value)  # ranked trials have one
        return trial.metrics[self.metric]

    def retrained(self) -> ExperimentConfig:
        """Return the config to train the winner on train and validation rows.

        Each stage ends at the epoch that was best when it was chosen on validation, with the
        learning rates of the full course. An encoder that the sweep did not train takes all epochs
        that its config gives it.
        """
        config = replace(
            trial_config(self.sweep.experiment, self.trial.overrides), train_on_validation=True
        )
        if isinstance(config.model, TabularConfig):
            return config
        stages: dict[str, Any] = {
            stage: _ending(training, self._best_epoch(stage))
            for stage, training in config.pretraining.stages.items()
        }
        training = _ending(config.training, self.trial.best_epoch)
        return replace(config, training=training, pretraining=replace(config.pretraining, **stages))

    def _best_epoch(self, stage: str) -> int | None:
        result = StageResult.read(self.folder.encoders / "stages" / stage)
        return None if result is None else result.best_epoch


def estimated_optimism(winner: Winner, dataset: Dataset) -> BestOfMany | str:
    """Return how much the best of the sweep's trials looks better than it is, or why not.

    Estimated on the trials whose predictions are stored, by repeating the choice on resampled A/B
    tests. Of more than 2,000 trials (or 5 million predictions) as many are drawn at random beside
    the best one; fewer trials make a smaller optimism.
    """
    numbers, predictions = ValidationPredictions(path=winner.folder.predictions).read()
    if len(numbers) < 2:
        return f"not estimated: {len(numbers)} trials left their validation predictions"
    rows = validated_rows(winner.sweep.experiment, dataset)
    if predictions.shape[1] != len(rows):
        return (
            f"not estimated: trials predicted {predictions.shape[1]} validation contents, but the "
            f"dataset has {len(rows)} now"
        )
    kept = _drawn(numbers, winner.trial.number, predictions.shape[1])
    try:
        return best_of_many(
            winner.metric,
            predictions[kept],
            Observed(
                clicks=dataset.clicks[rows],
                impressions=dataset.impressions[rows],
                ab_test=dataset.ab_test.to_numpy()[rows],
                group=split_dataset(dataset, winner.sweep.experiment.splits).group[rows],
                success_rate=dataset.success_rate[rows],
            ),
        )
    except EvaluationError as error:
        return f"not estimated: {error}"


def optimism_to_json(optimism: BestOfMany | str) -> dict[str, Any]:
    """Return plain values."""
    if isinstance(optimism, str):
        return {"note": optimism}
    return {
        "value": optimism.optimism,
        "metric": optimism.metric,
        "best": optimism.apparent,
        "corrected": asdict(optimism.corrected),
        "trials": optimism.predictors,
        "method": "bootstrap bias correction over whole A/B tests; trials that the scheduler "
        "stopped are not among them",
    }


def _ending(training: TrainingConfig, epoch: int | None) -> TrainingConfig:
    return replace(training, stop_after=epoch, monitor=None, early_stopping=None)


def _drawn(numbers: np.ndarray, winner: int, contents: int) -> np.ndarray:
    """Places of the trials that the choice is repeated among, ascending."""
    most = max(2, min(MAX_TRIALS, MAX_PREDICTIONS // max(contents, 1)))
    places = np.arange(len(numbers))
    if len(numbers) <= most:
        return places
    drawn = np.random.default_rng(0).choice(places, most, replace=False)
    own = np.flatnonzero(numbers == winner)
    return np.unique(np.concatenate([drawn[len(own) :], own]))

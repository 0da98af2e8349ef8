"""Models of a sweep's best trials, logged to MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ni_platform.experiment_config import record_config
from ni_platform.models.scorer import Scorer
from ni_platform.opened import OpenedExperiment
from ni_platform.registry.logged_model import log_model
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store
from ni_platform.tracking.trial_records import TrialRecords
from ni_platform.training.worker import STATE_FILE, load_state
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.engine.exchanged_weights import (
    drop_weights,
    fetch_weights,
)
from ni_platform.tuning.files.trial_log import TrialRecord
from ni_platform.tuning.search.spaces import trial_config


def record_models(
    store: Store,
    config: SweepConfig,
    folder: SweepFolder,
    run_id: str,
    best: Sequence[TrialRecord],
    opened: OpenedExperiment,
    on_event: Callable[[str], None],
) -> None:
    """Log the models of the best complete trials, those that are not logged yet.

    `run_id` is the sweep's, `best` holds its trials, the best first, `opened` its experiment. A
    trial whose run somebody has deleted in MLflow is passed over, and said.
    """
    kept = [trial for trial in best if trial.status == "complete"][: config.keep]
    run_ids = TrialRecords.of(store, run_id).run_ids()
    for trial in kept:
        if trial.number not in run_ids:
            on_event(
                f"trial {trial.number} has no run in MLflow, where somebody has deleted it: its "
                f"model is not recorded, its weights stay in {folder.weights(trial.number)}"
            )
            continue
        record = RunRecord.existing(store, run_ids[trial.number])
        fetch_weights(folder, trial.number)
        weights = folder.weights(trial.number) / STATE_FILE
        if read_run(store, record.run_id).model_uri or not weights.exists():
            continue
        experiment = replace(opened, config=trial_config(config.experiment, trial.overrides))
        record_config(record, experiment.config)
        record.set_tags(experiment.tags())
        with tempfile.TemporaryDirectory() as scratch:
            scorer = _trial_scorer(experiment, folder, trial.number)
            scorer.save(Path(scratch) / "model")
            log_model(
                record,
                Path(scratch) / "model",
                experiment.example,
                pictures=experiment.dataset.images_root,
            )
    drop_weights(folder, {trial.number for trial in kept})


def _trial_scorer(experiment: OpenedExperiment, folder: SweepFolder, number: int) -> Scorer:
    """Put a trial's regressor together from its weights and those of the encoders."""
    scorer = experiment.build_scorer()
    for modality in experiment.config.pretraining.stages:
        load_state(scorer.model, folder.encoders / "stages" / modality / STATE_FILE)
    load_state(scorer.model, folder.weights(number) / STATE_FILE)
    return scorer

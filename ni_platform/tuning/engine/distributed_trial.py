"""One trial of a sweep on several workers: a Ray Train run of its own, as `ni train --workers`.

Starting one takes seconds, so this is for trials that one worker would be too slow for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import Rows
from ni_platform.models.scorer import build_scorer
from ni_platform.training.stages import StageTask, run_stages
from ni_platform.training.worker import FUSED, load_state
from ni_platform.tuning.config import SweepConfig
from ni_platform.tuning.engine.lane import OnEpoch, TrialDone
from ni_platform.tuning.engine.trial import BestEpoch, save_weights
from ni_platform.tuning.search.spaces import trial_config


@dataclass(frozen=True, kw_only=True)
class DistributedTraining:
    """Trains trials one after the other, each with several workers, from files that all see."""

    config: SweepConfig
    train_rows: Rows
    validation_rows: Rows
    """Contents that were shown."""
    states: Mapping[str, Path]
    """Weights of the encoders that were trained before, by modality."""
    folder: Path
    """Shared by the cluster's machines."""

    def __call__(self, overrides: Mapping[str, Any], on_epoch: OnEpoch) -> TrialDone:
        """Train the experiment with these values changed.

        Raises:
            NiError: The values do not fit, or the training cannot go on.

        """
        experiment = trial_config(self.config.experiment, overrides)
        dataset = Dataset.open(self.config.data)
        readable = dataset.without_inputs(experiment.leave_out)
        follow = BestEpoch(self.config.objective, on_epoch)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            scorer = build_scorer(
                experiment.network, readable, self.train_rows, experiment.training.seed
            )
            for state in self.states.values():
                load_state(scorer.model, state)
            scorer.save(Path(scratch) / "initial")
            task = StageTask(
                name=FUSED,
                training=experiment.training,
                dataset=dataset.root,
                scorer=str(Path(scratch) / "initial"),
                train_rows=self.train_rows,
                validation_rows=self.validation_rows,
                predict_rows=self.validation_rows,
            )
            result = run_stages(
                [task],
                Path(scratch) / "stages",
                workers=self.config.workers_per_trial,
                cpus_per_worker=max(1, int(self.config.cpus_per_trial)),
                on_event=follow,
            )[FUSED]
            weights = result.state_file.read_bytes()
            predictions = np.asarray(result.predictions, dtype=np.float32)
        return TrialDone(
            value=follow.value,
            predictions=predictions,
            save=lambda folder: save_weights(weights, folder),
        )

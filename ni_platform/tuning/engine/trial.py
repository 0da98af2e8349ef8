"""One trial of a sweep in one process: the fused stage of `ni train`, on what is shared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray
import safetensors.torch
import torch
from torch import nn

from ni_platform.data import storage
from ni_platform.errors import TrainingError
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.outputs import rates
from ni_platform.training.events import EpochDone, Event
from ni_platform.training.shared_stage import SharedStage
from ni_platform.training.worker import STATE_FILE
from ni_platform.training.workers import WorkerGroup
from ni_platform.tuning.config import SweepConfig
from ni_platform.tuning.engine.lane import OnEpoch, TrialDone
from ni_platform.tuning.search.spaces import trial_config


class TrialTraining:
    """Trains trials one after the other on what `SharedStage` holds."""

    def __init__(
        self,
        experiment: ExperimentConfig,
        objective: str,
        shared: SharedStage,
        device: str | torch.device = "cpu",
    ) -> None:
        """Hold what trials have in common; the experiment monitors the sweep's objective."""
        self._experiment, self._objective = experiment, objective
        self._shared = shared
        self._device = torch.device(device)

    def __call__(self, overrides: Mapping[str, Any], on_epoch: OnEpoch) -> TrialDone:
        """Train the experiment with these values changed.

        Raises:
            NiError: The values do not fit, or the training cannot go on.

        """
        config = trial_config(self._experiment, overrides)
        follow = BestEpoch(self._objective, on_epoch)
        try:
            stage = self._shared.stage(config.network, config.training, self._device)
            training = stage.start(workers=WorkerGroup(self._device), emit=follow)
            training.run()
            outputs = training.predict(training.data.validation_rows)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise TrainingError(
                f"the GPU's memory does not suffice ({str(error).splitlines()[0]}); lower "
                "training.batch_size in the space, set training.micro_batch_size, or give each "
                "trial more of a GPU with --gpus-per-trial"
            ) from error
        predicted, _ = rates(torch.as_tensor(outputs), getattr(stage.module, "buckets", None))
        return TrialDone(
            value=follow.value,
            predictions=predicted.numpy().astype(np.float32),
            save=lambda folder: save_weights(_weights(stage.module), folder),
        )


def shared_training(
    config: SweepConfig, *, experiment: ExperimentConfig, shared: list[ray.ObjectRef]
) -> TrialTraining:
    """Run in each lane's process: what is shared lies in the memory of the machine.

    The reference stands in a list, so that it is not fetched before it is asked for.
    """
    device = "cuda" if config.gpus_per_trial else "cpu"
    return TrialTraining(experiment, config.objective, ray.get(shared[0]), device)


class BestEpoch:
    """Follows a trial's training: tells after each epoch the objective of the weights it keeps."""

    def __init__(self, objective: str, on_epoch: OnEpoch) -> None:
        self.value = float("nan")
        self.epoch = 0
        self._objective = objective
        self._on_epoch = on_epoch

    def __call__(self, event: Event) -> None:
        """Take an event of the training."""
        if not isinstance(event, EpochDone):
            return
        if event.improved:
            self.value, self.epoch = event.metrics[self._objective], event.epoch
        last = event.epoch == event.epochs
        self._on_epoch(event.metrics, self.value, self.epoch, last)


def save_weights(weights: bytes, folder: Path) -> None:
    """Write a trained stage's weights, a safetensors file."""
    storage.write_bytes(folder / STATE_FILE, weights)


def _weights(module: nn.Module) -> bytes:
    """The weights of a stage; those of encoders that stood still are not among them."""
    state = module.state_dict()
    return safetensors.torch.save({name: t.cpu().contiguous() for name, t in state.items()})

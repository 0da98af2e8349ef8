"""What one worker does with a stage: load, train, write the result. Knows no Ray."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from ni_platform.data.content_keys import input_keys
from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import BatchSource, Rows, Source
from ni_platform.data.overdispersion import dataset_overdispersion
from ni_platform.errors import DatasetError, TrainingError
from ni_platform.models.inputs import InputEncoder
from ni_platform.models.modalities.modality import parts_of
from ni_platform.models.outputs import rates
from ni_platform.models.regressor import RegressorConfig
from ni_platform.models.scorer import Scorer
from ni_platform.training.checkpoint import Checkpoint, stage_seed
from ni_platform.training.config import TrainingConfig
from ni_platform.training.events import Event, StageDone
from ni_platform.training.loop import StageTraining
from ni_platform.training.stage_data import StageData
from ni_platform.training.workers import WorkerGroup

FUSED = "fused"
STATE_FILE = "state.safetensors"
PREDICTIONS_FILE = "predictions.npy"
RESULT_FILE = "result.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class StageTask:
    """One stage to train."""

    name: str
    """What `model.stage(name)` returns: a modality (its encoder with its own head) or "fused"."""
    training: TrainingConfig
    dataset: str
    """Root of the dataset folder."""
    scorer: str
    """Folder of the saved initial `Scorer`; the same for all stages of a run."""
    train_rows: Rows
    validation_rows: Rows
    """May be empty."""
    predict_rows: Rows | None = None
    """Rows to predict with the trained stage (`StageResult.predictions`)."""
    after: tuple[str, ...] = ()
    """Stages whose weights this one starts from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StageResult:
    """A trained stage, as it stands in its folder."""

    name: str
    folder: Path
    history: tuple[dict[str, float], ...]
    """One dict per epoch: epoch, train_loss, samples_per_second, validation metrics."""
    best_epoch: int
    """Epoch whose weights are kept, from one."""
    samples_per_second: float

    @property
    def state_file(self) -> Path:
        """Weights of the stage's module, named as in the whole model (and `head.*`)."""
        return self.folder / STATE_FILE

    @property
    def metrics(self) -> dict[str, float]:
        """The history's entry of the kept epoch."""
        return dict(self.history[self.best_epoch - 1])

    @property
    def predictions(self) -> np.ndarray | None:
        """Success rates of `predict_rows`, float64 [N]; None if none were asked for."""
        columns = self._predicted()
        return None if columns is None else columns[:, 0]

    @property
    def deviations(self) -> np.ndarray | None:
        """Standard deviations of the predicted distributions, float64 [N]; None without any."""
        columns = self._predicted()
        return None if columns is None or columns.shape[1] == 1 else columns[:, 1]

    def _predicted(self) -> np.ndarray | None:
        path = self.folder / PREDICTIONS_FILE
        return np.load(path) if path.exists() else None

    @classmethod
    def read(cls, folder: Path) -> StageResult | None:
        """Read a finished stage; None if the folder does not hold one."""
        path = folder / RESULT_FILE
        if not path.exists():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            name=content["name"],
            folder=folder,
            history=tuple(content["history"]),
            best_epoch=content["best_epoch"],
            samples_per_second=content["samples_per_second"],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """A stage that is ready to be trained."""

    name: str
    module: nn.Module
    """Trained in place; on the device of the worker."""
    source: Source
    training: TrainingConfig
    train_rows: Rows
    validation_rows: Rows
    """May be empty. Of both kinds of rows only contents that were shown are used."""
    pretrained: frozenset[str] = frozenset()
    """Modalities whose encoders start from pretrained weights."""
    noise: float = 1.0
    """Variance of observed rates in units of the binomial one."""

    def start(
        self,
        *,
        workers: WorkerGroup,
        emit: Callable[[Event], None] = lambda event: None,
        save: Callable[[Checkpoint | None], None] = lambda checkpoint: None,
    ) -> StageTraining:
        """Return the training, to be run on each of `workers`; arguments as those of it.

        Raises DatasetError if no content to train on was shown.
        """
        return StageTraining(
            self.name,
            self.module,
            StageData(
                source=self.source,
                train_rows=_shown(self.source, self.train_rows, "train on"),
                validation_rows=_shown(self.source, self.validation_rows, None),
            ),
            self.training,
            workers=workers,
            pretrained=self.pretrained,
            noise=self.noise,
            emit=emit,
            save=save,
        )


def train_stage(
    task: StageTask,
    folder: Path,
    *,
    states: Mapping[str, Path],
    workers: WorkerGroup,
    resume: Checkpoint | None,
    emit: Callable[[Event], None],
    save: Callable[[Checkpoint | None], None],
) -> None:
    """Train a stage and write its result into `folder`, `result.json` last.

    `states` holds the state files of the stages it comes after. All workers call this.
    """
    stage = opened(task, states, workers.device)
    training = stage.start(workers=workers, emit=emit, save=save)
    outcome = training.run(resume)
    predictions = None
    if task.predict_rows is not None:
        outputs = training.predict(np.asarray(task.predict_rows, dtype=np.int64))
        mean_N, deviation_N = rates(
            torch.as_tensor(outputs), getattr(stage.module, "buckets", None)
        )
        columns = [mean_N] if deviation_N is None else [mean_N, deviation_N]
        predictions = torch.stack(columns, dim=1).numpy()
    if workers.rank == 0:
        content = {"name": task.name, **asdict(outcome)}
        _write_result(folder, stage.module, predictions, content)
        best = outcome.history[outcome.best_epoch - 1]
        emit(StageDone(stage=task.name, best_epoch=outcome.best_epoch, metrics=best))
    workers.first(None)  # nobody goes on before the files are there


def opened(task: StageTask, states: Mapping[str, Path], device: torch.device) -> Stage:
    """Open a stage's dataset and scorer; `states` are the files of the stages it comes after."""
    dataset = Dataset.open(task.dataset)
    scorer = Scorer.load(task.scorer, "cpu")
    for stage in task.after:
        load_state(scorer.model, states[stage])
    torch.manual_seed(stage_seed(task.training.seed, task.name))  # of a fresh head
    inputs = inputs_of_stage(scorer.inputs, task.name)
    source: Source = BatchSource(dataset, inputs, crop=task.training.image_crop)
    train_rows = task.train_rows
    if task.training.pool_equal_arms:
        source, train_rows = source.pooled(train_rows, input_keys(dataset, inputs.roles))
    return Stage(
        name=task.name,
        module=scorer.model.stage(task.name).to(device),
        source=source,
        training=task.training,
        train_rows=train_rows,
        validation_rows=task.validation_rows,
        pretrained=pretrained_modalities(scorer.config),
        noise=pair_noise(dataset, task.training, task.train_rows),
    )


def pair_noise(dataset: Dataset, training: TrainingConfig, rows: Rows) -> float:
    """Variance of observed rates in units of the binomial one; 1 where no pair is compared."""
    return dataset_overdispersion(dataset, rows) if training.loss.pairwise > 0 else 1.0


def load_state(model: nn.Module, path: Path) -> None:
    """Copy a stage's weights into the whole model; the stage's own head is left out."""
    state = safetensors.torch.load_file(path)
    known = model.state_dict().keys()
    model.load_state_dict({k: v for k, v in state.items() if k in known}, strict=False)


def inputs_of_stage(inputs: InputEncoder, stage: str) -> InputEncoder:
    """Return an encoder that reads only what a stage needs: no picture for the text stage."""
    return inputs if stage == FUSED else inputs.only(stage)


def pretrained_modalities(config: RegressorConfig) -> frozenset[str]:
    """Modalities of a model config whose encoders start from pretrained weights."""
    return frozenset(name for name, part in parts_of(config).items() if part.pretrained)


def _shown(source: Source, rows: Rows, purpose: str | None) -> Rows:
    """Leave out contents that nobody saw, as they have no success rate."""
    rows = np.asarray(rows, dtype=np.int64)
    kept = rows[source.outcomes(rows).impressions_B.numpy() > 0]
    if purpose and not len(kept):
        raise DatasetError(
            f"there must be contents with impressions to {purpose}, but none of the {len(rows)} "
            "rows given has any; check the splits and the impressions column"
        )
    return kept


def _write_result(
    folder: Path, module: nn.Module, predictions: np.ndarray | None, content: dict[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in module.state_dict().items()
    }
    try:
        _replace(folder / STATE_FILE, safetensors.torch.save(state))
        if predictions is not None:
            partial = folder / f"{PREDICTIONS_FILE}.partial.npy"
            np.save(partial, predictions)
            os.replace(partial, folder / PREDICTIONS_FILE)
        # Written last: its existence means that the stage is done.
        _replace(folder / RESULT_FILE, json.dumps(content, indent=1).encode())
    except OSError as error:
        raise TrainingError(
            f"the result of stage {content['name']!r} cannot be written to {folder} ({error}); "
            "free space on that disk, then resume the run"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)

"""Training of one stage in pure PyTorch, alone or as one of several workers.

The loss of a step is divided by totals over all workers and micro-batches, and gradients are
added up, so W workers take the same step as one worker with the whole batch. Which contents
meet, and all randomness, follow from (seed, stage, epoch, step, rank).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ni_platform.data.loading import Loader, Request, Rows
from ni_platform.errors import ConfigError, TrainingError
from ni_platform.metrics.catalogue import lower_is_better
from ni_platform.models.losses import Loss
from ni_platform.narrowing import given
from ni_platform.training import checkpoint as states
from ni_platform.training.checkpoint import Checkpoint, Progress
from ni_platform.training.config import TrainingConfig
from ni_platform.training.events import EpochDone, Event, StageStarted, StepDone
from ni_platform.training.prediction import Predictor, validation_metrics
from ni_platform.training.stage_data import StageData
from ni_platform.training.step import Stepper
from ni_platform.training.workers import WorkerGroup, precision_name

SECONDS_BETWEEN_EVENTS = 0.25


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """How the training of a stage went; the module holds the kept weights."""

    history: tuple[dict[str, float], ...]
    """One dict per epoch: epoch, train_loss, samples_per_second, validation metrics."""
    best_epoch: int
    """Epoch whose weights are kept, from one."""
    samples_per_second: float
    """Contents trained on per second of training steps, over all workers."""


class StageTraining:
    """The training of one stage on one worker.

    Args:
        name: the stage, for seeds, events and messages.
        module: maps `Inputs` to logits [B], or to logits [B, K] over its `buckets`; on the
            worker's device; trained in place.
        data: contents to train and validate on.
        config: hyper-parameters.
        workers: this worker and its peers. All of them must make the same calls.
        pretrained: modalities whose encoders start from pretrained weights.
        noise: variance of observed rates in units of the binomial one.
        emit: told on worker 0 what happens.
        save: told on every worker when a checkpoint is due; `Checkpoint` on worker 0, else None.

    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        data: StageData,
        config: TrainingConfig,
        *,
        workers: WorkerGroup,
        pretrained: Collection[str] = (),
        noise: float = 1.0,
        emit: Callable[[Event], None] = lambda event: None,
        save: Callable[[Checkpoint | None], None] = lambda checkpoint: None,
    ) -> None:
        self.name = name
        self.module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.data = data
        self.config = config
        self.workers = workers
        self._tell, self._save = emit, save
        self._seed = states.stage_seed(config.seed, name)
        self._loss = Loss(config.loss, getattr(module, "buckets", None), noise)
        self._stepper = Stepper(
            module, data.source, self._loss, config, workers=workers, pretrained=pretrained
        )
        self._loader = Loader(
            data.source, threads=config.loader_threads or min(8, torch.get_num_threads())
        )
        self._predictor = Predictor(self._loader, workers, self._stepper.dtype)
        self._progress = Progress()
        self._unbooked: tuple[Tensor, Rows] | None = None
        self._last = (math.nan, math.nan)
        self._best: dict[str, Tensor] = {}

    def run(self, resume: Checkpoint | None = None) -> StageOutcome:
        """Train, from the start or from a checkpoint of this stage."""
        if resume is not None:
            self._restore(resume)
        self._announce()
        while self._progress.epoch < self.config.last_epoch and not self._out_of_patience():
            self._train_epoch()
            self._finish_epoch()
            self._save_checkpoint()
        if self._best:
            self.module.load_state_dict(self._best)
        progress = self._progress
        return StageOutcome(
            history=tuple(progress.history),
            best_epoch=progress.best_epoch or progress.epoch,
            samples_per_second=progress.contents / max(progress.seconds, 1e-9),
        )

    def predict(self, rows: Rows) -> np.ndarray:
        """Outputs of dataset rows, float32 [len(rows)] or [len(rows), K]; equal on every worker."""
        return self._predictor.outputs(self.module, rows, self._rows_per_pass())

    def _plan(self) -> list[list[list[Rows]]]:
        """Rows of the epoch under way, by step, worker and micro-batch."""
        return self.data.plan(self.config, self.workers.size, self._seed, self._progress.epoch)

    def _train_epoch(self) -> None:
        progress, rank = self._progress, self.workers.rank
        clock = last_event = time.perf_counter()
        plan = self._plan()
        requests = [
            Request(rows=part, seed=(*self._entropy(step), number))
            for step in range(progress.step, len(plan))
            for number, part in enumerate(plan[step][rank])
        ]
        self._set_training_mode()
        contents_then = progress.contents
        with closing(self._loader.iterate(requests)) as batches:
            for step in range(progress.step, len(plan)):
                parts = plan[step][rank]
                states.seed_step(self._entropy(step))
                fraction = (progress.epoch + (step + 0.5) / len(plan)) / self.config.epochs
                factor = self.config.learning_rate_factor(fraction)
                done = self._stepper.take(batches, parts, factor)
                # One step late, so that a GPU is not waited for in every step.
                self._book()
                self._unbooked = (done, np.concatenate(parts))
                progress.step += 1
                progress.contents += sum(len(part) for share in plan[step] for part in share)
                last = progress.step == len(plan)
                due = last or progress.step % (self.config.checkpoint_every or len(plan)) == 0
                if due:
                    self._book()
                now = time.perf_counter()
                progress.seconds += now - clock
                if now - last_event > SECONDS_BETWEEN_EVENTS or last:
                    speed = (progress.contents - contents_then) / (now - last_event)
                    self._emit_step(len(plan), speed)
                    last_event, contents_then = now, progress.contents
                if due and not last:
                    self._save_checkpoint()
                clock = time.perf_counter()

    def _book(self) -> None:
        """Add the last step's loss to the epoch's; raises TrainingError if it is not finite."""
        if self._unbooked is None:
            return
        done, rows = self._unbooked
        self._unbooked = None
        loss, norm = done.tolist()
        if math.isfinite(loss) and math.isfinite(norm):
            self._progress.loss_sum += loss
            self._last = (loss, norm)
            return
        # The loss is the same on all workers, so all of them come here in the same step.
        contents = self.data.names(np.concatenate(self.workers.gather(rows)))
        what = f"loss became {loss}" if not math.isfinite(loss) else f"gradient became {norm}"
        raise TrainingError(
            f"training stopped: the {what} in epoch {self._progress.epoch + 1} of stage "
            f"{self.name!r} on the batch of contents {contents}; "
            "check the values of these contents, lower training.learning_rate, or set "
            "training.clip_norm"
        )

    def _finish_epoch(self) -> None:
        """Validate, note the epoch in the history and keep its weights if they are the best."""
        progress, config = self._progress, self.config
        steps = progress.step
        validation = self._validate()
        metrics = {
            "epoch": float(progress.epoch + 1),
            "train_loss": progress.loss_sum / steps,
            "samples_per_second": progress.contents / max(progress.seconds, 1e-9),
            **validation,
        }
        progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
        value = self._monitored(validation)
        improved = value is not None and self._improves(value)
        if improved:
            progress.best_epoch, progress.best_value = progress.epoch, value
            self._best = {
                name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()
            }
        progress.history.append(metrics)
        self._emit(
            EpochDone(
                stage=self.name,
                epoch=progress.epoch,
                epochs=config.last_epoch,
                metrics=metrics,
                improved=improved,
            )
        )

    def _validate(self) -> dict[str, float]:
        rows = self.data.validation_rows
        if not len(rows):
            return {}
        outputs = self.predict(rows)
        metrics = None
        if self.workers.rank == 0:
            metrics = validation_metrics(outputs, self.data.source, rows, self._loss)
        result: dict[str, float] = self.workers.first(metrics)
        return result

    def _monitored(self, metrics: dict[str, float]) -> float | None:
        name = self.config.monitor
        if name is None or not len(self.data.validation_rows):
            return None
        if name not in metrics:
            raise ConfigError(
                f"training.monitor is {name!r}, but there is no such metric of these validation "
                f"contents, only {', '.join(metrics)}; set it to one of these or to null"
            )
        return metrics[name]

    def _improves(self, value: float) -> bool:
        best = self._progress.best_value
        if math.isnan(value):
            return False
        if best is None:
            return True
        return value < best if lower_is_better(given(self.config.monitor)) else value > best

    def _out_of_patience(self) -> bool:
        progress, patience = self._progress, self.config.early_stopping
        if patience is None or not len(self.data.validation_rows):
            return False
        return progress.epoch - progress.best_epoch >= patience

    def _set_training_mode(self) -> None:
        self.module.train()
        for name in self.config.frozen:
            self.module.encoders[name].eval()

    def _rows_per_pass(self) -> int:
        return self.config.micro_batch_size or -(-self.config.batch_size // self.workers.size)

    def _entropy(self, step: int) -> tuple[int, ...]:
        return (self._seed, self._progress.epoch, step, self.workers.rank)

    def _save_checkpoint(self) -> None:
        random = self.workers.gather(states.random_state())
        if self.workers.rank:
            self._save(None)
            return
        self._save(
            Checkpoint(
                stage=self.name,
                progress=self._progress,
                model=self.module.state_dict(),
                optimizer=self._stepper.optimizer.state_dict(),
                best=self._best,
                random=random,
            )
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        if checkpoint.stage != self.name or len(checkpoint.random) != self.workers.size:
            raise TrainingError(
                f"a run goes on with the stage and the number of workers it was started with: "
                f"stage {checkpoint.stage!r} and {len(checkpoint.random)} workers, not "
                f"{self.name!r} and {self.workers.size}; set them so, or start a new run"
            )
        self.module.load_state_dict(checkpoint.model)
        self._stepper.optimizer.load_state_dict(checkpoint.optimizer)
        self._best = {name: t.to(self.workers.device) for name, t in checkpoint.best.items()}
        self._progress = replace(checkpoint.progress)
        states.set_random_state(checkpoint.random[self.workers.rank])

    def _announce(self) -> None:
        progress = self._progress
        self._emit(
            StageStarted(
                stage=self.name,
                epochs=self.config.last_epoch,
                epoch=progress.epoch,
                step=progress.step,
                steps=len(self._plan()),
                contents=len(self.data.train_rows),
                workers=self.workers.size,
                device=str(self.workers.device),
                precision=precision_name(self._stepper.dtype),
            )
        )

    def _emit_step(self, steps: int, samples_per_second: float) -> None:
        loss, norm = self._last
        self._emit(
            StepDone(
                stage=self.name,
                epoch=self._progress.epoch,
                step=self._progress.step,
                steps=steps,
                loss=loss,
                gradient_norm=norm,
                learning_rate=float(self._stepper.optimizer.param_groups[0]["lr"]),
                samples_per_second=samples_per_second,
            )
        )

    def _emit(self, event: Event) -> None:
        if self.workers.rank == 0:
            self._tell(event)

"""One optimizer step, the same for any number of workers and micro-batches."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

from ni_platform.data.batch import Batch
from ni_platform.data.loading import Rows, Source
from ni_platform.models.losses import Loss
from ni_platform.training.config import TrainingConfig
from ni_platform.training.gradients import Gradients
from ni_platform.training.optimization import adam, parameter_groups, set_learning_rate
from ni_platform.training.prediction import on_device
from ni_platform.training.workers import WorkerGroup, precision_on


class Stepper:
    """Takes the steps of a training; arguments as those of `StageTraining`."""

    def __init__(
        self,
        module: nn.Module,
        source: Source,
        loss: Loss,
        config: TrainingConfig,
        *,
        workers: WorkerGroup,
        pretrained: Collection[str],
    ) -> None:
        self._source = source
        self._loss = loss
        self._workers = workers
        self._clip_norm = config.clip_norm
        self.dtype = precision_on(workers.device, config)
        """Of matrix products."""
        groups = parameter_groups(module, config, pretrained)
        self._gradients = Gradients(
            torch.compile(module) if config.compile else module,  # type: ignore[arg-type]
            [parameter for group in groups for parameter in group["params"]],
            workers,
        )
        self.optimizer = adam(groups, config)

    def take(self, batches: Iterator[Batch], parts: list[Rows], rate_factor: float) -> Tensor:
        """Train on the next batches, which hold the rows of `parts`.

        Returns the loss and the norm of the gradient before clipping, [2].
        """
        device = self._workers.device
        denominators = self._denominators(parts)
        self._gradients.zero()
        for number in range(len(parts)):
            batch = next(batches)
            inputs = on_device(batch.inputs, device)
            outcomes = batch.outcomes.to(device, non_blocking=True)
            with self._gradients.micro_batch(last=number == len(parts) - 1):
                with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
                    logits_B = self._gradients.outputs(inputs)
                terms = self._loss.terms(logits_B, outcomes)
                self._gradients.add(self._loss.combine(terms, denominators))
        done = self._gradients.total(self._clip_norm)
        set_learning_rate(self.optimizer, rate_factor)
        self.optimizer.step()
        return done

    def _denominators(self, parts: list[Rows]) -> dict[str, Tensor]:
        """What each loss is divided by: its total over micro-batches and workers."""
        totals: list[Tensor] = []
        for part in parts:
            outcomes = self._source.outcomes(part)
            terms = self._loss.terms(self._loss.any_outputs(len(part)), outcomes)
            totals.append(torch.stack([denominator for _, denominator in terms.values()]))
        summed = torch.stack(totals).sum(0).to(self._workers.device)
        return dict(zip(self._loss.weights, self._workers.sum_(summed).unbind()))

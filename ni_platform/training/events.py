"""What a training tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ni_platform.errors import NiError


class StopTraining(NiError):  # noqa: N818  # nothing went wrong
    """Raised by whoever is told of events, to end the training that they come from."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in the training of a stage."""

    stage: str


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    """A stage begins, or goes on from a checkpoint if `epoch` or `step` is not zero."""

    epochs: int
    epoch: int
    """Epoch that is trained next, from zero."""
    step: int
    """Step of that epoch that is trained next, from zero."""
    steps: int
    """Steps in that epoch."""
    contents: int
    workers: int
    device: str
    precision: str
    """Of matrix products; where the config says auto, what was chosen for this machine."""


@dataclass(frozen=True, kw_only=True)
class StepDone(Event):
    """An optimizer step is done; sent a few times a second at most."""

    epoch: int
    step: int
    """Steps done in this epoch."""
    steps: int
    loss: float
    gradient_norm: float
    learning_rate: float
    samples_per_second: float


@dataclass(frozen=True, kw_only=True)
class EpochDone(Event):
    """An epoch and its validation are done."""

    epoch: int
    """Epochs done."""
    epochs: int
    metrics: dict[str, float] = field(default_factory=dict)
    """epoch, train_loss, samples_per_second and, of validation contents, loss, rmse,
    pairwise_accuracy and, if any are from A/B tests, pairwise_within."""
    improved: bool


@dataclass(frozen=True, kw_only=True)
class StageDone(Event):
    """A stage is trained, its files are written."""

    best_epoch: int
    """Epoch whose weights are kept, from one."""
    metrics: dict[str, float] = field(default_factory=dict)

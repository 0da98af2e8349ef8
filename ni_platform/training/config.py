"""How one stage is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, pi
from typing import Literal

from ni_platform.errors import ConfigError
from ni_platform.models.losses import LossConfig
from ni_platform.seeds import check_seed

Monitor = Literal["loss", "rmse", "pairwise_accuracy", "pairwise_within"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Hyper-parameters of one stage; the defaults are those of NI Section 6.1 where it has any."""

    epochs: int = 10
    stop_after: int | None = None
    """Epochs after which training ends although the learning rate takes the course of `epochs`:
    so a stage ends as it stood after that epoch of a longer one (None: trained to the end)."""
    batch_size: int = 32
    """Contents per optimizer step, over all workers together."""
    micro_batch_size: int | None = None
    """Contents per forward pass on a worker; gradients are accumulated up to `batch_size`."""
    learning_rate: float = 1e-3
    encoder_learning_rate: float | None = None
    """Learning rate of encoders that start from pretrained weights (None: `learning_rate`)."""
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    """Of matrices and kernels; biases and normalization scales are not decayed."""
    warmup: float = 0.0
    """Fraction of all steps over which the learning rate rises linearly from zero."""
    decay: Literal["constant", "linear", "cosine"] = "constant"
    """Course of the learning rate after the warm-up, down to zero unless constant."""
    clip_norm: float | None = None
    """Largest norm of the gradient over all parameters."""
    early_stopping: int | None = None
    """Stop after this many epochs without a better `monitor`."""
    monitor: Monitor | None = "loss"
    """Validation metric that selects the epoch whose weights are kept (None: the last epoch's)."""
    loss: LossConfig = field(default_factory=LossConfig)
    pool_equal_arms: bool = False
    """Whether arms of an A/B test that are the same to the stage are one, with all their counts."""
    frozen: tuple[str, ...] = ()
    """Modalities whose encoders keep their weights and stay in evaluation mode."""
    precision: Literal["auto", Precision] = "auto"
    """Of matrix products; auto is bfloat16 on GPUs and on CPUs with AMX; the run's tag
    `ni.precision` says which."""
    image_crop: int | None = None
    """Side of a random square crop of training images, in pixels (NI pretraining: 512)."""
    seed: int = 0
    compile: bool = False
    """Whether torch.compile translates the model."""
    checkpoint_every: int | None = None
    """Steps between checkpoints, besides one after each epoch."""
    loader_threads: int | None = None
    """Threads that read and decode contents on a worker (None: one per CPU, eight at most)."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("micro_batch_size", "early_stopping", "checkpoint_every", "loader_threads"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "at least 1, or null")
        _require(
            self.stop_after is None or 1 <= self.stop_after <= self.epochs,
            "stop_after", self.stop_after, f"from 1 to training.epochs ({self.epochs}), or null",
        )  # fmt: skip
        for name in ("encoder_learning_rate", "clip_norm", "image_crop"):
            value = getattr(self, name)
            _require(value is None or value > 0, name, value, "positive, or null")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "positive")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "zero or more")
        _require(0 <= self.warmup < 1, "warmup", self.warmup, "a fraction of all steps, in [0, 1)")
        check_seed("training.seed", self.seed)
        _require(
            self.early_stopping is None or self.monitor is not None,
            "early_stopping", self.early_stopping, "null where monitor is null",
        )  # fmt: skip

    @property
    def last_epoch(self) -> int:
        """Epochs that are trained at most."""
        return self.stop_after or self.epochs

    def learning_rate_factor(self, progress: float) -> float:
        """Return what the base learning rate is multiplied by at `progress` in [0, 1]."""
        if progress < self.warmup:
            return progress / self.warmup
        left = min(1.0, max(0.0, (1.0 - progress) / (1.0 - self.warmup)))
        if self.decay == "linear":
            return left
        if self.decay == "cosine":
            return 0.5 * (1.0 - cos(pi * left))
        return 1.0


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ConfigError(f"training.{name} must be {rule}, but is {value!r}")

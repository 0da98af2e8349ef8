"""Everything a stage needs to go on as if it had never been interrupted.

The randomness of a step is a function of (seed, stage, epoch, step, rank), see `step_seed`: the
random states in a checkpoint matter only to code that draws outside of a step.
"""

from __future__ import annotations

import os
import random
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ni_platform.errors import TrainingError

FILE_NAME = "checkpoint.pt"


@dataclass(kw_only=True)
class Progress:
    """How far a stage has come."""

    epoch: int = 0
    """Epochs done."""
    step: int = 0
    """Steps done in the epoch under way."""
    loss_sum: float = 0.0
    """Sum of the losses of the steps done in the epoch under way."""
    contents: int = 0
    """Contents trained on so far, each as often as it was seen."""
    seconds: float = 0.0
    """Seconds spent in steps so far."""
    best_epoch: int = 0
    """Epoch with the best monitored metric so far, from one; 0: none yet."""
    best_value: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(kw_only=True)
class Checkpoint:
    """State of a stage between two steps, the same for all workers but for `random`."""

    stage: str
    progress: Progress
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    best: dict[str, Tensor]
    """Weights of the best epoch; empty if there is none yet."""
    random: list[dict[str, Any]]
    """Random states of each worker."""

    def save(self, folder: Path) -> None:
        """Write the checkpoint into `folder`, which is created; a crash leaves no partial file."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{FILE_NAME}.partial"
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        try:
            with partial.open("wb") as file:
                torch.save({**content, "progress": asdict(self.progress)}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, folder / FILE_NAME)
        except (OSError, RuntimeError) as error:  # torch.save turns a full disk into either
            partial.unlink(missing_ok=True)
            raise TrainingError(
                f"the checkpoint {folder / FILE_NAME} cannot be written ({error}); free space on "
                "that disk or choose another folder, then resume the run"
            ) from error

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """Read a checkpoint; raises TrainingError if it cannot be read."""
        path = folder / FILE_NAME
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            return cls(**{**content, "progress": Progress(**content["progress"])})
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError) as error:
            raise TrainingError(
                f"the checkpoint {path} cannot be read ({error}); delete its folder to start over"
            ) from error


def random_state() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's global random generators."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002  # saved as is
    state = {
        "python": random.getstate(),
        "numpy": (
            str(name),
            torch.as_tensor(np.asarray(keys, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned."""
    random.setstate(state["python"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def stage_seed(seed: int, stage: str) -> int:
    """Return the seed of a stage, different for each stage of a run."""
    return int(np.random.SeedSequence([seed, zlib.crc32(stage.encode())]).generate_state(1)[0])


def step_seed(seed: int, stage: str, epoch: int, step: int, rank: int) -> tuple[int, ...]:
    """Return the entropy of all randomness of one step on one worker."""
    return (stage_seed(seed, stage), epoch, step, rank)


def seed_step(entropy: tuple[int, ...]) -> None:
    """Seed the global generators for one step."""
    (state,) = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    random.seed(int(state))
    np.random.seed(int(state) % 2**32)  # noqa: NPY002  # third-party models may draw from it
    torch.manual_seed(int(state) % 2**63)

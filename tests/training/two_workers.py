"""A stage trained without Ray, by one process or as one of two; imports little, as each forks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch

from ni_platform.training.worker import StageTask, train_stage
from ni_platform.training.workers import WorkerGroup


def train_as(rank: int, task: StageTask, folder: Path) -> None:
    """Train a stage as one of two workers, into `folder/two`."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    train_alone(task, folder / "two")
    torch.distributed.destroy_process_group()


def train_alone(
    task: StageTask, folder: Path, states: Mapping[str, Path] = MappingProxyType({})
) -> None:
    """Train a stage in this process."""
    train_stage(
        task,
        folder,
        states=states,
        workers=WorkerGroup("cpu"),
        resume=None,
        emit=lambda event: None,
        save=lambda checkpoint: None,
    )

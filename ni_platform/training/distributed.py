"""Ray Train around the loop: worker processes, restarts from checkpoints, events to the driver.

Starting a Ray Train run costs several seconds of processor time (a controller, its helpers and
each worker import torch), whatever the run does. Stages that cannot run side by side are
therefore trained by one run, one after the other: a chain.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.actor import ActorHandle
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.report_config import CheckpointUploadMode

from ni_platform.errors import ConfigError, NiError, TrainingError
from ni_platform.training.checkpoint import Checkpoint
from ni_platform.training.events import Event
from ni_platform.training.mailbox import Mailbox
from ni_platform.training.worker import StageResult, StageTask, train_stage
from ni_platform.training.workers import WorkerGroup

_SECONDS_FOR_PEERS_TO_FAIL = 3.0


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What each chain of stages is given."""

    workers: int
    cpus_per_worker: int
    gpu: bool
    chains: int
    """Chains that the cluster has room for side by side."""


def share_resources(workers: int, cpus_per_worker: int | None) -> Resources:
    """Divide the cluster: a GPU per worker where there are any, CPUs evenly if not told.

    Raises ConfigError if the cluster cannot hold that many workers.
    """
    total = ray.cluster_resources()
    cpus, gpus = int(total.get("CPU", 0)), int(total.get("GPU", 0))
    largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    if cpus_per_worker is None:
        share = cpus // (max(workers, gpus) if gpus else workers)
        cpus_per_worker = max(1, min(share, largest))
    if workers < 1 or workers * cpus_per_worker > cpus or (gpus and workers > gpus):
        raise ConfigError(
            f"workers must fit into the cluster, but {workers} workers of {cpus_per_worker} CPUs"
            f"{' and a GPU' if gpus else ''} were asked for and it has {cpus} CPUs and {gpus} "
            "GPUs; lower --workers or add machines"
        )
    chains = cpus // (workers * cpus_per_worker)
    if gpus:
        chains = min(chains, gpus // workers)
    return Resources(
        workers=workers, cpus_per_worker=cpus_per_worker, gpu=gpus > 0, chains=max(1, chains)
    )


def open_mailbox() -> ActorHandle:
    """Start the actor through which events and errors reach the driver; it takes no CPU."""
    return ray.remote(Mailbox).options(num_cpus=0).remote()


def train_chain(
    tasks: Sequence[StageTask],
    folder: Path,
    *,
    resources: Resources,
    mailbox: ActorHandle,
    max_restarts: int,
) -> None:
    """Train stages one after the other on one group of workers; blocks until they are done.

    Results are in `folder/STAGE`. A worker that dies is restarted, with its peers, from the last
    checkpoint, at most `max_restarts` times. A chain that was interrupted before goes on.

    Raises the NiError of a worker, or TrainingError if workers keep dying.
    """
    chain = tasks[0].name
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "tasks": list(tasks),
            "folder": str(folder),
            "chain": chain,
            "threads": resources.cpus_per_worker,
            "mailbox": mailbox,
        },
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if resources.gpu else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpu,
            resources_per_worker={
                "CPU": resources.cpus_per_worker,
                **({"GPU": 1} if resources.gpu else {}),
            },
        ),
        run_config=ray.train.RunConfig(
            name=f"checkpoints-{chain}",
            storage_path=str(folder),
            failure_config=ray.train.FailureConfig(max_failures=max_restarts),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        failure: NiError | None = ray.get(mailbox.failure.remote(chain))
        raise failure or TrainingError(_why(error, chain, max_restarts)) from error
    failure = ray.get(mailbox.failure.remote(chain))
    if failure is not None:
        raise failure
    shutil.rmtree(folder / f"checkpoints-{chain}", ignore_errors=True)


def _why(error: Exception, chain: str, max_restarts: int) -> str:
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    first = next(iter(failures.values()), error)
    lines = [line.strip() for line in str(first).splitlines() if line.strip()]
    return (
        f"training of stage {chain!r} failed, after {max_restarts} restarts: "
        f"{lines[-1] if lines else type(first).__name__}; what was trained is kept, resume the "
        "run when the cause is gone"
    )


def _work(config: dict[str, Any]) -> None:
    """Run on every worker by Ray Train."""
    mailbox, chain = config["mailbox"], config["chain"]
    torch.set_num_threads(config["threads"])
    rank = ray.train.get_context().get_world_rank()
    size = ray.train.get_context().get_world_size()
    if ray.get(mailbox.failure.remote(chain)) is not None:
        return  # restarted after an error that a restart does not mend
    try:
        _train(config["tasks"], Path(config["folder"]), mailbox)
    except torch.OutOfMemoryError as error:
        message = (
            f"the GPU's memory does not suffice ({str(error).splitlines()[0]}); set "
            "training.micro_batch_size or lower training.batch_size"
        )
        _stop(mailbox, chain, rank, size, TrainingError(message))
    except NiError as error:
        _stop(mailbox, chain, rank, size, error)


def _stop(mailbox: ActorHandle, chain: str, rank: int, size: int, error: NiError) -> None:
    """Leave the error for the driver, and return if all workers have stopped.

    If not, they are waiting for this one, which only dies: that ends them, and once restarted
    they all see the error and return.
    """
    deadline = time.monotonic() + _SECONDS_FOR_PEERS_TO_FAIL
    while ray.get(mailbox.fail.remote(chain, rank, error)) < size:
        if time.monotonic() > deadline:
            raise error
        time.sleep(0.1)


def _train(tasks: Sequence[StageTask], folder: Path, mailbox: ActorHandle) -> None:
    workers = WorkerGroup(ray.train.torch.get_device())
    for task in tasks:
        # Worker 0 decides: the others could see a file before it has come to that point.
        if workers.first(StageResult.read(folder / task.name) is not None):
            continue
        reported = ray.train.get_checkpoint()
        resume = Checkpoint.load(Path(reported.path)) if reported is not None else None
        if resume is not None and resume.stage != task.name:
            resume = None  # of a stage before this one
        train_stage(
            task,
            folder / task.name,
            states={stage: folder / stage / "state.safetensors" for stage in task.after},
            workers=workers,
            resume=resume,
            emit=lambda event: _emit(mailbox, event),
            save=lambda checkpoint: _save(checkpoint, workers, mailbox, tasks[0].name),
        )


def _emit(mailbox: ActorHandle, event: Event) -> None:
    mailbox.put.remote(event)


def _save(
    checkpoint: Checkpoint | None, workers: WorkerGroup, mailbox: ActorHandle, chain: str
) -> None:
    """Report a checkpoint; raises on all workers what the driver left to stop them, if anything."""
    _report(checkpoint)
    stop: NiError | None = workers.first(
        ray.get(mailbox.failure.remote(chain)) if workers.rank == 0 else None
    )
    if stop is not None:
        raise stop


def _report(checkpoint: Checkpoint | None) -> None:
    """Write worker 0's checkpoint where Ray Train keeps it, and register it on all workers."""
    reported = None
    if checkpoint is not None:
        storage = ray.train.get_context().get_storage()
        progress = checkpoint.progress
        name = f"{checkpoint.stage}-{progress.epoch:05d}-{progress.step:07d}"
        folder = Path(storage.experiment_fs_path) / name
        checkpoint.save(folder)
        reported = ray.train.Checkpoint.from_directory(folder)
    ray.train.report({}, checkpoint=reported, checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD)

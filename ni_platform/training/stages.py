"""Staged training: stages that wait for one another, side by side where there is room."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import ray
from ray.actor import ActorHandle

from ni_platform.data.storage import is_remote
from ni_platform.errors import ConfigError, TrainingError
from ni_platform.models.scorer import Scorer
from ni_platform.ray_cluster import start_ray
from ni_platform.training.distributed import (
    Resources,
    open_mailbox,
    share_resources,
    train_chain,
)
from ni_platform.training.events import Event, StopTraining
from ni_platform.training.worker import StageResult, StageTask, load_state

__all__ = ["StageResult", "StageTask", "run_stages", "trained_scorer"]

_SECONDS_BETWEEN_LOOKS = 0.1
_TASKS_FILE = "tasks.json"


def run_stages(
    tasks: Sequence[StageTask],
    folder: str | Path,
    *,
    workers: int = 1,
    cpus_per_worker: int | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    resume: bool = False,
    max_restarts: int = 3,
) -> dict[str, StageResult]:
    """Train stages with Ray Train and return their results by name.

    Args:
        tasks: stages; each names in `after` those whose weights it starts from.
        folder: where results and checkpoints are written, `folder/STAGE`; on a cluster of
            several machines it must be shared by them.
        workers: processes that train a stage together; each gets a GPU where there are any.
        cpus_per_worker: CPUs and torch threads of a worker (None: the machine's, divided).
            Stages that do not wait for one another run side by side as far as the cluster has
            room for more workers of this size, and one after the other otherwise.
        on_event: called in this thread with what the workers report; where it raises
            `StopTraining`, all stages end after the epoch under way, and this raises it as well.
        resume: go on where an interrupted run with the same `folder` stopped, with the same
            final weights as if it had not been; otherwise `folder` must not hold a run.
        max_restarts: how often workers that die are restarted from the last checkpoint.

    Raises:
        ConfigError: tasks or workers that do not fit, or a folder that holds another run.
        NiError: whatever stopped a worker, such as a picture that does not decode or a loss
            that is not finite. Stages that run beside it are trained to their end.

    """
    folder = Path(folder).absolute()
    tasks = [_with_absolute_paths(task) for task in tasks]
    waves = _waves(tasks)
    _claim(folder, tasks, workers, resume)
    start_ray()
    resources = share_resources(workers, cpus_per_worker)
    mailbox = open_mailbox()
    try:
        for chains in _chains(waves, resources.chains):
            _train_side_by_side(chains, folder, resources, mailbox, on_event, max_restarts)
    finally:
        if ray.is_initialized():
            ray.kill(mailbox)
    results = {task.name: StageResult.read(folder / task.name) for task in tasks}
    missing = [name for name, result in results.items() if result is None]
    if missing:
        raise TrainingError(
            f"the workers ended without the results of {', '.join(missing)} in {folder}; "
            "on several machines this folder must be shared by them"
        )
    return {name: result for name, result in results.items() if result is not None}


def trained_scorer(
    tasks: Sequence[StageTask], results: Mapping[str, StageResult], folder: str | Path
) -> Scorer:
    """Put the stages' weights into the initial scorer, save it as `folder`, and return it."""
    scorer = Scorer.load(tasks[0].scorer, "cpu")
    for wave in _waves(tasks):
        for task in wave:
            load_state(scorer.model, results[task.name].state_file)
    scorer.save(folder)
    return scorer


def _waves(tasks: Sequence[StageTask]) -> list[list[StageTask]]:
    """Order the stages: each wave waits only for stages of waves before it."""
    names = [task.name for task in tasks]
    if not tasks or len(set(names)) < len(names):
        raise ConfigError(f"stages must be one or more with different names, but are {names}")
    for task in tasks:
        unknown = set(task.after) - set(names)
        if unknown:
            raise ConfigError(
                f"stage {task.name!r} comes after {sorted(unknown)}, but the stages are {names}"
            )
    waves: list[list[StageTask]] = []
    done: set[str] = set()
    while len(done) < len(tasks):
        wave = [task for task in tasks if task.name not in done and done >= set(task.after)]
        if not wave:
            raise ConfigError(f"stages {sorted(set(names) - done)} wait for one another")
        waves.append(wave)
        done |= {task.name for task in wave}
    return waves


def _with_absolute_paths(task: StageTask) -> StageTask:
    """Workers run in another folder."""
    dataset = task.dataset if is_remote(task.dataset) else str(Path(task.dataset).absolute())
    return replace(task, dataset=dataset, scorer=str(Path(task.scorer).absolute()))


def _chains(waves: list[list[StageTask]], chains: int) -> list[list[list[StageTask]]]:
    """Divide each wave into chains that run side by side; with room for one, all is one chain."""
    if chains == 1:
        return [[[task for wave in waves for task in wave]]]
    return [[wave[first::chains] for first in range(min(chains, len(wave)))] for wave in waves]


def _train_side_by_side(
    chains: list[list[StageTask]],
    folder: Path,
    resources: Resources,
    mailbox: ActorHandle,
    on_event: Callable[[Event], None],
    max_restarts: int,
) -> None:
    errors: list[BaseException] = []

    def train(chain: list[StageTask]) -> None:
        try:
            train_chain(
                chain, folder, resources=resources, mailbox=mailbox, max_restarts=max_restarts
            )
        except BaseException as error:  # noqa: BLE001  # raised again in the calling thread
            errors.append(error)

    unfinished = [c for c in chains if any(StageResult.read(folder / t.name) is None for t in c)]
    threads = [threading.Thread(target=train, args=(c,), daemon=True) for c in unfinished]
    _start(threads)
    try:
        while any(thread.is_alive() for thread in threads):
            for event in ray.get(mailbox.take.remote()):
                on_event(event)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        for event in ray.get(mailbox.take.remote()):
            on_event(event)
    except StopTraining as stop:
        ray.get([mailbox.fail.remote(chain[0].name, 0, stop) for chain in chains])
        _join(threads)
        raise
    except ray.exceptions.RayActorError as error:
        ray.shutdown()
        raise TrainingError(
            "the process through which workers report died, of too little memory perhaps; what "
            "is done is kept, resume the run"
        ) from error
    except BaseException:  # Ctrl-C, or a defect in on_event
        ray.shutdown()  # ends the workers; fit() in its thread cannot be told
        raise
    if errors:
        raise errors[0]


def _start(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


def _claim(folder: Path, tasks: Sequence[StageTask], workers: int, resume: bool) -> None:
    """Note in `folder` what is trained there, so that only the same run goes on in it."""
    path = folder / _TASKS_FILE
    description = json.dumps({"workers": workers, "tasks": [_describe(t) for t in tasks]})
    if path.exists():
        if not resume:
            raise ConfigError(
                f"{folder} holds a training run; resume it, delete it or choose another folder"
            )
        if path.read_text(encoding="utf-8") != description:
            raise ConfigError(
                f"the run in {folder} was started with other stages, rows, settings or number "
                "of workers; resume it with the same, or choose another folder"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(description, encoding="utf-8")


def _describe(task: StageTask) -> dict[str, object]:
    rows = (task.train_rows, task.validation_rows, task.predict_rows)
    digests = [
        None if r is None else hashlib.sha256(np.asarray(r, dtype=np.int64).tobytes()).hexdigest()
        for r in rows
    ]
    return {
        "name": task.name,
        "after": list(task.after),
        "training": asdict(task.training),
        "dataset": task.dataset,
        "rows": digests,
    }

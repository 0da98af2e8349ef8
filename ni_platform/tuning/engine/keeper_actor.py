"""The keeper as a Ray actor: in a process of its own, and as lanes and driver ask it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ni_platform.errors import ConfigError, TrainingError
from ni_platform.training.events import StopTraining
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.engine.keeper import Assignment, Decision, Keeper
from ni_platform.tuning.files.mirror import Mirror
from ni_platform.tuning.files.trial_log import Status

_KEEPER_DIED = (
    "the sweep's keeper, the process that writes its log, died, of too little memory on the "
    "driver's machine perhaps"
)


class KeeperLostError(StopTraining):
    """The keeper does not answer this lane: whatever it trains is not its any more."""


class KeeperActor(Keeper):
    """The keeper in a process of its own, with the thread that writes its trials to MLflow."""

    def __init__(
        self, config: SweepConfig, folder: SweepFolder, run_id: str | None, store: str | None
    ) -> None:
        """Go on with the sweep; without the id of a run nothing is written to MLflow.

        `store` is the address of the run's, which this process opens anew.
        """
        # MLflow takes seconds to import, and lanes, which know this module, do not need it.
        from ni_platform.tuning.engine.recorder import Recorder

        self._troubles: list[str] = []
        tell = self._troubles.append
        self._mirror: Mirror | None = None
        self._recorder = (
            Recorder(folder, run_id, store, on_trouble=tell, until=self._safe) if run_id else None
        )
        note = self._recorder.note if self._recorder else lambda trial: None
        super().__init__(config, folder, on_change=note)
        if folder.mirror is not None:
            self._mirror = Mirror(folder, on_trouble=tell, on_lost=self.give_up)
            self._mirror.start()
        if self._recorder:
            self._recorder.start()

    def _safe(self) -> float:
        """Bytes of the log that another machine could go on from: MLflow learns no more."""
        return math.inf if self._mirror is None else self._mirror.log_bytes

    def take_troubles(self) -> list[str]:
        """Return what went wrong since the last call and was survived."""
        troubles, self._troubles[:] = list(self._troubles), []
        return troubles

    def pid(self) -> int:
        """Return the keeper's process, whose memory grows with the trials."""
        return os.getpid()

    def finish(self, seconds: float) -> bool:
        """Close the log and write it to S3 and MLflow; whether all is there in `seconds`."""
        until = time.monotonic() + seconds
        self.close()
        copied = not self._mirror or self._mirror.finish(seconds)
        left = max(1.0, until - time.monotonic())
        return (not self._recorder or self._recorder.finish(left)) and copied


class RemoteKeeper:
    """The keeper as a lane sees it, in whatever process."""

    def __init__(self, actor: ActorHandle) -> None:
        self._actor = actor

    def next(self, lane: str) -> Assignment | None:
        """As `Keeper.next`."""
        assignment: Assignment | None = _answer(self._actor.next.remote(lane))
        return assignment

    def epoch(
        self,
        number: int,
        attempt: int,
        metrics: Mapping[str, float],
        value: float,
        best_epoch: int,
    ) -> Decision:
        """As `Keeper.epoch`."""
        call = self._actor.epoch.remote(number, attempt, dict(metrics), value, best_epoch)
        decision: Decision = _answer(call)
        return decision

    def wants_weights(self, number: int, value: float) -> bool:
        """As `Keeper.wants_weights`."""
        return bool(_answer(self._actor.wants_weights.remote(number, value)))

    def end(
        self,
        number: int,
        attempt: int,
        status: Status,
        reason: str | None = None,
        predictions: np.ndarray | None = None,
    ) -> bool:
        """As `Keeper.end`."""
        return bool(_answer(self._actor.end.remote(number, attempt, status, reason, predictions)))

    def give_up(self, reason: str) -> None:
        """As `Keeper.give_up`."""
        _answer(self._actor.give_up.remote(reason))


def _answer(call: ray.ObjectRef) -> Any:
    """Wait for the keeper; raises what it raised, or KeeperLostError."""
    try:
        return ray.get(call)
    except ray.exceptions.ActorDiedError as error:
        raise KeeperLostError(_KEEPER_DIED) from error
    except ray.exceptions.RayActorError as error:
        raise KeeperLostError("the sweep's keeper does not answer") from error
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


def start_keeper(
    config: SweepConfig, folder: SweepFolder, run_id: str | None, store: str | None = None
) -> ActorHandle:
    """Start the keeper on this machine, where the log is; it opens the store of that address.

    Raises:
        ConfigError: The sweep runs already.

    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    keeper = (
        ray.remote(KeeperActor)
        .options(num_cpus=0, scheduling_strategy=here)
        .remote(config, folder, run_id, store)
    )
    try:
        ray.get(keeper.progress.remote())
    except ray.exceptions.RayActorError as error:
        # Ray tells of an error in a constructor by its traceback alone.
        last = str(error.__cause__ or error).strip().splitlines()[-1]
        raise ConfigError(last.removeprefix(f"{ConfigError.__module__}.ConfigError: ")) from error
    return keeper


def ask_keeper(call: ray.ObjectRef) -> Any:
    """Wait for the keeper's answer in the driver.

    Raises:
        TrainingError: The keeper died.

    """
    try:
        return ray.get(call)
    except ray.exceptions.RayActorError as error:
        raise TrainingError(f"{_KEEPER_DIED}; what is done is kept, resume the sweep") from error

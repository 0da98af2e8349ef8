"""Lanes on a Ray cluster, which Ray Tune starts, and starts again when they die."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.actor import ActorHandle
from ray.tune.progress_reporter import TrialProgressCallback

from ni_platform.errors import ConfigError
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.engine.exchanged_weights import sending_weights
from ni_platform.tuning.engine.keeper_actor import KeeperLostError, RemoteKeeper
from ni_platform.tuning.engine.lane import Train, reason_of, run_lane

_ENVIRONMENT = {
    # Tune's own account of its trials, which are lanes here, is of no use to anybody.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}

MakeTrain = Callable[[SweepConfig], Train]
"""Called once in each lane's process, in which threads and device are set."""


def count_lanes(config: SweepConfig, left: int) -> int:
    """Return how many lanes are started for the trials that are left.

    Raises:
        ConfigError: No machine of the cluster can hold a trial.

    """
    if config.workers_per_trial > 1:
        return min(config.concurrent or 1, left)
    asked = {"CPU": config.cpus_per_trial, "GPU": config.gpus_per_trial}
    rooms = []
    for node in ray.nodes():
        has = {name: node["Resources"].get(name, 0.0) for name in asked} if node["Alive"] else {}
        fits = [int(has[name] / need + 1e-9) for name, need in asked.items() if need and has]
        rooms.append(min(fits, default=0))
    if config.concurrent is not None:
        return min(config.concurrent, left)
    if not sum(rooms):
        raise ConfigError(
            f"a trial asks for {config.cpus_per_trial:g} CPUs and {config.gpus_per_trial:g} GPUs, "
            f"but no machine of the cluster has as many ({ray.cluster_resources()}); lower "
            "--cpus-per-trial and --gpus-per-trial, or say with --concurrent how many trials "
            "machines that are yet to come shall hold"
        )
    return min(sum(rooms), left)


class Lanes:
    """All lanes of a sweep, in a thread, as Ray Tune waits for its trials."""

    def __init__(
        self,
        config: SweepConfig,
        folder: SweepFolder,
        keeper: ActorHandle,
        make_train: MakeTrain,
        lanes: int,
        scratch: Path,
    ) -> None:
        """Describe the lanes; `make_train` goes to every machine of the cluster once."""
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        lane = tune.with_parameters(
            _lane, keeper=keeper, make_train=make_train, sweep=config, folder=folder
        )
        resources = {"cpu": config.cpus_per_trial, "gpu": config.gpus_per_trial}
        if config.workers_per_trial > 1:
            # Those who train ask for themselves; a lane must ask for something.
            resources = {"cpu": 0, "memory": 2**20}
        self._tuner = tune.Tuner(
            tune.with_resources(lane, resources),
            param_space={"lane": tune.grid_search([f"lane-{n}" for n in range(lanes)])},
            run_config=tune.RunConfig(
                name="lanes",
                storage_path=str(scratch),
                # Trials that die too often fail by themselves; the keeper counts.
                failure_config=tune.FailureConfig(max_failures=-1),
                callbacks=[_Deaths(keeper)],
                # In a notebook Tune's own choice would wipe what the cell shows.
                progress_reporter=tune.CLIReporter(),
                verbose=0,
            ),
        )
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fit, name="lanes", daemon=True)

    def start(self) -> None:
        """Start all lanes."""
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for all lanes to end; whether they have. Raises what ended Ray Tune, if it did."""
        self._thread.join(seconds)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def _fit(self) -> None:
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        try:
            self._tuner.fit()
        except BaseException as error:  # noqa: BLE001  # raised again in the waiting thread
            self._error = error


class _Deaths(TrialProgressCallback):
    """Tells the keeper at once that a lane died, and the user nothing of lanes, as Tune would."""

    def __init__(self, keeper: ActorHandle) -> None:
        super().__init__()
        self._keeper = keeper

    def _print(self, msg: str) -> None:
        """Lanes are no trials of the user's."""

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Take note of a lane that is started again."""
        self._keeper.lane_died.remote(trial.config["lane"])


def _lane(
    config: dict[str, Any],
    *,
    keeper: ActorHandle,
    make_train: MakeTrain,
    sweep: SweepConfig,
    folder: SweepFolder,
) -> None:
    """What Ray Tune runs in the process of each lane."""
    torch.set_num_threads(max(1, int(sweep.cpus_per_trial)))
    remote = RemoteKeeper(keeper)
    try:
        train = sending_weights(folder, make_train(sweep))
        run_lane(config["lane"], remote, train, folder.weights)
    except KeeperLostError as error:
        if not isinstance(error.__cause__, ray.exceptions.ActorDiedError):
            raise  # started again, this lane finds the keeper when it answers
    except torch.AcceleratorError:
        raise  # started again, this lane has a process whose GPU works
    except ray.exceptions.RayTaskError as error:
        # The encoding of the data, which this lane waited for; its own text is a traceback.
        remote.give_up(reason_of(error.cause))
    except Exception as error:  # noqa: BLE001  # a lane that cannot work ends the sweep
        remote.give_up(reason_of(error))

"""Lanes and keeper on a real Ray, with trials that need no time."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from processes import processes_below

from ni_platform.errors import ConfigError, TrainingError
from ni_platform.ray_cluster import quoted_interpreter
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.engine.keeper import Keeper, SweepProgress
from ni_platform.tuning.engine.keeper_actor import start_keeper
from ni_platform.tuning.engine.lane import Train, run_lane
from ni_platform.tuning.engine.lanes import MakeTrain, count_lanes
from ni_platform.tuning.files.trial_log import read_trials
from ni_platform.tuning.sweep import _run_trials
from tests.tuning.toy import Toy, assert_consistent, toy_config, toy_folder, write_space


@pytest.fixture(scope="module", autouse=True)
def ray_with_a_gpu(
    without_ray: None, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
):
    """A Ray of two CPUs that says it has a GPU; its processes know the toy's space and a store."""
    root = tmp_path_factory.mktemp("home")
    write_space(root)
    (root / "ni").mkdir()
    shutil.copy(empty_database, root / "ni/mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NI_HOME", str(root / "ni"))
        patch.chdir(root)
        here = Path(__file__).parent
        patch.setenv("PYTHONPATH", f"{here.parents[1]}:{here}")  # for Ray's processes
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        quiet |= quoted_interpreter()
        ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, **quiet)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """An empty folder of a sweep."""
    return toy_folder(tmp_path)


def run(
    config: SweepConfig,
    folder: SweepFolder,
    make_train: MakeTrain,
    on_event: Callable[[Any], None] = lambda event: None,
) -> str:
    """Run a sweep's trials as `run_sweep` does; returns the id of its run."""
    with RunRecord.start(open_store(), "toys", run_name=config.name) as record:
        assert _run_trials(config, folder, record, make_train, on_event)
    return record.run_id


def make_mortal(folder: Path) -> MakeTrain:
    """A toy that kills its process: once in some trial, and whenever it trains another one."""

    def before(x: float, epoch: int) -> None:
        once, always = folder / "once", folder / "always"
        if epoch != 2:
            return
        if not once.exists():
            once.touch()
        elif not always.exists():
            always.write_text(repr(x))
        elif always.read_text() != repr(x):
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def make(config: SweepConfig) -> Train:
        return Toy(before=before)

    return make


def test_lanes_that_are_killed_lose_no_trial(folder, tmp_path):
    """60 trials on two lanes: what one had begun is repeated; what always kills fails at last."""
    config = toy_config(60, retries=1)
    seen: list[SweepProgress] = []
    run_id = run(config, folder, make_mortal(tmp_path), seen.append)
    trials = assert_consistent(config, folder)
    (failed,) = [trial for trial in trials.values() if trial.status == "failed"]
    assert failed.reason == "the process that trained it died, 2 times"
    assert repr(failed.overrides["training.learning_rate"]) == (tmp_path / "always").read_text()
    assert sum(trial.status == "complete" for trial in trials.values()) == 59
    assert seen[-1].ended == 60
    client = open_store().client
    runs = client.search_runs(
        [client.get_run(run_id).info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{run_id}'",
        max_results=1000,
    )
    assert sorted(int(each.data.tags["ni.trial"]) for each in runs) == list(range(60))
    assert {each.info.status for each in runs} == {"FINISHED", "FAILED"}
    assert client.get_run(run_id).data.metrics["trials/complete"] == 59


def test_a_keeper_that_is_killed_ends_the_sweep_with_a_word_and_nothing_is_lost(folder):
    """The driver does not hang; another keeper goes on."""
    config = toy_config(40, concurrent=1)

    def kill_the_keeper(event: Any) -> None:
        if isinstance(event, SweepProgress) and event.ended >= 5:
            for process in processes_below("KeeperActor"):
                process.kill()

    def make_slow(config: SweepConfig) -> Train:
        return Toy(before=lambda x, epoch: time.sleep(0.05))

    with pytest.raises(TrainingError, match="keeper, the process that writes its log, died"):
        run(config, folder, make_slow, kill_the_keeper)
    assert sum(trial.status == "complete" for trial in read_trials(folder.log).values()) >= 5
    keeper = Keeper(config, folder)
    run_lane("lane", keeper, Toy(), folder.weights)
    keeper.close()
    assert_consistent(config, folder)


def test_what_keeps_lanes_from_working_ends_the_sweep_with_its_reason(folder):
    """Here a training that cannot be prepared."""

    def make_nothing(config: SweepConfig) -> Train:
        raise RuntimeError("planted")

    with pytest.raises(TrainingError, match=r"cannot go on: RuntimeError: planted .*resume it"):
        run(toy_config(6, concurrent=1), folder, make_nothing)


def test_what_keeps_the_keeper_from_starting_is_told_in_its_words(folder):
    """Here a log that is none."""
    folder.log.write_text("trial,value\n")
    with pytest.raises(ConfigError, match=r"^each line of a sweep's log is .*, but line 1"):
        start_keeper(toy_config(3), folder, None)


@pytest.mark.parametrize(
    ("settings", "left", "lanes"),
    [
        ({}, 100, 2),
        ({}, 1, 1),
        ({"cpus_per_trial": 0.5}, 100, 4),
        ({"cpus_per_trial": 2}, 100, 1),
        ({"gpus_per_trial": 0.25}, 100, 2),
        ({"gpus_per_trial": 0.25, "cpus_per_trial": 0.1}, 100, 4),
        ({"gpus_per_trial": 0.3, "cpus_per_trial": 0}, 100, 3),
        ({"gpus_per_trial": 0.1, "cpus_per_trial": 0.1}, 100, 10),
        ({"concurrent": 7}, 100, 7),
        ({"concurrent": 7}, 3, 3),
        ({"gpus_per_trial": 4, "concurrent": 2}, 100, 2),
        ({"workers_per_trial": 2}, 100, 1),
        ({"workers_per_trial": 2, "concurrent": 3}, 100, 3),
    ],
)
def test_there_are_as_many_lanes_as_fit(settings, left, lanes):
    """On two CPUs and one GPU."""
    assert count_lanes(toy_config(100, **settings), left) == lanes


def test_a_trial_that_fits_nowhere_is_refused():
    """With what the cluster has, and the remedies."""
    with pytest.raises(ConfigError, match=r"asks for 3 CPUs and 0 GPUs, but .* --concurrent"):
        count_lanes(toy_config(9, cpus_per_trial=3), 9)
    with pytest.raises(ConfigError, match="asks for 1 CPUs and 2 GPUs"):
        count_lanes(toy_config(9, gpus_per_trial=2), 9)

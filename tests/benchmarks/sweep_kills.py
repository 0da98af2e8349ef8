"""Kill the driver, a lane and the MLflow server at random moments of a sweep, and count.

    python -m tests.benchmarks.sweep_kills --schedules 5 --trials 300

Each schedule runs trials of a second (three epochs) on two lanes against an MLflow
server over HTTP, and kills each of the three with SIGKILL at a random moment, in random order; the
driver and the server are started again. Then MLflow is asked what it has. Recovery is the time from
a kill to the next trial that ends; for the server, from its start until MLflow has what the log
held then.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from tests.benchmarks.sweep import LANES, Toy, write_space

SECONDS_PER_EPOCH = 0.3
"""So that trials outlast the recoveries: a kill needs a lane that still works."""


class SlowToy(Toy):
    """A trial that takes a while."""

    def __call__(self, overrides: dict[str, Any], on_epoch: Any) -> Any:
        def later(*told: Any) -> None:
            time.sleep(SECONDS_PER_EPOCH)
            on_epoch(*told)

        return super().__call__(overrides, later)


def drive(folder: Path, trials: int) -> None:
    """Start the sweep in `folder`, or go on with it, as `run_sweep` does."""
    import ray

    from ni_platform.experiment_config import load_experiment
    from ni_platform.ray_cluster import start_ray
    from ni_platform.tracking.run_record import RunRecord
    from ni_platform.tracking.store import open_store
    from ni_platform.tuning.config import SweepConfig, SweepFolder
    from ni_platform.tuning.engine.keeper_actor import start_keeper
    from ni_platform.tuning.engine.lanes import Lanes
    from ni_platform.tuning.files.locks import driving

    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sweep = SweepFolder.named("kills", folder)
    if sweep.definition.exists():
        config, run_id = sweep.read()
    else:
        config = SweepConfig(
            name="kills", space="bench.space", data="none", trials=trials, objective="rmse",
            experiment=load_experiment("neural_insights.quickstart"), scheduler="none", keep=0,
        )  # fmt: skip
        run_id = RunRecord.start(open_store(), "kills", run_name="kills").run_id
        sweep.create(config, run_id)
    start_ray(LANES)
    with driving(sweep):
        keeper = start_keeper(config, sweep, run_id)
        lanes = Lanes(config, sweep, keeper, lambda config: SlowToy(), LANES, folder / "scratch")
        lanes.start()
        while not lanes.wait(0.5):
            pass
        assert ray.get(keeper.finish.remote(600)), "results wait"


class Victims:
    """What a schedule kills and starts again."""

    def __init__(self, folder: Path, trials: int) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port = listener.getsockname()[1]
        self._folder, self._trials = folder, trials
        self.log = folder / "kills/study.log"
        self.uri = f"http://127.0.0.1:{self._port}"
        self._environment = os.environ | {
            "MLFLOW_TRACKING_URI": self.uri, "NI_HOME": str(folder / "ni"),
        }  # fmt: skip
        self.server = self._serve()
        self.driver = self._drive()

    def _serve(self) -> subprocess.Popen:
        store = ["--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db", "--workers", "1"]
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", str(self._port), *store],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait(lambda: answers(self._port))
        return server

    def _drive(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.benchmarks.sweep_kills", "--drive"]
        return subprocess.Popen(
            [*command, str(self._folder), "--trials", str(self._trials)],
            env=self._environment, stderr=(self._folder / "driver.log").open("a"),
        )  # fmt: skip

    def _of_this_schedule(self, name: str) -> list[int]:
        return [pid for pid in processes(name) if is_below(pid, self._folder)]

    def ended(self) -> int:
        """Trials that have ended: Optuna's operation 6. Reading the log whole takes too long."""
        return self.log.read_text().count('"op_code":6') if self.log.exists() else 0

    def recorded(self) -> int:
        """Trials that have ended, by MLflow."""
        return sum(run.info.status == "FINISHED" for run in trial_runs(self.uri))

    def kill_driver(self) -> float:
        """Kill the driver and start another one."""
        keepers = self._of_this_schedule("ray::KeeperActor")
        now = time.perf_counter()
        self.driver.kill()
        self.driver.wait()
        self.driver = self._drive()
        wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in keepers))
        ended = self.ended()
        wait(lambda: self.ended() > ended)
        return time.perf_counter() - now

    def kill_lane(self) -> float:
        """Kill the process of a lane; Ray Tune starts another one."""
        os.kill(random.choice(self._of_this_schedule("ray::ImplicitFunc")), signal.SIGKILL)
        now, ended = time.perf_counter(), self.ended()
        # The other lane goes on: it is the dead one's trial that must end.
        wait(lambda: self.ended() > ended + LANES)
        return time.perf_counter() - now

    def kill_server(self) -> float:
        """Kill the tracking server, leave it dead for two seconds, and start it again."""
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()
        time.sleep(2)
        self.server = self._serve()
        now, ended = time.perf_counter(), self.ended()
        wait(lambda: self.recorded() >= ended)
        return time.perf_counter() - now


def schedule(seed: int, trials: int) -> None:
    """Run one schedule and print what it came to."""
    import mlflow

    random.seed(seed)
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        folder = Path(scratch)
        write_space(folder)
        victims = Victims(folder, trials)
        kills = [victims.kill_driver, victims.kill_lane, victims.kill_server]
        random.shuffle(kills)
        moments = sorted(random.randint(10, trials - 20) for _ in kills)
        print(f"schedule {seed}:", end=" ", flush=True)
        for moment, kill in zip(moments, kills, strict=True):
            wait(lambda moment=moment: victims.ended() >= moment)
            print(f"{kill.__name__} at {moment}: {kill():.1f} s,", end=" ", flush=True)
        assert victims.driver.wait(timeout=900) == 0, (folder / "driver.log").read_text()[-3000:]
        client = mlflow.MlflowClient(victims.uri)
        runs = trial_runs(victims.uri)
        numbers = Counter(int(run.data.tags["ni.trial"]) for run in runs)
        unfinished = sum(run.info.status != "FINISHED" for run in runs)
        points = Counter(len(client.get_metric_history(r.info.run_id, "objective")) for r in runs)
        print(
            f"lost {trials - len(numbers)}, duplicated {len(runs) - len(numbers)}, "
            f"unfinished {unfinished}, points of the final figure {dict(points)}",
            flush=True,
        )
        os.killpg(victims.server.pid, signal.SIGKILL)


def trial_runs(uri: str) -> list[Run]:
    """The runs of all trials in MLflow; at most 1,000."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("kills").experiment_id
    return list(client.search_runs([experiment], "tags.`ni.level` = 'trial'", max_results=1000))


def processes(name: str) -> list[int]:
    """Ids of processes whose command line holds a name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name in path.read_text():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def is_below(pid: int, folder: Path) -> bool:
    """Whether a process was started with the state folder of this schedule."""
    try:
        return str(folder / "ni").encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def answers(port: int) -> bool:
    """Whether the server on a port is up."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as reply:
            return reply.status == 200
    except OSError:
        return False


def wait(until: Callable[[], bool], seconds: float = 600) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing happened in {seconds} s")
        time.sleep(0.05)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, default=5)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--drive", type=Path)
    given = parser.parse_args()
    if given.drive:
        drive(given.drive, given.trials)
    else:
        for number in range(given.schedules):
            schedule(number, given.trials)

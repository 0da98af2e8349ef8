"""Whole sweeps on a real cluster that asks for a token, while their processes are killed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from sweeps import assert_each_trial_once
from token_cluster import token_cluster

from ni_platform.cli.main import group
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError
from ni_platform.tracking.run_queries import find_runs
from ni_platform.tracking.store import open_store
from ni_platform.tuning.config import SweepFolder
from ni_platform.tuning.files.trial_log import read_trials
from ni_platform.tuning.results.finding import find_sweep

pytestmark = pytest.mark.slow

TRIALS, EPOCHS = 12, 20
SECONDS = 5 * 60
LANE, KEEPER, DRIVER = "ray::ImplicitFunc", "ray::KeeperActor", "bin/ni sweep run"
"""How processes of the cluster are known."""
SPACE = '''
"""A space that only the project of this test has."""

def rates(trial):
    """The learning rate."""
    return {"training.learning_rate": trial.suggest_float("rate", 1e-4, 1e-2, log=True)}
'''
TINY = [
    *(f"--set=model.{name}=null" for name in ("image", "text")),
    *(f"--set=pretraining.{name}=null" for name in ("image", "text", "domain", "attributes")),
    "--set=model.regression.hidden=[8]",
    f"--set=training.epochs={EPOCHS}",
]


@pytest.fixture(scope="module")
def cluster():
    """One cluster for all tests of this file."""
    with token_cluster() as started:
        yield started


@pytest.fixture
def project(cluster, tmp_path, monkeypatch) -> Path:
    """A folder with a space of its own, in a shell that knows the token and the tracking store."""
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.token_file))
    monkeypatch.setenv("NI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "project"
    (folder / "tune_spaces").mkdir(parents=True)
    (folder / "tune_spaces" / "only_here.py").write_text(SPACE)
    monkeypatch.chdir(folder)
    return folder


def ni(*arguments: str) -> str:
    """What `ni sweep ...` prints."""
    done = CliRunner().invoke(group, ["sweep", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def status(name: str) -> dict:
    """What `ni sweep status` knows."""
    return json.loads(ni("status", name, "--json").splitlines()[-1])


def wait_for(condition, what: str):
    """Return what the condition gives as soon as that is true."""
    until = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < until, what
        time.sleep(0.1)
    return found


def processes(cluster, words: str) -> list[psutil.Process]:
    """Processes of the cluster whose command lines hold these words."""
    found = []
    for process in psutil.Process(cluster.pid).children(recursive=True):
        try:
            if words in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def submit(cluster, data: str, storage: str) -> None:
    """Send the sweep of this file."""
    options = ["--experiment", "neural_insights.quickstart", "--data", data, "--storage", storage]
    options += ["--name", "planted", "--trials", str(TRIALS), "--scheduler", "none", *TINY]
    ni("submit", "only_here.rates", *options, "--address", cluster.address, "--yes")


def ended(folder: SweepFolder) -> int:
    """Trials that are over."""
    return sum(trial.status != "running" for trial in read_trials(folder.log).values())


def begun_again(folder: SweepFolder) -> set[int]:
    """Trials that were started more than once."""
    return {number for number, trial in read_trials(folder.log).items() if trial.attempt > 1}


def test_a_submitted_sweep_survives_its_processes(cluster, project, tmp_path):
    """A lane and the driver are killed, the sweep is stopped and resumed: nothing lost or twice."""
    data = make_synthetic(tmp_path / "data", tests=40, image_size=32).root
    storage = tmp_path / "storage"
    storage.mkdir()
    folder = SweepFolder.named("planted", storage)
    submit(cluster, str(data), str(storage))

    wait_for(lambda: any(trial.epochs for trial in read_trials(folder.log).values()), "epoch")
    processes(cluster, LANE)[0].kill()
    wait_for(lambda: begun_again(folder), "the trial of the lane is begun again")
    wait_for(lambda: ended(folder) >= 2, "two trials")
    (driver,) = processes(cluster, DRIVER)
    driver.kill()
    wait_for(lambda: status("planted")["state"] == "failed", "the job has failed")
    wait_for(lambda: not processes(cluster, LANE) + processes(cluster, KEEPER), "orphans end")
    before = ended(folder)
    assert 2 <= before < TRIALS

    assert "Sent as ni-planted-2" in ni("resume", "planted")
    wait_for(lambda: ended(folder) > before, "it goes on")
    assert "ni-planted-2 is STOPPED" in ni("stop", "planted")
    (parent,) = find_runs(open_store(), {"ni.level": "sweep", "ni.sweep": "planted"})
    assert (parent.status, status("planted")["state"]) == ("KILLED", "stopped")
    assert ended(folder) < TRIALS
    ni("resume", "planted")
    wait_for(lambda: status("planted")["state"] not in ("pending", "running"), "the end")

    assert_each_trial_once(folder, TRIALS, EPOCHS)
    here = status("planted")
    assert (here["state"], here["trials"], here["complete"]) == ("finished", "12/12", TRIALS)
    assert find_sweep("planted") == folder
    # A laptop that does not mount the cluster's disk asks MLflow.
    storage.rename(tmp_path / "elsewhere")
    there = status("planted")
    assert there | {"seconds_since_last_result": here["seconds_since_last_result"]} == here
    with pytest.raises(ConfigError, match=r"which the cluster http.* mounts and this machine does"):
        find_sweep("planted")

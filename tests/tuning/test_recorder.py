"""From a sweep's log to a real MLflow store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from ni_platform.errors import TrackingError
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.tuning.config import SweepFolder
from ni_platform.tuning.engine.recorder import Recorder
from ni_platform.tuning.files.trial_log import read_trials
from tests.tuning.sweeps import append, trial_events
from tests.tuning.toy import toy_folder

STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "running": "RUNNING"}


@pytest.fixture(autouse=True)
def home(ni_home: Path) -> Path:
    """The state folder of this test."""
    return ni_home


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """An empty folder of a sweep."""
    return toy_folder(tmp_path)


@pytest.fixture
def sweep() -> str:
    """The id of the sweep's run."""
    return RunRecord.start(open_store(), "toys", run_name="toy").run_id


EVENTS = [
    *trial_events(0, [0.5, 0.4, 0.45], parameters={"x": 0.5}, overrides={"training.epochs": 3}),
    *trial_events(1, [0.9], status="pruned", overrides={"model.regression.hidden": [64, 32]}),
    *trial_events(2, [0.8], status="failed", reason="out of memory"),
    *trial_events(3, [], status="failed", reason="no memory at all"),
    *trial_events(4, [0.7, 0.6])[:-1],
]


def write_all(folder: SweepFolder, sweep: str) -> None:
    """A new recorder, told of all trials as a new keeper tells it, writes what there is."""
    recorder = Recorder(folder, sweep)
    for trial in read_trials(folder.log).values():
        recorder.note(trial)
    while recorder.write_batch():
        pass
    assert recorder.is_done()


def stands_in_mlflow(sweep: str) -> dict[int, dict]:
    """All that MLflow's client reads of the trials, by number; fails where one stands twice."""
    client = MlflowClient(tracking_uri=mlflow.get_tracking_uri())
    runs = client.search_runs(
        [client.get_run(sweep).info.experiment_id], f"tags.`mlflow.parentRunId` = '{sweep}'"
    )
    found = {}
    for run in runs:
        number = int(run.data.tags["ni.trial"])
        assert number not in found
        found[number] = {
            "name": run.info.run_name,
            "status": run.info.status,
            "word": run.data.tags["ni.status"],
            "reason": run.data.tags.get("ni.error"),
            "times": (run.info.start_time, run.info.end_time),
            "parameters": run.data.params,
            "metrics": run.data.metrics,
            "curve": {
                name: [(p.step, p.value, p.timestamp) for p in points]
                for name in run.data.metrics
                if (points := client.get_metric_history(run.info.run_id, name))
            },
        }
    return found


def assert_equals_log(folder: SweepFolder, sweep: str) -> None:
    """What stands in MLflow is what `read_trials` says, point by point."""
    found = stands_in_mlflow(sweep)
    trials = read_trials(folder.log)
    assert found.keys() == trials.keys()
    for number, trial in trials.items():
        run = found[number]
        assert run["name"] == f"trial-{number:05d}"
        assert (run["status"], run["word"]) == (STATUS[trial.status], trial.status)
        assert run["reason"] == trial.reason
        assert run["parameters"].keys() == {*trial.parameters, *trial.overrides}
        objective = [(step, value) for step, value, _ in run["curve"].get("epoch/objective", [])]
        assert objective == list(enumerate(trial.values, start=1))
        rmse = [(step, value) for step, value, _ in run["curve"].get("epoch/rmse", [])]
        assert rmse == [(e, each["rmse"]) for e, each in enumerate(trial.epochs, start=1)]
        if trial.status in ("complete", "pruned"):
            assert run["metrics"]["objective"] == trial.value
            assert run["metrics"]["validation/rmse"] == trial.metrics["rmse"]
            assert run["metrics"]["best_epoch"] == trial.best_epoch
            assert run["metrics"]["seconds"] == trial.ended - trial.started
        else:
            assert "objective" not in run["metrics"]


def test_what_stands_in_mlflow_is_the_log(folder, sweep):
    """Names, parameters, curves, summaries, tags, statuses and times (worked out by hand)."""
    append(folder, EVENTS)
    write_all(folder, sweep)
    assert_equals_log(folder, sweep)
    found = stands_in_mlflow(sweep)
    first = found[0]
    assert first["parameters"] == {"x": "0.5", "training.epochs": "3"}
    assert first["times"][1] == 10_000  # it began in 1970, which MLflow takes for "not given"
    assert first["curve"]["epoch/objective"] == [(1, 0.5, 1000), (2, 0.4, 2000), (3, 0.4, 3000)]
    assert first["curve"]["epoch/rmse"] == [(1, 0.5, 1000), (2, 0.4, 2000), (3, 0.45, 3000)]
    assert first["metrics"]["objective"] == first["metrics"]["validation/rmse"] == 0.4
    assert (first["metrics"]["best_epoch"], first["metrics"]["seconds"]) == (2, 10)
    assert "validation/train_loss" not in first["metrics"]
    assert found[1]["parameters"] == {"model.regression.hidden": "[64, 32]"}
    assert found[4]["times"] == (40_000, None)


def test_what_is_written_again_changes_nothing(folder, sweep):
    """By recorders that know nothing of each other, while trials run and when they have ended."""
    append(folder, EVENTS[:4])
    write_all(folder, sweep)
    half = stands_in_mlflow(sweep)
    write_all(folder, sweep)
    assert stands_in_mlflow(sweep) == half
    append(folder, EVENTS[4:])
    write_all(folder, sweep)
    whole = stands_in_mlflow(sweep)
    write_all(folder, sweep)
    assert stands_in_mlflow(sweep) == whole
    assert_equals_log(folder, sweep)


@pytest.mark.parametrize("recorders", ["one", "one after each event"])
def test_a_trial_that_begins_again_has_each_point_once(folder, sweep, recorders):
    """Its first attempt wrote two epochs at other times."""
    attempt = trial_events(0, [0.5, 0.4, 0.3], seconds=10)
    again = [{**event, "time": event["time"] + 1000} for event in attempt]
    recorder = Recorder(folder, sweep)
    for event in [*attempt[:3], *again]:
        (trial,) = append(folder, [event])
        if recorders != "one":
            recorder = Recorder(folder, sweep)
        recorder.note(trial)
        assert recorder.write_batch() == 1
    assert_equals_log(folder, sweep)
    curve = stands_in_mlflow(sweep)[0]["curve"]["epoch/objective"]
    assert curve == [(1, 0.5, 1000), (2, 0.4, 2000), (3, 0.3, 1_003_000)]


def test_what_the_keeper_tells_is_written_by_the_thread(folder, sweep):
    """Until it is told to finish, and then to the last trial, in as many batches as it takes."""
    recorder = Recorder(folder, sweep)
    recorder.start()
    events = [event for number in range(450) for event in trial_events(number, [0.5])]
    for trial in append(folder, events):
        recorder.note(trial)
    assert recorder.finish(300)
    found = stands_in_mlflow(sweep)
    assert sorted(found) == list(range(450))
    assert {run["status"] for run in found.values()} == {"FINISHED"}


def test_mlflow_learns_only_what_survives_this_machine(folder, sweep):
    """What the log has grown by since waits, and keeps what is older from nothing."""
    safe = 0
    recorder = Recorder(folder, sweep, until=lambda: safe)
    for trial in append(folder, trial_events(0, [0.5])):
        recorder.note(trial)
    assert recorder.write_batch() == 0
    safe = folder.log.stat().st_size
    for trial in append(folder, trial_events(1, [0.5])):
        recorder.note(trial)
    assert recorder.write_batch() == 1
    assert sorted(stands_in_mlflow(sweep)) == [0]
    assert recorder.write_batch() == 0
    assert not recorder.is_done()
    safe = folder.log.stat().st_size
    assert recorder.write_batch() == 1
    assert_equals_log(folder, sweep)


@pytest.fixture
def server(tmp_path: Path, home: Path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """An address of a tracking server, and the processes that served it; the last one lives."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    processes: list[subprocess.Popen] = []
    words = ["server", "--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"]
    words += ["--port", str(port), "--workers", "1"]

    def start() -> None:
        with (tmp_path / "server.log").open("ab") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "mlflow", *words],
                    env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        pytest.fail((tmp_path / "server.log").read_text()[-3000:])

    start()
    processes_and_start = (f"http://127.0.0.1:{port}", processes, start)
    yield processes_and_start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_results_wait_for_a_server_that_is_killed(folder, server, monkeypatch):
    """They are written when it is back, each once; who finishes before is told that they wait."""
    address, processes, start = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    sweep = RunRecord.start(open_store(), "toys", run_name="toy").run_id
    troubles: list[str] = []
    recorder = Recorder(folder, sweep, on_trouble=troubles.append)
    for trial in append(folder, EVENTS[:4]):
        recorder.note(trial)
    assert recorder.write_batch()
    os.killpg(processes[-1].pid, signal.SIGKILL)
    processes[-1].wait()

    for trial in append(folder, EVENTS[4:]):
        recorder.note(trial)
    with pytest.raises(TrackingError):
        recorder.write_batch()
    recorder.start()
    assert not recorder.finish(5)
    assert not recorder.is_done()
    assert [trouble.partition(": ")[0] for trouble in troubles] == [f"results wait in {folder.log}"]
    start()
    deadline = time.monotonic() + 180
    while not recorder.is_done() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert recorder.finish(60)
    assert len(troubles) == 2
    assert_equals_log(folder, sweep)


def test_a_sweep_without_trials_is_written(folder, sweep):
    """There is not even a log."""
    recorder = Recorder(folder, sweep)
    assert recorder.is_done()
    assert recorder.write_batch() == 0

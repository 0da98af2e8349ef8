"""Trials of a sweep in MLflow: what stands there, whatever was killed on the way."""

from __future__ import annotations

import math
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow.tracking.context.registry import resolve_tags

from ni_platform.errors import TrackingError
from ni_platform.tracking.run_queries import leaderboard, list_runs
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.tracking.trial_records import (
    TrialMetric,
    TrialRecords,
    TrialUpdate,
)

BEGAN = 1_700_000_000.25


def update(number: int, steps: Sequence[int] = (), **changes: Any) -> TrialUpdate:
    """What is said of trial `number` after these steps; `loss` is number + 1 / (step + 1)."""
    began = BEGAN + number
    points = [
        TrialMetric(name="validation/loss", value=number + 1 / (s + 1), step=s, time=began + s)
        for s in steps
    ]
    said = {"parameters": {"model": {"width": number}}, "metrics": points, "status": "RUNNING"}
    return TrialUpdate(number=number, started=began, **(said | changes))


def finished(number: int, steps: Sequence[int] = (0, 1, 2), **changes: Any) -> TrialUpdate:
    """The whole of a trial that came to its end after 60 s."""
    end = {"status": "FINISHED", "ended": BEGAN + number + 60, "tags": {"ni.status": "finished"}}
    return update(number, steps, **(end | changes))


def sweep() -> str:
    """Start the run of a sweep and return its id."""
    return RunRecord.start(open_store(), "sweeps", "a sweep", tags={"ni.level": "sweep"}).run_id


def children(parent: str) -> list[Any]:
    """The trials of a sweep as MLflow's own client finds them, in the order of their names."""
    client = open_store().client
    experiment = client.get_run(parent).info.experiment_id
    condition = f"tags.`mlflow.parentRunId` = '{parent}'"
    return sorted(client.search_runs([experiment], condition), key=lambda run: run.info.run_name)


def curve(run_id: str, name: str = "validation/loss") -> list[tuple[int, float, int]]:
    """The points of a metric: step, value, time in milliseconds."""
    (points,) = curves([run_id], name)
    return points


def curves(run_ids: Iterable[str], name: str = "validation/loss") -> list[list]:
    """The points of a metric in each of these runs."""
    client = open_store().client
    histories = [client.get_metric_history(run_id, name) for run_id in run_ids]
    return [sorted((p.step, p.value, p.timestamp) for p in history) for history in histories]


def assert_each_once(parent: str, numbers: Sequence[int]) -> None:
    """The sweep's trials are these, all finished, each once and without a point twice."""
    runs = children(parent)
    assert [run.data.tags["ni.trial"] for run in runs] == [str(number) for number in numbers]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert curves(run.info.run_id for run in runs) == [planted(number) for number in numbers]


def planted(number: int, steps: Sequence[int] = (0, 1, 2)) -> list[tuple[int, float, int]]:
    """The points that `update` says."""
    began = 1_700_000_000_250 + 1000 * number
    return [(step, number + 1 / (step + 1), began + 1000 * step) for step in steps]


@dataclass
class Server:
    """A tracking server over an SQLite database, which can be killed and started again."""

    serve: Callable[[list[str], str], subprocess.Popen]
    database: Path
    port: int
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """Its address, the same after each start."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["server", "--backend-store-uri", f"sqlite:///{self.database}"]
        words += ["--artifacts-destination", str(self.database.parent / "served")]
        words += ["--port", str(self.port), "--workers", "1"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            self.process = self.serve(
                [sys.executable, "-m", "mlflow", *words], f"{self.url}/health"
            )

    def kill(self) -> None:
        """Kill it with all its workers, as a power cut does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(
    serve: Callable[[list[str], str], subprocess.Popen],
    empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    """A tracking server that runs."""
    database = tmp_path_factory.mktemp("server") / "mlflow.db"
    shutil.copy(empty_database, database)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    started = Server(serve, database, port)
    started.start()
    return started


@pytest.fixture(params=["sqlite", "postgresql", "server"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store, and the way to it."""
    if request.param == "postgresql":
        for name, value in request.getfixturevalue("database").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://")
    if request.param == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("server").url)
    return request.param


def test_trials_are_read_back(way: str) -> None:
    """MLflow's client reads name, times, parameters, tags and the curve as they were written."""
    parent = sweep()
    records = TrialRecords.of(open_store(), parent)
    records.write([finished(3), finished(123_456)])
    first, second = children(parent)
    assert records.run_ids() == {3: first.info.run_id, 123_456: second.info.run_id}
    assert (first.info.run_name, second.info.run_name) == ("trial-00003", "trial-123456")
    assert (first.info.status, first.info.lifecycle_stage) == ("FINISHED", "active")
    assert (first.info.start_time, first.info.end_time) == (1_700_000_003_250, 1_700_000_063_250)
    assert first.info.artifact_uri.endswith(f"/{first.info.run_id}/artifacts")
    assert first.data.params == {"model.width": "3"}
    assert first.data.metrics == {"validation/loss": pytest.approx(3 + 1 / 3)}
    assert curve(first.info.run_id) == planted(3)
    tags = {"ni.level": "trial", "ni.trial": "3", "ni.status": "finished"}
    context = resolve_tags({"mlflow.parentRunId": parent, "mlflow.runName": "trial-00003"})
    assert first.data.tags == context | tags


def test_the_same_again_changes_nothing(way: str) -> None:
    """Updates that are written twice, by the same process or a later one, leave the same."""
    parent = sweep()
    records = TrialRecords.of(open_store(), parent)
    records.write([update(0, [0]), update(1, [0, 1])])
    said = [update(1, [0, 1]), finished(0, [0, 1, 2])]
    records.write(said)
    before = [run.to_dictionary() for run in children(parent)]
    records.write(said)
    TrialRecords.of(open_store(), parent).write(said)
    assert [run.to_dictionary() for run in children(parent)] == before
    assert [run["info"]["status"] for run in before] == ["FINISHED", "RUNNING"]
    assert curve(before[0]["info"]["run_id"]) == planted(0)


def test_a_trial_grows_and_ends(way: str) -> None:
    """What comes in several writes adds up; the last metric is the one of the last step."""
    parent = sweep()
    records = TrialRecords.of(open_store(), parent)
    records.write([update(0, [1]), update(1, [0])])
    assert [run.info.status for run in children(parent)] == ["RUNNING", "RUNNING"]
    assert children(parent)[0].info.end_time is None
    records.write([update(0, [0, 2], parameters={"late": True}, tags={"ni.note": "a"})])
    failed = {"status": "FAILED", "tags": {"ni.error": "out of memory", "ni.note": "b"}}
    records.write([finished(0, [], **failed), finished(1, [1])])
    first, second = children(parent)
    assert (first.info.status, second.info.status) == ("FAILED", "FINISHED")
    assert first.info.end_time == 1_700_000_060_250
    assert (first.data.tags["ni.error"], first.data.tags["ni.note"]) == ("out of memory", "b")
    assert first.data.params == {"model.width": "0", "late": "true"}
    assert first.data.metrics["validation/loss"] == pytest.approx(1 / 3)
    assert curve(first.info.run_id) == planted(0)
    records.write([update(0)])
    assert children(parent)[0].info.status == "RUNNING"


def test_more_than_mlflow_takes_at_once(way: str) -> None:
    """150 parameters, 120 tags and 1,900 points stand there; long texts are cut as in a run."""
    points = [TrialMetric(name="m", value=s / 7, step=s, time=BEGAN + s) for s in range(1900)]
    many = finished(
        0,
        metrics=points,
        parameters={f"p{i}": i for i in range(150)} | {"long": "x" * 9000},
        tags={f"t{i}": str(i) for i in range(120)} | {"long": "y" * 9000},
    )
    parent = sweep()
    TrialRecords.of(open_store(), parent).write([many])
    (run,) = children(parent)
    expected = {f"p{i}": str(i) for i in range(150)}
    assert run.data.params == expected | {"long": "x" * 5999 + "…"}
    assert all(run.data.tags[f"t{i}"] == str(i) for i in range(120))
    assert run.data.tags["long"] == "y" * 8000
    assert [step for step, _, _ in curve(run.info.run_id, "m")] == list(range(1900))


def test_numbers_that_are_none(way: str) -> None:
    """Nan stays nan and does not double; infinity is the largest number, as MLflow has it."""
    values = {"a": math.nan, "b": math.inf, "c": -math.inf}
    points = [TrialMetric(name=n, value=v, step=0, time=BEGAN) for n, v in values.items()]
    parent = sweep()
    for _ in range(2):
        TrialRecords.of(open_store(), parent).write([finished(0, metrics=points)])
    (run,) = children(parent)
    assert math.isnan(run.data.metrics["a"])
    assert (run.data.metrics["b"], run.data.metrics["c"]) == (
        sys.float_info.max,
        -sys.float_info.max,
    )
    assert len(curve(run.info.run_id, "a")) == 1


def test_a_deleted_trial_stays_deleted(way: str) -> None:
    """Who deletes a trial does not get it back, and the others are written on."""
    parent = sweep()
    records = TrialRecords.of(open_store(), parent)
    records.write([update(0, [0]), update(1, [0])])
    open_store().client.delete_run(records.run_ids()[0])
    for again in (records, TrialRecords.of(open_store(), parent)):
        again.write([finished(0), finished(1)])
        assert list(again.run_ids()) == [1]
    assert [run.info.run_name for run in children(parent)] == ["trial-00001"]


_WRITE_ON = """
import sys
from ni_platform.tracking.store import open_store
from ni_platform.tracking.trial_records import TrialRecords
from tests.tracking.test_trial_records import finished, update
records = TrialRecords.of(open_store(), sys.argv[1])
for first in range(0, int(sys.argv[2]), 5):
    numbers = range(first, first + 5)
    for updates in ([update(n, [0]) for n in numbers], [finished(n) for n in numbers]):
        records.write(updates)
        print(first, flush=True)
"""


@pytest.mark.parametrize(
    ("way", "trials", "written"), [("sqlite", 2000, 20), ("server", 40, 4)], indirect=["way"]
)
def test_a_writer_that_is_killed(way: str, trials: int, written: int) -> None:
    """After kill -9 amid the writes all is written anew: each trial once, and no point twice."""
    parent = sweep()
    command = [sys.executable, "-c", _WRITE_ON, parent, str(trials)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        for _ in range(written):
            process.stdout.readline()
        process.kill()
    found = len(children(parent))
    assert written * 5 / 2 <= found <= trials
    numbers = range(found + 10)
    records = TrialRecords.of(open_store(), parent)
    records.write([finished(number) for number in numbers])
    assert_each_once(parent, numbers)


def test_a_server_that_is_killed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that loses its server says so, and ends the work when the server is back."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    parent = sweep()
    records = TrialRecords.of(open_store(), parent)
    done: list[int] = []
    lost: list[TrackingError] = []

    def write_on() -> None:
        try:
            for number in range(0, 4000, 4):
                records.write([finished(n) for n in range(number, number + 4)])
                done.append(number)
        except TrackingError as error:
            lost.append(error)

    writer = threading.Thread(target=write_on)
    writer.start()
    while len(done) < 3 and writer.is_alive():
        time.sleep(0.01)
    server.kill()
    writer.join()
    assert "Could not write trial" in str(lost[0])
    with pytest.raises(TrackingError, match="Could not write trial"):
        records.write([finished(5000)])
    with pytest.raises(TrackingError, match="does not answer"):
        TrialRecords.of(open_store(), parent)

    server.start()
    numbers = range(4 * len(done) + 8)
    records.write([finished(number) for number in numbers])
    assert_each_once(parent, numbers)


@pytest.fixture
def lossy(server: Server) -> Iterator[tuple[str, dict[str, Any]]]:
    """A way to the server on which the next answer can be lost, or the request be late.

    `{"create": "lost"}` drops the answer to the next runs/create; `"late"` drops it and hands the
    request on only when `deliver` is called.
    """
    plan: dict[str, Any] = {"held": []}

    def hand_on(method: str, path: str, body: bytes) -> requests.Response:
        kind = {"Content-Type": "application/json"}
        return requests.request(method, server.url + path, data=body, headers=kind, timeout=60)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fate = plan.pop(self.path.rpartition("/")[2], None)
            if fate == "late":
                plan["held"].append((self.command, self.path, body))
            else:
                answer = hand_on(self.command, self.path, body)
            if fate is not None:
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST

        def log_message(self, *words: object) -> None:
            pass

    plan["deliver"] = lambda: [hand_on(*request) for request in plan["held"]]
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{proxy.server_address[1]}", plan
    proxy.shutdown()
    proxy.server_close()


@pytest.mark.parametrize("request_kind", ["create", "log-batch", "update"])
def test_an_answer_that_is_lost(
    lossy: tuple[str, dict[str, Any]],
    server: Server,
    request_kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the server did although its answer was lost is not done again."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    parent = sweep()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", lossy[0])
    records = TrialRecords.of(open_store(), parent)
    records.write([finished(0)])
    lossy[1][request_kind] = "lost"
    with pytest.raises(TrackingError, match="Could not write trial 1"):
        records.write([finished(1)])
    records.write([finished(1), finished(2)])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    assert_each_once(parent, range(3))


def test_a_request_that_comes_late(
    lossy: tuple[str, dict[str, Any]], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run, made by a request that the server carried out too late, is taken away."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    parent = sweep()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", lossy[0])
    records = TrialRecords.of(open_store(), parent)
    records.write([finished(0)])
    lossy[1]["create"] = "late"
    with pytest.raises(TrackingError, match="Could not write trial 1"):
        records.write([finished(1)])
    records.write([finished(1)])
    assert [answer.status_code for answer in lossy[1]["deliver"]()] == [200]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    assert [run.data.tags["ni.trial"] for run in children(parent)] == ["0", "1", "1"]
    assert sorted(TrialRecords.of(open_store(), parent).run_ids()) == [0, 1]
    assert_each_once(parent, range(2))


def test_a_sweep_goes_on_another_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that were begun through the server are completed in its database, and back."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    parent = sweep()
    TrialRecords.of(open_store(), parent).write([update(0, [0])])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{server.database}")
    TrialRecords.of(open_store(), parent).write([finished(0), update(1, [0])])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    TrialRecords.of(open_store(), parent).write([finished(1)])
    assert_each_once(parent, range(2))


def test_leaderboard() -> None:
    """The best finished trials come first; nan, running and failed ones are not among them."""
    parent, other = sweep(), sweep()

    def scored(number: int, value: float, **changes: Any) -> TrialUpdate:
        points = [TrialMetric(name="test/r", value=value, step=0, time=BEGAN)]
        return finished(number, **({"metrics": points} | changes))

    TrialRecords.of(open_store(), other).write([scored(0, -9.0)])
    TrialRecords.of(open_store(), parent).write(
        [
            *(scored(n, v) for n, v in enumerate([0.5, 0.2, math.nan, 0.9])),
            scored(4, 0.1, status="FAILED"),
            scored(5, 0.1, status="RUNNING", ended=None),
            finished(6),
        ]
    )

    def best(limit: int, *, lower: bool) -> list[str]:
        found = leaderboard(open_store(), parent, "test/r", lower_is_better=lower, limit=limit)
        return [run.tags["ni.trial"] for run in found]

    assert best(20, lower=True) == ["1", "0", "3"]
    assert best(2, lower=False) == ["3", "0"]
    with pytest.raises(TrackingError, match="There is no run"):
        leaderboard(open_store(), "0" * 32, "test/r", lower_is_better=True, limit=1)


_BY_METRIC = """
EXPLAIN QUERY PLAN SELECT DISTINCT runs.run_uuid, m.value FROM runs
JOIN (SELECT * FROM tags WHERE key = 'mlflow.parentRunId' AND value = 'x') t
  ON t.run_uuid = runs.run_uuid
LEFT OUTER JOIN (SELECT * FROM latest_metrics WHERE key = 'validation/loss') m
  ON m.run_uuid = runs.run_uuid
ORDER BY m.value LIMIT 20
"""
"""How MLflow's search asks for the children of a run in the order of a metric."""


def test_searching_by_metric_uses_an_index(state: Path) -> None:
    """From 100 trials on, SQLite looks a trial's metric up in place of comparing all with all.

    That goes for a process which opened the database before, as MLflow's page may have.
    """

    def joins(connection: sqlite3.Connection) -> list[str]:
        connection.execute("SELECT count(*) FROM runs").fetchall()
        return [row[3] for row in connection.execute(_BY_METRIC) if "LEFT-JOIN" in row[3]]

    opened_before = sqlite3.connect(state / "mlflow.db", cached_statements=0)
    records = TrialRecords.of(open_store(), sweep())
    records.write([finished(number) for number in range(99)])
    assert joins(opened_before) == ["SCAN m LEFT-JOIN"]
    records.write([finished(99)])
    (with_index,) = joins(opened_before)
    assert with_index.startswith("SEARCH m USING")


def test_trials_are_no_runs() -> None:
    """`list_runs` shows neither a sweep nor its trials as runs, with stages the sweep alone."""
    with RunRecord.start(open_store(), "sweeps", "single") as run, run.child("text"):
        pass
    TrialRecords.of(open_store(), sweep()).write([finished(0)])
    assert list_runs(open_store())["run_name"].tolist() == ["single"]
    assert set(list_runs(open_store(), stages=True)["run_name"]) == {"single", "text", "a sweep"}


def test_what_cannot_be_written_is_refused() -> None:
    """A name that MLflow does not take, a missing end and a missing sweep are told at once."""
    parent = sweep()
    with pytest.raises(TrackingError, match=r"but got 'a\?'. Rename"):
        finished(0, tags={"a?": "x"})
    with pytest.raises(TrackingError, match=r"but got 'a//b'"):
        TrialRecords.of(open_store(), parent).write([finished(0, parameters={"a//b": 1})])
    with pytest.raises(ValueError, match="trial 7 is FINISHED with ended = None"):
        finished(7, ended=None)
    with pytest.raises(TrackingError, match="There is no run"):
        TrialRecords.of(open_store(), "0" * 32)

"""The place of the records: defaults, and errors before any training."""

from __future__ import annotations

import http.server
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy.engine import make_url

from ni_platform.cli.ui import command as ui
from ni_platform.data.dataset import Dataset
from ni_platform.errors import TrackingError
from ni_platform.models.scorer import Scorer
from ni_platform.registry.model_source import pinned_uri, resolve_model
from ni_platform.registry.promotion import promote
from ni_platform.tracking.address import tracking_uri, ui_command
from ni_platform.tracking.run_queries import read_artifact, read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.state import state_folder
from ni_platform.tracking.store import open_store


def test_two_first_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder without a database yet, processes that begin at once all find one."""
    monkeypatch.setenv("NI_HOME", str(tmp_path / "new"))
    script = "from ni_platform.tracking.store import open_store; open_store()"
    started = [
        subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) for _ in range(2)
    ]
    assert [(p.communicate()[1].decode()[-500:], p.returncode)[1] for p in started] == [0, 0]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mlflow.db"]


def test_default_store_is_a_folder(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a named server, database and artifacts lie in the state folder and nowhere else."""
    shutil.rmtree(state)
    elsewhere = state.parent / "cwd"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with RunRecord.start(open_store(), "planted") as record:
        record.log_json({"a": 1}, "config.json")
    assert (state / "mlflow.db").is_file()
    assert [p.name for p in (state / "artifacts").rglob("*.json")] == ["config.json"]
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["50% off", "what?", "a%20b#1", "caf\u00e9/cafe\u0301"])
def test_any_name_of_the_state_folder(
    name: str,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    finished_run: Callable[..., str],
    scorer: Scorer,
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    """Whatever NI_HOME is called, database, artifacts and models lie in it and nothing beside it.

    The runs are found again, and a registered model predicts what it did before.
    """
    home = tmp_path / "outer" / name / "ni"
    home.parent.mkdir(parents=True)
    state.rename(home)
    monkeypatch.setenv("NI_HOME", str(home))
    run_id = finished_run(np.tile([0.1, 0.2, 0.3], 40))
    assert promote(open_store(), run_id, "planted").promoted
    frame = dataset.inputs([0, 1])
    loaded = Scorer.load(resolve_model(open_store(), "models:/planted@champion"))
    np.testing.assert_allclose(loaded.predict(frame), scorer.predict(frame), rtol=1e-6)
    monkeypatch.setenv("NI_SERVED_PICTURES", str(dataset.root))
    if "%20" not in name:  # MLflow's own loading takes it for a blank
        served = mlflow.pyfunc.load_model("models:/planted@champion").predict(frame)
        np.testing.assert_allclose(np.ravel(served), scorer.predict(frame), rtol=1e-6)
    assert read_artifact(open_store(), run_id, "checks/summary.json")
    command = shlex.split(ui_command())
    uri = command[command.index("--backend-store-uri") + 1]
    root = command[command.index("--default-artifact-root") + 1]
    assert make_url(uri).database == str(home / "mlflow.db")
    assert url2pathname(urlsplit(root).path) == str(home / "artifacts")
    assert list(tmp_path.iterdir()) == [tmp_path / "outer"]
    beside = [path for path in (tmp_path / "outer").rglob("*") if not path.is_relative_to(home)]
    assert all(home.is_relative_to(path) for path in beside)
    assert len(list(home.rglob("test.parquet"))) == 1


def test_state_folder_defaults_to_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """NI_HOME unset means .ni in the current folder."""
    monkeypatch.delenv("NI_HOME")
    assert state_folder() == Path.cwd() / ".ni"


def test_a_home_of_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ~ that stands for no folder is an error that names the setting."""
    monkeypatch.setenv("NI_HOME", "~nobody-of-this-name/ni")
    with pytest.raises(TrackingError, match=r"NI_HOME \(~nobody-of-this-name/ni\) begins with ~"):
        open_store()


def test_named_database_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_database: Path
) -> None:
    """MLFLOW_TRACKING_URI is used in place of NI_HOME."""
    shutil.copy(empty_database, tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    with RunRecord.start(open_store(), "planted") as record:
        record.log_json({}, "config.json")
    assert (tmp_path / "artifacts" / "planted" / record.run_id).is_dir()
    assert "other.db" in ui_command()


def test_a_default_is_not_taken_for_a_choice(
    state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """MLflow exports the URI it was given; a later NI_HOME of this process still counts."""
    for name in ("one", "two", "three"):
        monkeypatch.setenv("NI_HOME", str(tmp_path / name))
        shutil.copytree(state, tmp_path / name)
        assert open_store().uri == tracking_uri()
        assert "MLFLOW_TRACKING_URI" not in os.environ
        assert tracking_uri() == f"sqlite:///{tmp_path / name / 'mlflow.db'}"
        assert mlflow.get_tracking_uri() == tracking_uri()


def test_another_process_opens_a_store_by_its_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever its own environment names; the address, which may hold a password, is not shown."""
    store = open_store()
    with RunRecord.start(store, "planted") as run:
        pass
    monkeypatch.setenv("NI_HOME", str(tmp_path / "elsewhere"))
    again = open_store(store.uri)
    assert read_run(again, run.run_id).status == "FINISHED"
    assert store.uri not in repr(again)
    assert not (tmp_path / "elsewhere").exists()


def test_a_store_that_is_gone_since_it_was_opened(state: Path) -> None:
    """It is told before a run is started, or one is added to."""
    store = open_store()
    shutil.rmtree(state)
    state.write_text("in the way")
    for begin in (RunRecord.start, RunRecord.existing):
        with pytest.raises(TrackingError, match=r"state folder.*cannot be written.*NI_HOME"):
            begin(store, "planted")


def test_ui_tells_the_address_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ni ui` prints a server's address and opens it; a password in the URI is never printed."""
    uris = {
        "http://alice:secret@127.0.0.1:9/path": "http://127.0.0.1:9/path",
        "postgresql+psycopg2://alice:secret@127.0.0.1/runs": "MLFLOW_BACKEND_STORE_URI",
    }
    for uri, expected in uris.items():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        printed = CliRunner().invoke(ui, ["--print-command"], catch_exceptions=False).output
        assert expected in printed
        assert "secret" not in printed


def test_a_database_without_its_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is not installed is named, with the way to name another."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql+cymysql:///runs")
    with pytest.raises(TrackingError, match=r"needs the package cymysql.*Install it"):
        open_store()


def test_folder_as_tracking_uri_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's old file store is refused with what to set in its place."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(TrackingError, match=r"no longer accepts.*sqlite:///"):
        open_store()


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_server_that_is_not_there(scheme: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is one clear error, without MLflow's minutes of retries."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://user:secret@127.0.0.1:{port}/x")
    began = time.monotonic()
    with pytest.raises(TrackingError, match=r"does not answer within 5 s") as caught:
        RunRecord.start(open_store(), "planted")
    assert time.monotonic() - began < 60  # MLflow's own retries take minutes
    assert "secret" not in str(caught.value)


def test_server_that_accepts_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs is given up after the time-out of the first contact."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(TrackingError, match=r"does not answer within 5 s"):
            open_store()
        assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"", "refuses this user .HTTP 401.*MLFLOW_TRACKING_USERNAME"),
        (200, b"<html>a wiki</html>", "not as an MLflow tracking server"),
        (404, b"nothing", "not as an MLflow tracking server"),
        (503, b"later", "not as an MLflow tracking server"),
    ],
)
def test_server_that_is_something_else(
    status: int, body: bytes, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that wants credentials, or is no MLflow server, is told apart at once."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(TrackingError, match=expected):
            open_store()
    finally:
        server.shutdown()
        server.server_close()


def test_state_folder_that_is_a_file(state: Path) -> None:
    """A state folder that cannot be made is an error that names it and NI_HOME."""
    shutil.rmtree(state)
    state.write_text("in the way")
    with pytest.raises(TrackingError, match=r"state folder.*cannot be written.*NI_HOME"):
        open_store()


_FILL = """
import os, pathlib, sys
os.environ["NI_HOME"] = sys.argv[1] + "/ni"
from ni_platform.errors import TrackingError
from ni_platform.models.scorer import Scorer
from ni_platform.registry.model_source import resolve_model
from ni_platform.registry.promotion import promote
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
store = open_store()
record = RunRecord.start(store, "planted")
try:
    with record:
        big = pathlib.Path(sys.argv[2])
        big.write_bytes(b"0" * 20_000_000)
        record.log_artifact(big)
except TrackingError as error:
    print("DURING", error)
print("STATUS", read_run(store, record.run_id).status)
try:
    (pathlib.Path(sys.argv[1]) / "rest").write_bytes(b"0" * 20_000_000)
except OSError:
    pass
try:
    open_store()
except TrackingError as error:
    print("BEFORE", error)
"""


def test_full_disk(tmp_path: Path, state: Path) -> None:
    """A full disk is one clear error: while a run writes (then FAILED), and before one starts."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("a small disk of its own needs Linux's unshare")
    mount = tmp_path / "disk"
    mount.mkdir()
    script = tmp_path / "fill.py"
    script.write_text(_FILL)
    command = (
        f"mount -t tmpfs -o size=8m tmpfs '{mount}' || exit 77;"
        f" cp -r '{state}' '{mount}/ni';"
        f" exec '{sys.executable}' '{script}' '{mount}' '{tmp_path}/big.bin'"
    )
    done = subprocess.run(
        [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this machine lets no test mount a small disk")
    assert done.returncode == 0, done.stderr
    during, status, before = done.stdout.strip().splitlines()
    assert during.startswith("DURING Could not store big.bin")
    assert "the disk is full" in during
    assert status == "STATUS FAILED"
    assert before.startswith("BEFORE")
    assert "the disk is full" in before
    assert "NI_HOME" in before


def test_run_on_a_real_server(
    serve: Callable[[list[str], str], None],
    port: int,
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    finished_run: Callable[..., str],
    dataset: Dataset,
    scorer: Scorer,
) -> None:
    """Runs, models and promotion work through a real MLflow server; a model is fetched once."""
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    serve(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            f"sqlite:///{state}/mlflow.db",
            "--artifacts-destination",
            str(tmp_path / "served"),
            "--port",
            str(port),
            "--workers",
            "1",
        ],
        f"http://127.0.0.1:{port}/health",
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    run_id = finished_run(np.tile([0.1, 0.2, 0.3], 40))
    report = promote(open_store(), run_id, "served")
    assert (report.version, report.promoted) == ("1", True)
    assert promote(open_store(), run_id, "served").already_champion
    assert not promote(open_store(), finished_run(np.tile([0.3, 0.2, 0.1], 40)), "served").promoted
    assert read_run(open_store(), run_id).status == "FINISHED"
    assert len(list((tmp_path / "served").rglob("test.parquet"))) == 2
    assert not (state / "artifacts").exists()

    folder = resolve_model(open_store(), "models:/served@champion")
    assert folder.is_relative_to(state / "models")
    assert resolve_model(open_store(), run_id) == folder
    frame = dataset.inputs([0, 1])
    np.testing.assert_allclose(Scorer.load(folder).predict(frame), scorer.predict(frame), rtol=1e-6)
    assert [path.name for path in (state / "models").iterdir()] == [folder.parents[1].name]
    assert str(port) in ui_command()


@pytest.mark.usefixtures("state")
def test_what_is_not_there_may_be_in_another_store() -> None:
    """A newcomer who changed the folder looks for the model where it never was."""
    store = open_store()
    with pytest.raises(TrackingError, match=r"name=ads not found\. Check the name, .* NI_HOME"):
        pinned_uri(store, "models:/ads@champion")

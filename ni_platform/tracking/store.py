"""Where run records, models and the registry live, and whether that place answers.

`MLFLOW_TRACKING_URI` names it. Without it everything stays in the state folder `NI_HOME`
(default `.ni` in the current folder): an SQLite database `mlflow.db` with `artifacts` beside it.
"""

from __future__ import annotations

import errno
import logging
import os
import shlex
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ni_platform.claims import claimed
from ni_platform.errors import NiError, TrackingError
from ni_platform.tracking.state import state_folder

PREFLIGHT_SECONDS = 5
"""How long the first contact with a tracking server may take."""

_BUSY_SECONDS = 20
"""How long SQLite waits for another writer; MLflow's own number."""

_DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_STORE_LIBRARIES = {"mlflow", "sqlalchemy", "sqlite3", "requests", "urllib3", "boto3", "botocore"}

_UNQUOTABLE = "'\\"

_chosen_here: str | None = None
"""The default that this process chose; MLflow exports it as if the user had set it."""


def tracking_uri() -> str:
    """Return the tracking URI that `connect` uses: `MLFLOW_TRACKING_URI`, else the state folder."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    if named and named != _chosen_here:
        return named
    return _sqlite_uri(state_folder() / "mlflow.db")


def ui_command() -> str:
    """Return the one shell command that opens the MLflow UI on the runs of `tracking_uri()`.

    It holds no password: one in the URI is read from the environment, a server asks for its own.
    """
    uri = tracking_uri()
    if server := server_url():
        return shlex.join([sys.executable, "-m", "webbrowser", server])
    beside = Path(sys.executable).with_name("mlflow")
    mlflow_command = str(beside) if beside.exists() else "mlflow"
    root = ["--default-artifact-root", _artifact_root(uri) or ""]
    if uri != without_secrets(uri):
        script = 'MLFLOW_BACKEND_STORE_URI="$MLFLOW_TRACKING_URI" exec "$0" ui "$@"'
        return shlex.join(["sh", "-c", script, mlflow_command, *root])
    return shlex.join([mlflow_command, "ui", "--backend-store-uri", uri, *root])


def server_url() -> str | None:
    """Return the address of the tracking server that is used; None for a database or folder."""
    uri = tracking_uri()
    return without_secrets(uri) if urlsplit(uri).scheme in ("http", "https") else None


def connect() -> MlflowClient:
    """Return a client of a store that was just seen to answer.

    Sets MLflow's tracking and registry URI of this process, so that `mlflow.pyfunc.load_model`
    finds the same models.

    Raises:
        TrackingError: Within seconds, when the server or database cannot be reached, does not
            let this user in or has another schema, and when the state folder cannot be written.
    """
    global _chosen_here
    uri = tracking_uri()
    _refuse_file_store(uri)
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme in ("http", "https"):
        # Else MLflow fetches from the artifact store itself, which a client need not reach.
        os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
        os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")
        _ask_server(uri)
    elif scheme == "sqlite":
        _ask_folder(_sqlite_path(uri).parent)
    elif scheme in _DEFAULT_PORTS:
        _ask_port(uri, _DEFAULT_PORTS[scheme])
    if os.environ.get("MLFLOW_TRACKING_URI") in (None, "", _chosen_here):
        _chosen_here = uri
    _quieten_first_use()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with store_errors("open the tracking store"), _one_at_a_time(uri, scheme):
        try:
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_experiments(max_results=1)
        except ModuleNotFoundError as error:
            raise TrackingError(
                f"MLFLOW_TRACKING_URI ({without_secrets(uri)}) needs the package {error.name}."
                " Install it, or name a driver that is there, as in postgresql+psycopg2://..."
            ) from error
    return client


def equals(column: str, value: str) -> str:
    """Return MLflow's filter for the rows whose text `column` is `value`.

    The grammar has no escape, so each quote and backslash becomes `_`, which stands for any one
    character: then the filter finds more, and whoever asks compares once more.
    """
    if not set(_UNQUOTABLE) & set(value):
        return f"{column} = '{value}'"
    return f"{column} LIKE '{value.translate(dict.fromkeys(map(ord, _UNQUOTABLE), '_'))}'"


def count_rows() -> None:
    """Let a database in SQLite count its rows; it samples, which takes milliseconds.

    Without counts it takes the children of a run for a handful, and a search ordered by a metric,
    as the leaderboard and MLflow's page ask it, compares each with each: minutes at 20,000.

    Raises:
        TrackingError: The database does not answer.
    """
    uri = tracking_uri()
    if urlsplit(uri).scheme.split("+")[0] != "sqlite":
        return
    with (
        store_errors("count the rows"),
        closing(sqlite3.connect(_sqlite_path(uri), timeout=_BUSY_SECONDS)) as connection,
    ):
        connection.execute("PRAGMA analysis_limit = 1000")
        connection.execute("ANALYZE")


def experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of the MLflow experiment `name`, made on first use.

    A local store keeps its artifacts beside its database; a server decides for itself.
    """
    with store_errors(f"open the MLflow experiment '{name}'"):
        found = client.get_experiment_by_name(name)
        if found is None:
            root = _artifact_root(client.tracking_uri)
            location = f"{root}/{_folder_name(name)}" if root else None
            try:
                return client.create_experiment(name, artifact_location=location)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                # Another process made it between the question and the answer.
                found = client.get_experiment_by_name(name)
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"The MLflow experiment '{name}' is deleted. Restore it with"
                f" `mlflow experiments restore --experiment-id {found.experiment_id}`"
                " or run under another name."
            )
        return found.experiment_id


@contextmanager
def store_errors(doing: str) -> Iterator[None]:
    """Turn a failure of the store while `doing` something into one clear `TrackingError`."""
    try:
        yield
    except NiError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and _library_of(error) not in _STORE_LIBRARIES:
            raise
        raise TrackingError(_explanation(doing, error)) from error


def _library_of(error: Exception) -> str:
    return type(error).__module__.split(".")[0]


def _explanation(doing: str, error: Exception) -> str:
    uri = tracking_uri()
    if is_disk_full(error):
        return (
            f"Could not {doing}: the disk is full. The tracking store is {without_secrets(uri)};"
            " free space there, or set NI_HOME or MLFLOW_TRACKING_URI to a place with room."
        )
    status = _http_status(error)
    if status == 401:
        return f"Could not {doing}: {_refusal(uri, status)}"
    if status == 403:
        person = os.environ.get("MLFLOW_TRACKING_USERNAME") or "this user"
        return (
            f"Could not {doing}: {without_secrets(uri)} does not permit that to {person} (HTTP"
            " 403). Ask its administrator for the grant, or set MLFLOW_TRACKING_USERNAME and"
            " MLFLOW_TRACKING_PASSWORD to an account that has it."
        )
    reason = getattr(error, "message", None) or str(error) or type(error).__name__
    text = str(reason).strip()
    if "out-of-date database schema" in text:
        return (
            f"Could not {doing}: {without_secrets(uri)} was written by another MLflow version."
            f" Back it up, then run `mlflow db upgrade {shlex.quote(without_secrets(uri))}`."
        )
    return f"Could not {doing} in {without_secrets(uri)}: {text.splitlines()[0][:500]}"


def _refusal(uri: str, status: int) -> str:
    return (
        f"The tracking server {without_secrets(uri)} refuses this user (HTTP {status}). Set"
        " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
    )


def _http_status(error: Exception) -> int | None:
    """What a tracking server answered; MLflow raises its own errors and those of requests."""
    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())
    answer = getattr(error, "response", None)
    return getattr(answer, "status_code", None)


def utc_now() -> str:
    """Return the present time for a tag: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk or quota caused `error`, through however many libraries it came."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        text = str(seen)
        if "database or disk is full" in text or "No space left on device" in text:
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _one_at_a_time(uri: str, scheme: str) -> AbstractContextManager[None]:
    """Let one process of this machine at a time open a database: the first one makes its tables."""
    if scheme in ("http", "https"):
        return nullcontext()
    path = _sqlite_path(uri) if scheme == "sqlite" else state_folder() / "locks" / scheme
    return claimed(path.with_name(f"{path.name}.lock"), "The tracking store", seconds=600)


def _refuse_file_store(uri: str) -> None:
    if urlsplit(uri).scheme in ("", "file"):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI is a folder ({uri}), which MLflow no longer accepts. Unset it to"
            " use NI_HOME, or set it to sqlite:///PATH.db, postgresql://... or http://SERVER."
        )


def _ask_server(uri: str) -> None:
    """Make one small request without retries: MLflow's own would go on for minutes."""
    remedy = (
        "Start it, correct MLFLOW_TRACKING_URI, or unset that variable to record runs in the"
        f" local folder {state_folder()}."
    )
    try:
        response = http_request(
            get_default_host_creds(uri),
            "/api/2.0/mlflow/experiments/search",
            "POST",
            json={"max_results": 1},
            timeout=PREFLIGHT_SECONDS,
            max_retries=0,
            raise_on_status=False,
        )
    except (MlflowException, OSError) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise TrackingError(
                f"The certificate of {without_secrets(uri)} is signed by nobody that this machine"
                " trusts. Set MLFLOW_TRACKING_SERVER_CERT_PATH to the file that it was signed with."
            ) from error
        raise TrackingError(
            f"The tracking server {without_secrets(uri)} does not answer within"
            f" {PREFLIGHT_SECONDS} s. {remedy}"
        ) from error
    if response.status_code == 403 and "Host header" in response.text:
        raise TrackingError(
            f"The tracking server {without_secrets(uri)} does not know itself by that name (HTTP"
            " 403). Set MLFLOW_TRACKING_URI to a name that it allows, or add this one to its"
            " --allowed-hosts."
        )
    if response.status_code in (401, 403):
        raise TrackingError(_refusal(uri, response.status_code))
    try:
        is_mlflow = response.status_code == 200 and isinstance(response.json(), dict)
    except ValueError:
        is_mlflow = False
    if not is_mlflow:
        raise TrackingError(
            f"{without_secrets(uri)} answers, but not as an MLflow tracking server does (HTTP"
            f" {response.status_code}). {remedy}"
        )


def _ask_port(uri: str, default_port: int) -> None:
    parts = urlsplit(uri)
    host, port = parts.hostname, parts.port or default_port
    if not host or host.startswith("/") or not parts.netloc:
        return  # a Unix socket or a driver's own address: the driver will tell
    try:
        socket.create_connection((host, port), timeout=PREFLIGHT_SECONDS).close()
    except OSError as error:
        raise TrackingError(
            f"The database server {host}:{port} of MLFLOW_TRACKING_URI does not answer within"
            f" {PREFLIGHT_SECONDS} s ({error}). Start it or correct MLFLOW_TRACKING_URI."
        ) from error


def _ask_folder(folder: Path) -> None:
    """Write a little, so that a full or read-only disk is told before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 65536)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        if is_disk_full(error):
            raise TrackingError(_explanation("write a run record", error)) from error
        raise TrackingError(
            f"The state folder {folder} cannot be written ({error.strerror or error})."
            " Set NI_HOME to a folder that can."
        ) from error


def _sqlite_uri(path: Path) -> str:
    """Return the URI that SQLAlchemy reads as `path`: it unquotes `%41` and ends it at a `?`."""
    quoted = str(path).replace("%", "%25").replace("?", "%3F")
    # Of an URI without its driver's name, MLflow makes the folder before unquoting it.
    return f"{'sqlite' if quoted == str(path) else 'sqlite+pysqlite'}:///{quoted}"


def _sqlite_path(uri: str) -> Path:
    try:
        return Path(make_url(uri).database or "").absolute()
    except ArgumentError as error:
        raise TrackingError(
            f"MLFLOW_TRACKING_URI ({uri}) names no database file: write sqlite:///PATH.db."
        ) from error


def _artifact_root(uri: str) -> str | None:
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme in ("http", "https", "databricks", "databricks-uc"):
        return None
    folder = _sqlite_path(uri).parent if scheme == "sqlite" else state_folder()
    return (folder / "artifacts").as_uri()


def _folder_name(experiment_name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in experiment_name)


def without_secrets(uri: str) -> str:
    """Return the URI without user name and password, for messages."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]).geturl()


def _quieten_first_use() -> None:
    # Making a new database logs each of its migrations.
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)

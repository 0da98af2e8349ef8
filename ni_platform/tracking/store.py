"""The place where runs live, opened: whether it answers, and MLflow's client of it."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from ni_platform.claims import claimed
from ni_platform.errors import TrackingError
from ni_platform.tracking.address import (
    SERVERS,
    artifact_root,
    scheme_of,
    sqlite_path,
    tracking_uri,
    without_secrets,
)
from ni_platform.tracking.state import state_folder
from ni_platform.tracking.store_errors import explanation, is_disk_full, refusal, store_errors

PREFLIGHT_SECONDS = 5
"""How long the first contact with a tracking server may take."""

_BUSY_SECONDS = 20
"""How long SQLite waits for another writer; MLflow's own number."""

_DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}

_UNQUOTABLE = "'\\"


@dataclass(frozen=True, kw_only=True)
class Store:
    """The place where runs and models live, opened once by each command and passed on.

    Threads may share it. Another process opens its own, by the `uri` that it is given.
    """

    uri: str = field(repr=False)
    """May hold a password."""
    client: MlflowClient

    @property
    def is_server(self) -> bool:
        """Whether it is a tracking server, not a database that this process opened itself."""
        return scheme_of(self.uri) in SERVERS

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Turn a failure while `doing` something into one clear `TrackingError`."""
        return store_errors(self.uri, doing)

    def require_answer(self) -> None:
        """Tell within seconds that the store is gone since it was opened; MLflow tries for minutes.

        Raises:
            TrackingError: As `open_store`.
        """
        _ask(self.uri)

    def experiment_id(self, name: str) -> str:
        """Return the id of the MLflow experiment `name`, made on first use.

        A local store keeps its artifacts beside its database; a server decides for itself.
        """
        with self.errors(f"open the MLflow experiment '{name}'"):
            found = self.client.get_experiment_by_name(name)
            if found is None:
                root = artifact_root(self.uri)
                location = f"{root}/{_folder_name(name)}" if root else None
                try:
                    return self.client.create_experiment(name, artifact_location=location)
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    # Another process made it between the question and the answer.
                    found = self.client.get_experiment_by_name(name)
            if found.lifecycle_stage != "active":
                raise TrackingError(
                    f"The MLflow experiment '{name}' is deleted. Restore it with"
                    f" `mlflow experiments restore --experiment-id {found.experiment_id}`"
                    " or run under another name."
                )
            return found.experiment_id

    def count_rows(self) -> None:
        """Let a database in SQLite count its rows; it samples, which takes milliseconds.

        Without counts it takes the children of a run for a handful, and a search ordered by a
        metric, as the leaderboard and MLflow's page ask it, compares each with each: minutes at
        20,000.

        Raises:
            TrackingError: The database does not answer.
        """
        if scheme_of(self.uri) != "sqlite":
            return
        with (
            self.errors("count the rows"),
            closing(sqlite3.connect(sqlite_path(self.uri), timeout=_BUSY_SECONDS)) as connection,
        ):
            connection.execute("PRAGMA analysis_limit = 1000")
            connection.execute("ANALYZE")


def open_store(uri: str | None = None) -> Store:
    """Open the store at `uri`, or at `tracking_uri()` if None, which was just seen to answer.

    This is the one place that sets MLflow's tracking and registry URI of this process, so that
    `mlflow.pyfunc.load_model` finds the same models.

    Raises:
        TrackingError: Within seconds, when the server or database cannot be reached, does not
            let this user in or has another schema, and when the state folder cannot be written.
    """
    uri = uri or tracking_uri()
    _refuse_file_store(uri)
    if scheme_of(uri) in SERVERS:
        # Else MLflow fetches from the artifact store itself, which a client need not reach.
        os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
        os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")
    _ask(uri)
    _quieten_first_use()
    # MLflow exports both, and so a default would look like the user's choice from then on.
    with variables_kept("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
    with store_errors(uri, "open the tracking store"), _one_at_a_time(uri):
        try:
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_experiments(max_results=1)
        except ModuleNotFoundError as error:
            raise TrackingError(
                f"MLFLOW_TRACKING_URI ({without_secrets(uri)}) needs the package {error.name}."
                " Install it, or name a driver that is there, as in postgresql+psycopg2://..."
            ) from error
    return Store(uri=uri, client=client)


@contextmanager
def variables_kept(*names: str) -> Iterator[None]:
    """Give environment variables the values back that they had before the block."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def sent_once() -> Iterator[None]:
    """MLflow's client sends each request once, and prints no address of a run that has ended.

    Else it repeats one whose answer was lost, and so can make a second run, and waits for minutes
    for a server that is gone; whoever writes tries again.
    """
    settings = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    with variables_kept(*settings):
        os.environ.update(settings)
        yield


def equals(column: str, value: str) -> str:
    """Return MLflow's filter for the rows whose text `column` is `value`.

    The grammar has no escape, so each quote and backslash becomes `_`, which stands for any one
    character: then the filter finds more, and whoever asks compares once more.
    """
    if not set(_UNQUOTABLE) & set(value):
        return f"{column} = '{value}'"
    return f"{column} LIKE '{value.translate(dict.fromkeys(map(ord, _UNQUOTABLE), '_'))}'"


def utc_now() -> str:
    """Return the present time for a tag: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _one_at_a_time(uri: str) -> AbstractContextManager[None]:
    """Let one process of this machine at a time open a database: the first one makes its tables."""
    scheme = scheme_of(uri)
    if scheme in SERVERS:
        return nullcontext()
    path = sqlite_path(uri) if scheme == "sqlite" else state_folder() / "locks" / scheme
    return claimed(path.with_name(f"{path.name}.lock"), "The tracking store", seconds=600)


def _refuse_file_store(uri: str) -> None:
    if urlsplit(uri).scheme in ("", "file"):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI is a folder ({uri}), which MLflow no longer accepts. Unset it to"
            " use NI_HOME, or set it to sqlite:///PATH.db, postgresql://... or http://SERVER."
        )


def _ask(uri: str) -> None:
    """Try whether the store is there, without MLflow's patience."""
    scheme = scheme_of(uri)
    if scheme in SERVERS:
        _ask_server(uri)
    elif scheme == "sqlite":
        _ask_folder(sqlite_path(uri).parent, uri)
    elif scheme in _DEFAULT_PORTS:
        _ask_port(uri, _DEFAULT_PORTS[scheme])


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
        raise TrackingError(refusal(uri, response.status_code))
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


def _ask_folder(folder: Path, uri: str) -> None:
    """Write a little, so that a full or read-only disk is told before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 65536)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        if is_disk_full(error):
            raise TrackingError(explanation(uri, "write a run record", error)) from error
        raise TrackingError(
            f"The state folder {folder} cannot be written ({error.strerror or error})."
            " Set NI_HOME to a folder that can."
        ) from error


def _folder_name(experiment_name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in experiment_name)


def _quieten_first_use() -> None:
    # Making a new database logs each of its migrations.
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)

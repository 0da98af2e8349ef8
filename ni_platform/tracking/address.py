"""Where run records, models and the registry live.

`MLFLOW_TRACKING_URI` names it. Without it everything stays in the state folder `NI_HOME`
(default `.ni` in the current folder): an SQLite database `mlflow.db` with `artifacts` beside it.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ni_platform.errors import TrackingError
from ni_platform.tracking.state import state_folder

SERVERS = ("http", "https")
"""Schemes of a tracking server; others name a database."""


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, else the database in the state folder."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return named or _sqlite_uri(state_folder() / "mlflow.db")


def ui_command() -> str:
    """Return the one shell command that opens the MLflow UI on the runs of `tracking_uri()`.

    It holds no password: one in the URI is read from the environment, a server asks for its own.
    """
    uri = tracking_uri()
    if server_url():
        return shlex.join([sys.executable, "-m", "webbrowser", page("experiments")])
    beside = Path(sys.executable).with_name("mlflow")
    mlflow_command = str(beside) if beside.exists() else "mlflow"
    # One worker is enough for one person, and answers in a third of the time of MLflow's four.
    root = ["--default-artifact-root", artifact_root(uri) or "", "--workers", "1"]
    if uri != without_secrets(uri):
        script = 'MLFLOW_BACKEND_STORE_URI="$MLFLOW_TRACKING_URI" exec "$0" ui "$@"'
        return shlex.join(["sh", "-c", script, mlflow_command, *root])
    return shlex.join([mlflow_command, "ui", "--backend-store-uri", uri, *root])


LOCAL_PORT = 5000
"""Where `ni ui` shows what is recorded on this machine, unless another port is asked for."""


def server_url() -> str | None:
    """Return the address of the tracking server that is used; None for a database or folder."""
    uri = tracking_uri()
    return without_secrets(uri) if scheme_of(uri) in SERVERS else None


def page(path: str, *, port: int = LOCAL_PORT, **query: str) -> str:
    """Return the address of a page of MLflow's, in the menu for model training."""
    values = {**query, "workflowType": "machine_learning"}
    asked = "&".join(f"{name}={quote(value)}" for name, value in values.items())
    return f"{server_url() or f'http://127.0.0.1:{port}'}/#/{path}?{asked}"


def scheme_of(uri: str) -> str:
    """Return the kind of store that a URI names, without its driver's name."""
    return urlsplit(uri).scheme.split("+")[0]


def without_secrets(uri: str) -> str:
    """Return the URI without user name and password, for messages."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]).geturl()


def _sqlite_uri(path: Path) -> str:
    """Return the URI that SQLAlchemy reads as `path`: it unquotes `%41` and ends it at a `?`."""
    quoted = str(path).replace("%", "%25").replace("?", "%3F")
    # Of an URI without its driver's name, MLflow makes the folder before unquoting it.
    return f"{'sqlite' if quoted == str(path) else 'sqlite+pysqlite'}:///{quoted}"


def sqlite_path(uri: str) -> Path:
    """Return the database file that an SQLite URI names.

    Raises:
        TrackingError: It names none.
    """
    try:
        return Path(make_url(uri).database or "").absolute()
    except ArgumentError as error:
        raise TrackingError(
            f"MLFLOW_TRACKING_URI ({uri}) names no database file: write sqlite:///PATH.db."
        ) from error


def artifact_root(uri: str) -> str | None:
    """Return where a local store keeps artifacts; None where a server decides."""
    scheme = scheme_of(uri)
    if scheme in (*SERVERS, "databricks", "databricks-uc"):
        return None
    folder = sqlite_path(uri).parent if scheme == "sqlite" else state_folder()
    return (folder / "artifacts").as_uri()

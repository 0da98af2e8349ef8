"""A failure of the tracking store as one clear error."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException

from ni_platform.errors import NiError, TrackingError
from ni_platform.tracking.address import without_secrets

_STORE_LIBRARIES = {"mlflow", "sqlalchemy", "sqlite3", "requests", "urllib3", "boto3", "botocore"}


@contextmanager
def store_errors(uri: str, doing: str) -> Iterator[None]:
    """Turn a failure of the store while `doing` something into one clear `TrackingError`."""
    try:
        yield
    except NiError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and _library_of(error) not in _STORE_LIBRARIES:
            raise
        raise TrackingError(explanation(uri, doing, error)) from error


def _library_of(error: Exception) -> str:
    return type(error).__module__.split(".")[0]


def explanation(uri: str, doing: str, error: Exception) -> str:
    """Return why the store could not do something, with the remedy."""
    if is_disk_full(error):
        return (
            f"Could not {doing}: the disk is full. The tracking store is {without_secrets(uri)};"
            " free space there, or set NI_HOME or MLFLOW_TRACKING_URI to a place with room."
        )
    status = _http_status(error)
    if status == 401:
        return f"Could not {doing}: {refusal(uri, status)}"
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
    said = f"Could not {doing} in {without_secrets(uri)}: {text.splitlines()[0][:500]}"
    if status == 404:
        said = (
            f"{said.rstrip('.')}. Check the name, and that the store is the right one: the current"
            " folder's .ni, or what NI_HOME or MLFLOW_TRACKING_URI says."
        )
    return said


def refusal(uri: str, status: int) -> str:
    """Return what to do where a server does not know this user."""
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

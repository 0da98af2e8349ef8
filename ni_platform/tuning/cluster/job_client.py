"""The way to a cluster's job server: reachable, with a token that it accepts, or one error."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ni_platform.errors import ClusterError

CONTACT_SECONDS = 5
"""How long the first contact with a cluster may take."""

SECONDS_FOR_AN_AGENT = 60
"""How long a head that was just started may take until it runs jobs."""

_DEFAULT_TOKEN = Path("~/.ray/auth_token")
_OWN_ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
_REMEDY = (
    "Set RAY_AUTH_TOKEN_PATH to a file with the cluster's token, or RAY_AUTH_TOKEN to the token "
    "(where the cluster runs: `ray get-auth-token`)."
)


def connect(address: str) -> Any:
    """Return Ray's `JobSubmissionClient` of the cluster whose dashboard is at `address`.

    The token is sent in a header only: it is in no file, log or command of ours.

    Raises:
        ClusterError: The address is none, nothing answers there within seconds, or it is not
            Ray; the token is missing, unreadable or not the cluster's.

    """
    from ray.job_submission import JobSubmissionClient

    # Ray tells of every upload on standard error.
    for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
        logging.getLogger(name).setLevel(logging.WARNING)
    _ask_port(address)
    token = _token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with explained(address), _address_counts():
        return JobSubmissionClient(address, headers=headers)


def send_job(client: Any, address: str, **job: Any) -> None:
    """Submit a job as Ray's client does.

    Raises:
        ClusterError: The cluster refuses it, or runs no jobs yet after a minute.

    """
    until = time.monotonic() + SECONDS_FOR_AN_AGENT
    with explained(address):
        while True:
            try:
                client.submit_job(**job)
            except RuntimeError as error:
                if "No available agent" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(1.0)
            else:
                return


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into a `ClusterError` that says what to do."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        sent = "the token sent is not its own" if _token() else "it asks for a token; none is set"
        raise ClusterError(f"The cluster {address} refuses: {sent}. {_REMEDY}") from error
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise ClusterError(
            f"The job server {address} does not answer as Ray's does: {_first_line(error)}. Give "
            "--address the head's dashboard, as in http://HEAD:8265."
        ) from error


def _ask_port(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(
            f"A cluster's address reads http://HEAD:8265, but got {address!r}: give the head's "
            "dashboard, not the port that nodes join by."
        )
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=CONTACT_SECONDS).close()
    except OSError as error:
        raise ClusterError(
            f"Nothing answers at {address} within {CONTACT_SECONDS} s ({error}). Start the "
            "cluster, correct --address, or open a way to it (kubectl port-forward, ssh -L)."
        ) from error


def _token() -> str | None:
    """Find the token where Ray looks for it, but with an error where Ray ends the process."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named or _DEFAULT_TOKEN).expanduser()
    if not named and not path.exists():
        return None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ClusterError(f"The token file {path} cannot be read ({error}). {_REMEDY}") from error
    if not token:
        raise ClusterError(f"The token file {path} is empty. {_REMEDY}")
    return token


@contextmanager
def _address_counts() -> Iterator[None]:
    # Ray lets these variables win over the address that its client is given.
    kept = {name: os.environ.pop(name) for name in _OWN_ADDRESSES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")

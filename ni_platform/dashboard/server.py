"""The dashboard on a port."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from urllib.parse import urlencode

from ni_platform.dashboard.app import dashboard_app
from ni_platform.dashboard.protection import Protection, is_loopback
from ni_platform.dashboard.studio import Studio
from ni_platform.errors import ConfigError


def serve(
    studio: Studio,
    *,
    host: str,
    port: int,
    token: str | None,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until interrupted; `on_ready` is told the address that opens it.

    Args:
        studio: what is served.
        host: what to listen on. Beyond loopback visitors must know a token.
        port: 0 takes a free one.
        token: the token; drawn where one is needed and none is given.
        on_ready: told the address, token included.

    Raises:
        ConfigError: the port cannot be listened on.
    """
    import uvicorn

    loopback = is_loopback(host)
    if token is None and not loopback:
        token = secrets.token_urlsafe(24)
    app = dashboard_app(studio, Protection(token, loopback))
    name = host.strip("[]")
    listening = _listening(name, port)
    # The address itself is in the log of requests, and with it the token: there is none.
    config = uvicorn.Config(
        app, access_log=False, log_level="warning", server_header=False, lifespan="off"
    )
    # Not an address that anyone could open.
    reached = socket.gethostname() if name in ("0.0.0.0", "::") else name  # noqa: S104
    shown = f"[{reached}]" if ":" in reached else reached
    query = "" if token is None else "?" + urlencode({"token": token})
    on_ready(f"http://{shown}:{listening.getsockname()[1]}/{query}")
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"The dashboard cannot listen on {host}, port {port} ({error.strerror or error}): "
            "choose another --port, or 0 for a free one."
        ) from error

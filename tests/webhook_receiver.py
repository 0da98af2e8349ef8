"""A real HTTP receiver of MLflow's webhooks, which checks what it is sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "shared-with-the-receiver"


@dataclass(frozen=True)
class Receiver:
    """Where webhooks are sent to, and what has come."""

    url: str
    received: queue.Queue = field(default_factory=queue.Queue)

    def next(self) -> dict[str, Any]:
        """Return the next event, once its signature is found to be genuine."""
        headers, body = self.received.get(timeout=60)
        text = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.{body.decode()}"
        digest = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
        expected = f"v1,{base64.b64encode(digest).decode()}"
        assert hmac.compare_digest(headers["X-MLflow-Signature"], expected)
        return json.loads(body)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive for the time of use."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.received.put((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()

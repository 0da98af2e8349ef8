"""A real Ray cluster of one machine that asks for a token."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest

from ni_platform.ray_cluster import quoted_interpreter

TOKEN = "a-token-that-must-not-leak"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class TokenCluster:
    address: str
    token_file: Path
    logs: Path
    """What Ray's own processes write."""
    pid: int
    """Of the process whose descendants all others are."""


@contextmanager
def token_cluster(cpus: int = 2) -> Iterator[TokenCluster]:
    """Start a cluster with ports and a folder of its own, unseen by `ray.init()` of others."""
    if quoted_interpreter():
        pytest.skip(
            "Ray's job server starts jobs through a shell and quotes no path, so there is no "
            "cluster where the environment's folder has a blank in its name"
        )
    # Ray's sockets lie in its folder, and a socket's path is short by law of the kernel.
    folder = Path(tempfile.mkdtemp(prefix="ni", dir="/tmp"))
    token_file = folder / "token"
    token_file.write_text(TOKEN)
    dashboard, *others = _free_ports(4)
    ports = ("dashboard-agent-listen", "metrics-export", "ray-client-server")
    options = [f"--{name}-port={number}" for name, number in zip(ports, others)]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"--num-cpus={cpus}", "--object-store-memory=80000000", "--port=0"]
    command += [f"--dashboard-port={dashboard}", "--min-worker-port=0", "--max-worker-port=0"]
    command += [f"--temp-dir={folder / 'r'}", *options]
    with (folder / "out").open("wb") as output:
        process = subprocess.Popen(
            command,
            env=_environment(token_file),
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{dashboard}"
        _wait_for(address, process, folder / "out")
        logs = folder / "r" / "session_latest" / "logs"
        yield TokenCluster(address=address, token_file=token_file, logs=logs, pid=process.pid)
    finally:
        # The process ends its own: `ray stop` would end every Ray of the machine.
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


class Cable:
    """A way to a cluster that can be cut."""

    def __init__(self, address: str) -> None:
        self._target = ("127.0.0.1", int(address.rsplit(":", 1)[1]))
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End what is open, and open nothing more."""
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(self._target)
                self._ends += [here, there]
                for pair in ((here, there), (there, here)):
                    Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def _environment(token_file: Path) -> dict[str, str]:
    # Whoever runs the tests may have settings that the cluster of this test must not see.
    foreign = ("RAY_", "AWS_", "MLFLOW_", "NI_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return numbers


def _wait_for(address: str, process: subprocess.Popen, output: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{address}/api/version", timeout=2)
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no cluster at {address}:\n{output.read_text()[-3000:]}")

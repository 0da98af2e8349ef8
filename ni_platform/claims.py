"""Who works on what: one process at a time for a run, a table, a registered model, a sweep.

A claim is a file that its process keeps locked, so it ends with the process, however that ends. It
is seen by all processes of a machine, and by machines that mount its folder where that file system
carries locks over. It does not see machines that share only a tracking server: for a run
`tracking/run_claim.py` adds what its record says, for a model `registry/promotion.py` looks again.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ni_platform.errors import BusyError, NiError

SECONDS_FOR_A_LOOK = 2.0
"""How long those who only ask who holds a claim may hold it, at the very most."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a claim."""

    host: str
    pid: int
    since: str
    """ISO 8601, UTC."""

    @classmethod
    def this_process(cls) -> Holder:
        """Return who asks, from now on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(host=socket.gethostname(), pid=os.getpid(), since=now)

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this machine."""
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        return f"process {self.pid} of {self.host} since {self.since}"


@contextmanager
def claimed(
    path: Path,
    what: str,
    *,
    seconds: float = SECONDS_FOR_A_LOOK,
    on_wait: Callable[[str], None] = lambda text: None,
    refusal: type[NiError] = BusyError,
    remedy: str = "wait until it has ended, or end it there",
) -> Iterator[None]:
    """Hold the claim `path` in this process, for the time of use.

    Args:
        path: The file that is locked; it is there only while it is.
        what: What is claimed, as the subject of the message.
        seconds: How long to wait for another process.
        on_wait: Told once, in words, for whom this process waits.
        refusal: The error to raise.
        remedy: What the message tells the user to do.

    Raises:
        NiError: Another process holds it still; a `refusal` that names it.
        OSError: The folder cannot be written, or its file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    since, told = time.monotonic(), False
    while (lock := take(path)) is None:
        text = f"{what} is held by {holder(path) or 'another process'}"
        if time.monotonic() - since > seconds:
            raise refusal(f"{text}: {remedy}")
        if not told and time.monotonic() - since > SECONDS_FOR_A_LOOK:
            told = True
            on_wait(f"{text}; waiting for it")
        time.sleep(0.05)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is locked, so that it is nobody else's
        os.close(lock)


def take(path: Path) -> int | None:
    """Lock a file and write into it who did; the descriptor holds the lock until it is closed.

    Returns None where another process, or another descriptor of this one, holds it.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # Whoever held it before may have removed the file that was opened here.
        if _locked(lock) and path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
            os.ftruncate(lock, 0)
            os.write(lock, json.dumps(asdict(Holder.this_process())).encode())
            return lock
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def holder(path: Path) -> Holder | None:
    """Return who holds the claim `path`; None if nobody does."""
    while True:
        try:
            lock = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            if _locked(lock):
                return None
            return Holder(**json.loads(os.pread(lock, 4096, 0)))
        except ValueError:
            time.sleep(0.01)  # it is locked, and its name is being written
        finally:
            os.close(lock)


def process_lives(pid: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

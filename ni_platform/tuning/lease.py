"""Which machine drives a sweep in S3: an object there, renewed while the driver lives.

S3 has no locks. A driver writes its name, looks again whether it is still its own, and renews it
every few seconds; one that was not renewed for a minute belongs to a dead driver.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from uuid import uuid4

from ni_platform.claims import process_lives
from ni_platform.data import storage
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.tuning.definition import SweepFolder

_log = logging.getLogger(__name__)

SECONDS_BETWEEN_RENEWALS = 10.0
SECONDS_TO_EXPIRE = 60.0
"""Clocks of machines may differ by much less."""

_SECONDS_TO_SETTLE = 1.0
"""Two drivers that start at the same moment: the later one's name stays, and both see it."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who drives a sweep."""

    owner: str
    """A random name, another one for each start of a driver."""
    host: str
    pid: int
    time: float
    """When it was renewed, Unix seconds."""

    @property
    def is_alive(self) -> bool:
        """Whether its driver can still be there."""
        if time.time() - self.time > SECONDS_TO_EXPIRE:
            return False
        return self.host != socket.gethostname() or process_lives(self.pid)


def read_lease(folder: SweepFolder) -> Lease | None:
    """Return who drives, or drove, the sweep; None if it was given back or is not in S3.

    Raises:
        DatasetError: The store cannot be reached, or the object is no lease.

    """
    if folder.mirror is None:
        return None
    try:
        content = storage.read_bytes(_place(folder))
    except storage.MissingFileError:
        return None
    try:
        return Lease(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{_place(folder)} says who drives the sweep, but is {content[:80]!r}; delete it if no "
            "driver of this sweep runs"
        ) from error


def driven_elsewhere(folder: SweepFolder) -> Lease | None:
    """Return the lease of a living driver on another machine, if there is one."""
    lease = read_lease(folder)
    alive = lease is not None and lease.is_alive and lease.host != socket.gethostname()
    return lease if alive else None


@contextmanager
def leased(folder: SweepFolder) -> Iterator[None]:
    """Be the one driver of a sweep in S3, for the time of use; elsewhere files are locked.

    Waits for the lease of a driver that may have died to expire.

    Raises:
        ConfigError: Another driver renews its own.
        DatasetError: The store cannot be reached.

    """
    if folder.mirror is None:
        yield
        return
    mine = _acquired(folder)
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(folder, mine, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if _is_mine(folder, mine):
            storage.delete(_place(folder))


def _acquired(folder: SweepFolder) -> Lease:
    first = lease = read_lease(folder)
    while lease is not None and lease.is_alive:
        if lease != first:
            raise ConfigError(_refusal(folder, lease))
        time.sleep(0.5)
        lease = read_lease(folder)
    mine = Lease(owner=uuid4().hex, host=socket.gethostname(), pid=os.getpid(), time=time.time())
    _write(folder, mine)
    time.sleep(_SECONDS_TO_SETTLE)
    lease = read_lease(folder)
    if lease is not None and lease.owner != mine.owner:
        raise ConfigError(_refusal(folder, lease))
    return mine


def _renew(folder: SweepFolder, mine: Lease, ended: threading.Event) -> None:
    while not ended.wait(SECONDS_BETWEEN_RENEWALS):
        try:
            if _is_mine(folder, mine):
                _write(folder, replace(mine, time=time.time()))
        except Exception:  # noqa: BLE001  # this thread must live, or another driver takes over
            # The mirror, which reads the same object of the same store, tells why.
            _log.debug("the lease of %s was not renewed", folder.place, exc_info=True)


def _is_mine(folder: SweepFolder, mine: Lease) -> bool:
    lease = read_lease(folder)
    return lease is not None and lease.owner == mine.owner


def _write(folder: SweepFolder, lease: Lease) -> None:
    storage.write_bytes(_place(folder), json.dumps(asdict(lease)).encode())


def _place(folder: SweepFolder) -> str:
    return storage.join(folder.place, "lease.json")


def _refusal(folder: SweepFolder, lease: Lease) -> str:
    name = folder.path.name
    return (
        f"a sweep has one driver at a time, but process {lease.pid} of {lease.host} drives "
        f"{name!r} in {folder.place}: end it there by `ni sweep stop {name}`, or, if it was sent "
        "to a cluster, where it was sent from"
    )

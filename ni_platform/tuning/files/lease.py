"""Which machine drives a sweep in S3: an object there, renewed while the driver lives.

A driver writes its name only where nobody else's stands (a conditional write), renews it every few
seconds only while it is still its own, and counts as dead when it was not renewed for a minute.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from uuid import uuid4

from ni_platform.claims import process_lives
from ni_platform.data import storage
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.tuning.config import SweepFolder

_log = logging.getLogger(__name__)

SECONDS_BETWEEN_RENEWALS = 10.0
SECONDS_TO_EXPIRE = 60.0
"""Clocks of machines may differ by much less."""

UNCONDITIONAL = (
    "the store ignores conditional writes (If-None-Match): of two drivers that start in the same "
    "second both may drive the sweep, until the first sees the other's name seconds later; start "
    "one driver only"
)


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
    return None if folder.mirror is None else _read(folder)[0]


def driven_elsewhere(folder: SweepFolder) -> Lease | None:
    """Return the lease of a living driver on another machine, if there is one."""
    lease = read_lease(folder)
    alive = lease is not None and lease.is_alive and lease.host != socket.gethostname()
    return lease if alive else None


@contextmanager
def leased(folder: SweepFolder, say: Callable[[str], None] = _log.warning) -> Iterator[None]:
    """Be the one driver of a sweep in S3, for the time of use; elsewhere files are locked.

    Waits for the lease of a driver that may have died to expire. `say` is told where the store
    cannot keep two drivers apart.

    Raises:
        ConfigError: Another driver renews its own.
        DatasetError: The store cannot be reached.

    """
    if folder.mirror is None:
        yield
        return
    if not storage.keeps_conditions(folder.mirror):
        say(UNCONDITIONAL)
    mine, etag = _acquired(folder)
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(folder, mine, etag, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        lease = read_lease(folder)
        if lease is not None and lease.owner == mine.owner:
            storage.delete(_place(folder))


def _acquired(folder: SweepFolder) -> tuple[Lease, str]:
    """Return this driver's lease and the ETag that it is written under."""
    first, _ = _read(folder)
    while True:
        lease, etag = _read(folder)
        if lease is None or not lease.is_alive:
            mine = Lease(
                owner=uuid4().hex, host=socket.gethostname(), pid=os.getpid(), time=time.time()
            )
            written = storage.write_if(_place(folder), _content(mine), etag)
            if written is not None:
                return mine, written
        elif lease != first:
            raise ConfigError(_refusal(folder, lease))
        else:
            time.sleep(0.5)


def _renew(folder: SweepFolder, mine: Lease, etag: str, ended: threading.Event) -> None:
    while not ended.wait(SECONDS_BETWEEN_RENEWALS):
        try:
            content = _content(replace(mine, time=time.time()))
            written = storage.write_if(_place(folder), content, etag)
            if written is None:
                # Another driver's, which stays; or this one's, whose answer was lost.
                there, found = _read(folder)
                written = found if there is not None and there.owner == mine.owner else None
            etag = written or etag
        except Exception:  # noqa: BLE001  # this thread must live, or another driver takes over
            # The mirror, which reads the same object of the same store, tells why.
            _log.debug("the lease of %s was not renewed", folder.place, exc_info=True)


def _read(folder: SweepFolder) -> tuple[Lease | None, str | None]:
    """Return the lease and its ETag; None and None where there is none."""
    try:
        content, etag = storage.read_with_etag(_place(folder))
    except storage.MissingFileError:
        return None, None
    try:
        return Lease(**json.loads(content)), etag
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{_place(folder)} says who drives the sweep, but is {content[:80]!r}; delete it if no "
            "driver of this sweep runs"
        ) from error


def _content(lease: Lease) -> bytes:
    return json.dumps(asdict(lease)).encode()


def _place(folder: SweepFolder) -> str:
    return storage.join(folder.place, "lease.json")


def _refusal(folder: SweepFolder, lease: Lease) -> str:
    name = folder.path.name
    return (
        f"a sweep has one driver at a time, but process {lease.pid} of {lease.host} drives "
        f"{name!r} in {folder.place}: end it there by `ni sweep stop {name}`, or, if it was sent "
        "to a cluster, where it was sent from"
    )

"""Which process drives a sweep: one at a time, found again from other processes of the machine.

The driver holds one lock from the first look at the sweep's folder to the last model it records,
the keeper another: a keeper outlives a driver that was killed by seconds, in which it may write.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from ni_platform.errors import ConfigError
from ni_platform.tuning.definition import SweepFolder
from ni_platform.tuning.lease import driven_elsewhere

SECONDS_FOR_A_LOOK = 2.0
"""How long those who only ask whether a sweep is running may hold its lock, at the very most."""
SECONDS_FOR_A_DEAD_DRIVER = 30.0
"""How long the keeper of a driver that died may take to notice."""


@contextmanager
def driving(folder: SweepFolder) -> Iterator[None]:
    """Drive the sweep in this process: nobody else can until the block is left or this dies.

    Raises:
        ConfigError: Another process drives this sweep.

    """
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = _take(folder, _driver_lock(folder), SECONDS_FOR_A_LOOK)
    try:
        os.ftruncate(lock, 0)
        os.write(lock, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        os.close(lock)


def claim(folder: SweepFolder) -> int:
    """Let this process keep the sweep; returns a lock, which is gone however the process ends.

    Raises:
        ConfigError: Another process keeps this sweep.

    """
    return _take(folder, folder.path / "keeper.lock", SECONDS_FOR_A_DEAD_DRIVER)


def is_running(folder: SweepFolder) -> bool:
    """Whether some process drives the sweep."""
    path = _driver_lock(folder)
    if not path.exists():
        return False
    lock = os.open(path, os.O_RDWR)
    try:
        return not _locked(lock)
    finally:
        os.close(lock)


def stop_driver(folder: SweepFolder) -> None:
    """Tell the driver to stop after the epochs under way.

    Raises:
        ConfigError: There is no such sweep, it is not running, or its driver is elsewhere.

    """
    name = folder.path.name
    elsewhere = driven_elsewhere(folder)
    if elsewhere is None and not is_running(folder):
        folder.read()
        raise ConfigError(
            f"the sweep {name!r} is not running; there is nothing to stop, and "
            f"`ni sweep resume {name}` goes on with it"
        )
    driver = asdict(elsewhere) if elsewhere else json.loads(_driver_lock(folder).read_text())
    if driver["host"] != socket.gethostname():
        raise ConfigError(
            f"the sweep {name!r} is driven on {driver['host']}; stop it there, or, if it was sent "
            "to a cluster, by its name where it was submitted"
        )
    os.kill(driver["pid"], signal.SIGTERM)


def _driver_lock(folder: SweepFolder) -> Path:
    return folder.path / "driver.lock"


def _take(folder: SweepFolder, path: Path, seconds: float) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + seconds
    while not _locked(lock):
        if time.monotonic() > deadline:
            os.close(lock)
            name = folder.path.name
            raise ConfigError(
                f"the sweep {name!r} is running already; watch it with `ni sweep status {name}`, "
                f"or end it with `ni sweep stop {name}`"
            )
        time.sleep(0.1)
    return lock


def _locked(lock: int) -> bool:
    """Take the lock if it is free."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

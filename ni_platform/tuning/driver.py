"""Which process drives a sweep: one at a time, found again from other processes of the machine."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from dataclasses import asdict

from ni_platform.errors import ConfigError
from ni_platform.tuning.definition import SweepFolder
from ni_platform.tuning.lease import driven_elsewhere, process_lives

SECONDS_FOR_A_DEAD_DRIVER = 30.0
"""How long the processes of a driver that died may take to notice."""


def claim(folder: SweepFolder) -> int:
    """Lock the sweep for this process and return the lock, which is gone however it ends.

    Raises:
        ConfigError: Another process keeps this sweep.

    """
    lock = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + SECONDS_FOR_A_DEAD_DRIVER
    while not _locked(lock):
        if _driver_lives(folder) or time.monotonic() > deadline:
            os.close(lock)
            name = folder.path.name
            raise ConfigError(
                f"the sweep {name!r} is running already; watch it with `ni sweep status {name}`, "
                f"or end it with `ni sweep stop {name}`"
            )
        time.sleep(0.2)
    return lock


def is_running(folder: SweepFolder) -> bool:
    """Whether some process keeps the sweep."""
    path = folder.path / "lock"
    if not path.exists():
        return False
    lock = os.open(path, os.O_RDWR)
    try:
        return not _locked(lock)
    finally:
        os.close(lock)


def note_driver(folder: SweepFolder) -> None:
    """Write down which process drives the sweep; raises ConfigError if another one does."""
    if is_running(folder) and _driver_lives(folder):
        claim(folder)  # says that it is running
    driver = {"pid": os.getpid(), "host": socket.gethostname()}
    (folder.path / "driver.json").write_text(json.dumps(driver))


def stop_driver(folder: SweepFolder) -> None:
    """Tell the driver to stop after the epochs under way.

    Raises:
        ConfigError: There is no such sweep, it is not running, or its driver is elsewhere.

    """
    folder.read()
    name = folder.path.name
    elsewhere = driven_elsewhere(folder)
    if elsewhere is None and not is_running(folder):
        raise ConfigError(f"the sweep {name!r} is not running; there is nothing to stop")
    driver = asdict(elsewhere) if elsewhere else _driver(folder)
    if driver["host"] != socket.gethostname():
        raise ConfigError(
            f"the sweep {name!r} is driven on {driver['host']}; stop it there, or, if it was sent "
            "to a cluster, by its name where it was submitted"
        )
    os.kill(driver["pid"], signal.SIGTERM)


def _driver(folder: SweepFolder) -> dict:
    path = folder.path / "driver.json"
    return json.loads(path.read_text()) if path.exists() else {"pid": 0, "host": ""}


def _driver_lives(folder: SweepFolder) -> bool:
    driver = _driver(folder)
    if driver["host"] != socket.gethostname() or driver["pid"] == os.getpid():
        return False
    return process_lives(driver["pid"])


def _locked(lock: int) -> bool:
    """Take the lock if it is free."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

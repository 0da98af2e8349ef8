"""Which process drives a sweep: one at a time, found again from other processes of the machine.

The driver holds one lock from the first look at the sweep's folder to the last model it records,
the keeper another: a keeper outlives a driver that was killed by seconds, in which it may write.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ni_platform.claims import claimed, holder, take
from ni_platform.errors import ConfigError
from ni_platform.tuning.config import SweepFolder
from ni_platform.tuning.files.lease import driven_elsewhere

SECONDS_FOR_A_DEAD_DRIVER = 30.0
"""How long the keeper of a driver that died may take to notice."""


@contextmanager
def driving(folder: SweepFolder) -> Iterator[None]:
    """Drive the sweep in this process: nobody else can until the block is left or this dies.

    Raises:
        ConfigError: Another process drives this sweep.

    """
    with claimed(
        _driver_lock(folder),
        f"the sweep {folder.path.name!r} is running already: it",
        refusal=ConfigError,
        remedy=_remedy(folder),
    ):
        yield


def claim(folder: SweepFolder) -> int:
    """Let this process keep the sweep; returns a lock, which is gone however the process ends.

    Raises:
        ConfigError: Another process keeps this sweep.

    """
    path, since = folder.path / "keeper.lock", time.monotonic()
    while (lock := take(path)) is None:
        if time.monotonic() - since > SECONDS_FOR_A_DEAD_DRIVER:
            raise ConfigError(
                f"the sweep {folder.path.name!r} is running already: its keeper is "
                f"{holder(path) or 'another process'}: {_remedy(folder)}"
            )
        time.sleep(0.1)
    return lock


def is_running(folder: SweepFolder) -> bool:
    """Whether some process drives the sweep."""
    return holder(_driver_lock(folder)) is not None


def stop_driver(folder: SweepFolder) -> None:
    """Tell the driver to stop after the epochs under way.

    Raises:
        ConfigError: There is no such sweep, it is not running, or its driver is elsewhere.

    """
    name = folder.path.name
    driver = driven_elsewhere(folder) or holder(_driver_lock(folder))
    if driver is None:
        folder.read()
        raise ConfigError(
            f"the sweep {name!r} is not running; there is nothing to stop, and "
            f"`ni sweep resume {name}` goes on with it"
        )
    if driver.host != socket.gethostname():
        raise ConfigError(
            f"the sweep {name!r} is driven on {driver.host}; stop it there, or, if it was sent "
            "to a cluster, by its name where it was submitted"
        )
    os.kill(driver.pid, signal.SIGTERM)


def _driver_lock(folder: SweepFolder) -> Path:
    return folder.path / "driver.lock"


def _remedy(folder: SweepFolder) -> str:
    name = folder.path.name
    return f"watch it with `ni sweep status {name}`, or end it with `ni sweep stop {name}`"

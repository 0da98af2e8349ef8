"""A driver's folder, copied to S3 while it grows.

A thread copies what is new every few seconds. The last object of a growing file is written again
until it is large enough, so that there are neither many objects nor much to write. Only whole lines
and records are copied, and in an order in which no file promises what another one lacks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ni_platform.data import storage
from ni_platform.errors import in_words
from ni_platform.narrowing import given
from ni_platform.tuning.config import SweepFolder
from ni_platform.tuning.files.lease import read_lease
from ni_platform.tuning.files.log_file import whole_bytes
from ni_platform.tuning.files.mirrored_folder import growing, segment, segments
from ni_platform.tuning.files.validation_predictions import ValidationPredictions

_log = logging.getLogger(__name__)

SECONDS_BETWEEN_PUSHES = 10.0
SEGMENT_BYTES = 2**20
"""An object of a growing file that has so many is not written again."""


class Mirror:
    """Copies a driver's folder to S3; `start` and `finish` run it as a thread."""

    def __init__(
        self,
        folder: SweepFolder,
        *,
        on_trouble: Callable[[str], None] = _log.warning,
        on_lost: Callable[[str], None] = _log.error,
    ) -> None:
        """Go on behind what is in S3, which `fetch` has compared with the folder.

        Args:
            folder: The sweep's.
            on_trouble: Told once when nothing can be copied, and why; and when it can again.
            on_lost: Told when another driver has taken the sweep; nothing is copied from then on.

        Raises:
            DatasetError: The store cannot be reached.

        """
        self._folder, self._place = folder, given(folder.mirror)
        self._on_trouble, self._on_lost = on_trouble, on_lost
        lease = read_lease(folder)
        self._owner = lease and lease.owner
        stamps = storage.object_stamps(self._place)
        self._sent = {path: _end(path, stamps) for path in growing(folder)}
        self._open = {path: _open_segment(path, stamps) for path in growing(folder)}
        self._all_sent = False
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    @property
    def log_bytes(self) -> int:
        """How much of the log is in S3, and so survives this machine."""
        return self._sent[self._folder.log]

    def start(self) -> None:
        """Begin to copy, in a thread."""
        self._thread.start()

    def finish(self, seconds: float) -> bool:
        """Copy what is left and end the thread; whether all is in S3 within `seconds`."""
        self._finishing.set()
        self._thread.join(seconds)
        return self._all_sent

    def push(self) -> None:
        """Copy what is new.

        Raises:
            DatasetError: The store cannot be reached. Nothing is lost: call it again.
            TakenOverError: Another driver has the sweep.

        """
        lease = read_lease(self._folder)
        if lease is not None and lease.owner != self._owner:
            raise TakenOverError(f"{lease.host} (process {lease.pid}) drives the sweep now")
        # Of a trial that ended by the log, the predictions are there too: measured before them,
        # the log is sent behind them.
        whole = {path: _whole(path) for path in reversed(growing(self._folder))}
        for path in growing(self._folder):
            self._push_growing(path, whole[path])

    def _push_growing(self, path: Path, size: int) -> None:
        if size <= self._sent[path]:
            return
        start = self._open[path]
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(size - start)
        storage.write_bytes(storage.join(self._place, segment(path, start)), content)
        self._sent[path] = size
        if len(content) >= SEGMENT_BYTES:
            self._open[path] = size

    def _run(self) -> None:
        troubled = False
        while True:
            finishing = self._finishing.is_set()
            try:
                self.push()
            except TakenOverError as error:
                self._on_lost(str(error))
                return
            except Exception as error:  # noqa: BLE001  # whatever it is, this thread must live
                if not troubled:
                    self._on_trouble(f"results wait in {self._folder.path}: {in_words(error)}")
                troubled, finishing = True, False
                time.sleep(1.0)
            else:
                if troubled:
                    self._on_trouble(f"{self._place} answers again")
                troubled = False
            if finishing:
                self._all_sent = True
                return
            self._finishing.wait(SECONDS_BETWEEN_PUSHES)


class TakenOverError(Exception):
    """Another driver has the sweep."""


def _whole(path: Path) -> int:
    """Bytes of a growing file that will never change."""
    if not path.exists():
        return 0
    if path.suffix == ".predictions":
        return ValidationPredictions(path=path).whole_bytes()
    return whole_bytes(path)


def _end(path: Path, stamps: Mapping[str, str]) -> int:
    found = segments(path, stamps)
    return found[-1][1] if found else 0


def _open_segment(path: Path, stamps: Mapping[str, str]) -> int:
    """Where the object begins that is written next."""
    found = segments(path, stamps)
    if not found:
        return 0
    begin, end = found[-1]
    return end if end - begin >= SEGMENT_BYTES else begin

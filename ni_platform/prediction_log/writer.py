"""Predictions of a server into a log, beside its requests: none waits for it, none fails by it."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa

from ni_platform.prediction_log.table import DROPPED, SCHEMA, write_part

ROWS = 1_000
"""A part is written when so many rows have gathered, or the first of them is `SECONDS` old."""
SECONDS = 5.0
MOST_ROWS = 20_000
"""Rows that are held in memory at most, waiting or gathered; further ones are dropped."""
MOST_BYTES = 256 * 2**20
"""Texts and pictures of the requests that wait at most."""
_WARN_SECONDS = 60.0
_CLOSE_SECONDS = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a model was asked in one call, and what it answered."""

    frame: pd.DataFrame
    """N inputs; nobody may change it afterwards."""
    predictions: np.ndarray
    """Success rates [N]."""
    identity: str = field(default_factory=lambda: uuid4().hex)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def size(self) -> int:
        """Bytes of its pictures and characters of its texts."""
        cells = (cell for name in self.frame for cell in self.frame[name])
        return sum(len(cell) for cell in cells if isinstance(cell, str | bytes))


class PredictionWriter:
    """Takes requests without delay; one thread makes rows of them and writes them in parts.

    The thread starts with the first request, in the process that serves: after a fork each process
    has its own. What cannot be held, made into rows or written is dropped, counted in the next part
    (`table.dropped`) and told by a warning, once a minute at most. A part that cannot be written is
    kept and tried again. At the process' end what is left is written, for ten seconds at most.
    """

    def __init__(
        self,
        place: str,
        rows_of: Callable[[Request], pa.Table],
        *,
        rows: int = ROWS,
        seconds: float = SECONDS,
        most_rows: int = MOST_ROWS,
    ) -> None:
        """Start nothing yet.

        Args:
            place: Folder or `s3://` prefix of the log.
            rows_of: Makes rows of the log's schema; called in the thread, and may be slow or raise.
            rows: That make a part.
            seconds: After which a part is written that has fewer, and one tried again that failed.
            most_rows: That are held at most.
        """
        self._place = place
        self._rows_of = rows_of
        self._rows, self._seconds, self._most_rows = rows, seconds, most_rows
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.close)

    def _begin(self) -> None:
        """Hold nothing: what was held before a fork is the parent's to write."""
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Request, int]] = deque()
        self._waiting_bytes = 0
        self._held = 0
        self._dropped = self._untold = 0
        self._warn_after = 0.0
        self._thread: threading.Thread | None = None
        self._closing = False
        # The thread's own.
        self._gathered: list[pa.Table] = []
        self._gathered_rows = 0
        self._due: float | None = None
        self._failing = False

    def put(self, request: Request) -> None:
        """Take a request; where there is no room for its rows, drop and count them."""
        rows, size = len(request.frame), request.size
        with self._changed:
            room = self._held + rows <= self._most_rows and self._waiting_bytes + size <= MOST_BYTES
            if room and not self._closing:
                self._held += rows
                self._waiting_bytes += size
                self._waiting.append((request, size))
            else:
                self._dropped += rows
                self._untold += rows
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._work, name="prediction log")
                self._thread.daemon = True
                self._thread.start()
            self._changed.notify()
        if not room:
            self._tell("more is asked than can be written")

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Write what is left, within some seconds; what comes after is not logged."""
        atexit.unregister(self.close)
        with self._changed:
            self._closing = True
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(seconds)
        with self._changed:
            left = self._held + self._dropped
        if left:
            _log.warning("At its end, %d predictions are not logged in %s.", left, self._place)

    def _work(self) -> None:
        last = False
        while not last:
            with self._changed:
                self._changed.wait_for(self._has_work, self._pause())
                request, size = self._waiting.popleft() if self._waiting else (None, 0)
                self._waiting_bytes -= size
                last = self._closing and not self._waiting
            if request is not None:
                self._gather(request)
            if self._due is None and (self._gathered_rows or self._dropped):
                self._due = time.monotonic() + self._seconds
            # A place that has just failed is not asked again at once.
            whole = self._gathered_rows >= self._rows and not self._failing
            if self._due is not None and (last or whole or self._pause() == 0):
                self._write()

    def _has_work(self) -> bool:
        unplanned = self._dropped > 0 and self._due is None
        return bool(self._waiting) or self._closing or unplanned

    def _pause(self) -> float | None:
        """Seconds until something is to be written; None where nothing is."""
        return None if self._due is None else max(0.0, self._due - time.monotonic())

    def _gather(self, request: Request) -> None:
        rows = len(request.frame)
        try:
            self._gathered.append(self._rows_of(request))
            self._gathered_rows += rows
        except Exception as error:  # noqa: BLE001  # the thread must go on, whatever a row holds
            with self._changed:
                self._held -= rows
                self._dropped += rows
                self._untold += rows
            self._tell(f"{type(error).__name__}: {error}")

    def _write(self) -> None:
        with self._changed:
            dropped = self._dropped
        part = pa.concat_tables([SCHEMA.empty_table(), *self._gathered])
        try:
            if len(part) or dropped:
                write_part(self._place, part.replace_schema_metadata({DROPPED: str(dropped)}))
        except Exception as error:  # noqa: BLE001  # whatever is wrong with the place may be mended
            self._failing = True
            self._due = time.monotonic() + self._seconds
            self._tell(str(error))
            return
        with self._changed:
            self._held -= self._gathered_rows
            self._dropped -= dropped
        self._gathered, self._gathered_rows = [], 0
        self._due, self._failing = None, False

    def _tell(self, reason: str) -> None:
        """Warn, once a minute at most."""
        with self._changed:
            if time.monotonic() < self._warn_after:
                return
            self._warn_after = time.monotonic() + _WARN_SECONDS
            dropped, self._untold = self._untold, 0
            held = self._held
        _log.warning(
            "Predictions cannot be logged in %s (%s): %d were dropped since the last such message, "
            "%d wait.",
            self._place,
            reason,
            dropped,
            held,
        )

"""A file that only grows, in which Optuna's journal storage keeps a study."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from ni_platform.errors import ConfigError
from ni_platform.narrowing import given


class LogFile(BaseJournalBackend):
    """One JSON object a line, in the format of Optuna's `JournalFileBackend`, which reads it too.

    One process appends, any number read. Optuna's own backend waits for the disk with every line,
    remembers where each line begins, and goes on behind a line that a crash cut off, after which
    nobody can read the file.

    A line is in the operating system's hands when `append_logs` returns, so a process that is
    killed loses nothing; it is on disk after `sync`. A last line that was cut off is never read,
    and makes room for the next one.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        """Open the file; without it there is nothing to read, and for writing it is made."""
        self._path = path
        self._lines_read, self._bytes_read = 0, 0
        self._file: FileIO | None = None
        self._ends_whole = False
        """Whether the last line is known to be a whole one."""
        if writable:
            self._file = path.open("a+b", buffering=0)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines down: all of them, or with an error none."""
        file = given(self._file)
        if not self._ends_whole:
            file.truncate(whole_bytes(self._path))
            self._ends_whole = True
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        end = file.seek(0, os.SEEK_END)
        try:
            if file.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        except BaseException:
            file.truncate(end)
            raise

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield each whole line from this number on.

        Raises:
            ConfigError: A line is no JSON.
        """
        if log_number_from != self._lines_read:
            self._lines_read, self._bytes_read = 0, 0
        for line in BytesIO(self._unread()):
            if not line.endswith(b"\n"):
                return
            self._lines_read += 1
            self._bytes_read += len(line)
            if self._lines_read > log_number_from:
                yield self._parsed(line)

    def _unread(self) -> bytes:
        if self._file is not None:
            self._file.seek(self._bytes_read)
            return self._file.read()
        if not self._path.exists():
            return b""
        with self._path.open("rb") as file:
            file.seek(self._bytes_read)
            return file.read()

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            log: dict[str, Any] = json.loads(line.decode())
        except ValueError as error:
            raise ConfigError(
                f"each line of a sweep's log is a JSON object, but line {self._lines_read} of "
                f"{self._path} is {line[:40]!r}; restore the file from a copy, or start the sweep "
                "again under another name"
            ) from error
        return log

    def sync(self) -> None:
        """Let what was appended survive a loss of power."""
        os.fsync(given(self._file).fileno())

    def close(self) -> None:
        """Sync and close the file, once it was opened for writing."""
        self.sync()
        given(self._file).close()


def whole_bytes(path: Path) -> int:
    """Return the bytes of a file up to and including its last line break."""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        while position:
            start = max(0, position - 65536)
            file.seek(start)
            found = file.read(position - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            position = start
    return 0

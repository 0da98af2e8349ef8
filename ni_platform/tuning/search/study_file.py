"""An Optuna study in a file that only ever grows, one line per ended trial."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from ni_platform.errors import ConfigError
from ni_platform.tuning.search.quiet import quiet

_LINES_AT_ONCE = 500
_BLOCK = 1 << 16


class StudyFile:
    """The file of Optuna's `JournalFileBackend`, written and read a few trials at a time.

    Optuna's own storage keeps every trial that it has read or written in memory. Here it sees
    only the line that creates the study and the trials at hand, so memory does not grow; what a
    line holds stays Optuna's affair. The study's trial numbers are the order of ends.

    One process writes, and a second one is refused. A trial is in the operating system's hands
    when `append` returns (a killed process loses nothing), and on disk after `flush`. A last line
    that was cut off is dropped when the file is opened.

    Raises:
        ConfigError: The file holds another study, is no study, or is open elsewhere.
    """

    def __init__(self, path: Path, *, name: str, lower_is_better: bool) -> None:
        self.path = path
        direction = StudyDirection.MINIMIZE if lower_is_better else StudyDirection.MAXIMIZE
        path.parent.mkdir(parents=True, exist_ok=True)
        # Held until `close` or the end of the process. Optuna's own lock is the file's name with
        # `.lock`, and its writers, such as the dashboard's notes, are welcome.
        self._lock = FileLock(f"{path}.writer", thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(
                f"One process at a time writes a study, but another one has {path} open. "
                "Wait for it to end, or stop it."
            ) from error
        self._file = path.open("ab")
        try:
            self._header = self._opened(name, direction)
        except ConfigError:
            self.close()
            raise

    def append(self, trial: FrozenTrial) -> None:
        """Add an ended trial."""
        lines = _Lines([self._header])
        JournalStorage(lines).create_new_trial(0, template_trial=trial)
        self._write(lines.written)

    def flush(self) -> None:
        """Return when everything that was appended is on disk. May be called from a thread."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush, close the file and let others write it."""
        self.flush()
        self._file.close()
        self._lock.release()

    def trials(self) -> Iterator[FrozenTrial]:
        """Read the trials in the file, in the order of their ends."""
        with self.path.open("rb") as file:
            file.readline()
            while chunk := list(islice(file, _LINES_AT_ONCE)):
                lines = _Lines([self._header, *(json.loads(line) for line in chunk)])
                yield from JournalStorage(lines).get_all_trials(0, deepcopy=False)

    def _opened(self, name: str, direction: StudyDirection) -> dict[str, Any]:
        """The line that creates the study, written where it is not there."""
        _drop_torn_end(self.path)
        with self.path.open("rb") as file:
            first = file.readline()
        if first:
            header = _header(self.path, first)
            _check(self.path, header, name=name, direction=direction)
            return header
        lines = _new_study(name, direction)
        self._write(lines.written)
        return lines.logs[0]

    def _write(self, text: bytes) -> None:
        self._file.write(text)
        self._file.flush()


class _Lines(BaseJournalBackend):
    """A journal in memory: what it began with, and as text what was added."""

    def __init__(self, logs: list[dict[str, Any]]) -> None:
        self.logs = logs
        self.written = b""

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        for log in logs:
            line = json.dumps(log, separators=(",", ":")).encode()
            self.written += line + b"\n"
            self.logs.append(json.loads(line))  # what a reader of the file will see


def _drop_torn_end(path: Path) -> None:
    """Cut the file after its last whole line."""
    with path.open("r+b") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def _new_study(name: str, direction: StudyDirection) -> _Lines:
    lines = _Lines([])
    with quiet():
        JournalStorage(lines).create_new_study([direction], name)
    return lines


def _header(path: Path, line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
        JournalStorage(_Lines([header])).get_study_name_from_id(0)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"A study's file begins with the line that creates the study, but {path} does not. "
            "Name another file, or move this one away."
        ) from error
    return header


def _check(path: Path, header: dict[str, Any], *, name: str, direction: StudyDirection) -> None:
    storage = JournalStorage(_Lines([header]))
    there = storage.get_study_name_from_id(0)
    if there != name:
        raise ConfigError(
            f"A file holds one study, and {path} holds {there!r}, not {name!r}. "
            "Name another file, or the study by its name."
        )
    if storage.get_study_directions(0) != [direction]:
        raise ConfigError(
            f"A study keeps its direction, and {name!r} in {path} is not to "
            f"{direction.name.lower()}. Give the new search another name and file."
        )

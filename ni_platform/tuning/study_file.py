"""An Optuna study in a file that only ever grows, one line per ended trial."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from optuna.logging import WARNING, get_verbosity, set_verbosity
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from ni_platform.errors import ConfigError

_LINES_AT_ONCE = 500


class StudyFile:
    """The file of Optuna's `JournalFileBackend`, written and read a few trials at a time.

    Optuna's own storage keeps every trial that it has read or written in memory. Here it sees
    only the line that creates the study and the trials at hand, so memory does not grow; what a
    line holds stays Optuna's affair. The study's trial numbers are the order of ends.

    One process writes. A trial is in the operating system's hands when `append` returns (a killed
    process loses nothing), and on disk after `flush`. A last line that was cut off is dropped
    when the file is opened.

    Raises:
        ConfigError: The file holds another study, or is no study.
    """

    def __init__(self, path: Path, *, name: str, lower_is_better: bool) -> None:
        self.path = path
        direction = StudyDirection.MINIMIZE if lower_is_better else StudyDirection.MAXIMIZE
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        _drop_torn_end(self._file.fileno())
        self._file.seek(0)
        first = self._file.readline()
        if not first:
            self._header = _new_study(name, direction)
            self._write([self._header])
        else:
            self._header = _header(path, first)
            _check(path, self._header, name=name, direction=direction)

    def append(self, trial: FrozenTrial) -> None:
        """Add an ended trial."""
        lines = _Lines([self._header])
        JournalStorage(lines).create_new_trial(0, template_trial=trial)
        self._write(lines.logs[1:])

    def flush(self) -> None:
        """Return when everything that was appended is on disk. May be called from a thread."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush, and close the file."""
        self.flush()
        self._file.close()

    def trials(self) -> Iterator[FrozenTrial]:
        """Read the trials in the file, in the order of their ends."""
        with self.path.open("rb") as file:
            file.readline()
            while chunk := list(islice(file, _LINES_AT_ONCE)):
                lines = _Lines([self._header, *(json.loads(line) for line in chunk)])
                yield from JournalStorage(lines).get_all_trials(0, deepcopy=False)

    def _write(self, logs: Iterable[dict[str, Any]]) -> None:
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        # Unbuffered and in append mode: one call of the operating system, at the end of the file.
        self._file.write(text.encode())


class _Lines(BaseJournalBackend):
    """A journal in memory."""

    def __init__(self, logs: list[dict[str, Any]]) -> None:
        self.logs = logs

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        # What Optuna reads back is what a reader of the file will see.
        self.logs.extend(json.loads(json.dumps(logs)))


def _drop_torn_end(file: int) -> None:
    """Cut the file after its last whole line."""
    size = os.fstat(file).st_size
    end, block = size, 1 << 16
    while end:
        start = max(0, end - block)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)


def _new_study(name: str, direction: StudyDirection) -> dict[str, Any]:
    lines = _Lines([])
    verbosity = get_verbosity()
    set_verbosity(WARNING)  # or Optuna says on standard error what our caller knows
    try:
        JournalStorage(lines).create_new_study([direction], name)
    finally:
        set_verbosity(verbosity)
    return lines.logs[0]


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

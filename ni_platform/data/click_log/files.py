"""Which files are a log."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ni_platform.data import storage
from ni_platform.data.reading.packed import PACKED, without_packing
from ni_platform.errors import DatasetError

_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
_ENDINGS = f"{', '.join(_SUFFIXES)}, or one of them and {', '.join(PACKED)}"


def log_files(logs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the files that paths, folders and prefixes name, and those that were passed over.

    A file that is named itself may have any name. The latter are files of a folder with another
    suffix, or hidden as Spark hides what it has not finished: a name on the way that starts with
    `.` or `_`. Raises DatasetError where nothing is left, or where a file would count twice.
    """
    files: list[str] = []
    passed_over: list[str] = []
    for source in logs:
        if os.path.isfile(source) or (_is_log(source) and not os.path.isdir(source)):
            files.append(source)
            continue
        names = storage.list_files(source)
        found = [name for name in names if _is_log(name) and not _is_hidden(name)]
        if not found:
            raise DatasetError(
                f"{source} holds no log: files of a folder must end in {_ENDINGS}; others "
                "can be named one by one."
            )
        files += [storage.join(source, name) for name in found]
        passed_over += [storage.join(source, name) for name in names if name not in set(found)]
    _check_once(files)
    return files, passed_over


def _is_log(name: str) -> bool:
    return without_packing(name).endswith(_SUFFIXES)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)


def _check_once(files: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for file in files:
        place = file if storage.is_remote(file) else str(Path(file).resolve())
        if place in seen:
            raise DatasetError(
                f"A file of the log counts once, but {seen[place]} and {file} are the same: name "
                "it once."
            )
        seen[place] = file

"""The copy that this machine has of a sweep that lies in S3, and how it is made.

A file that only grows is kept there as objects named by the byte that they begin at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from ni_platform.data import storage
from ni_platform.errors import DatasetError
from ni_platform.tuning.config import SweepFolder

_WHOLE_FILES = ("promotion.json", "sweep.json")
"""Small files; the definition comes last, as a sweep exists from then on."""


def fetch(folder: SweepFolder) -> None:
    """Bring this machine's copy of a sweep in S3 up to date; elsewhere there is nothing to do.

    What this machine has beyond S3 stays, as long as it goes on from what is there. Not for others
    than the driver while it runs here: its copy is ahead.

    Raises:
        DatasetError: The store cannot be reached, or lacks a part of a file.

    """
    if folder.mirror is None:
        return
    stamps = storage.object_stamps(folder.mirror)
    if folder.definition.name not in stamps:
        return
    with notes(folder) as known:
        for path in reversed(growing(folder)):
            _fetch_growing(folder, path, stamps, known)
        for name in _WHOLE_FILES:
            if name in stamps:
                download(folder, name, folder.path / name)


def send(folder: SweepFolder, path: Path) -> None:
    """Copy a small file of the sweep's folder to S3, if that is where the sweep is."""
    if folder.mirror is not None:
        storage.upload(path, storage.join(folder.mirror, path.name))


def growing(folder: SweepFolder) -> tuple[Path, ...]:
    """Return the files that only grow. Each follows from those before it."""
    return folder.predictions, folder.log


def segment(path: Path, start: int) -> str:
    """Return the name of the object with the bytes of a growing file from `start` on."""
    return f"{path.name}/{start:012d}"


def segments(path: Path, stamps: Mapping[str, str]) -> list[tuple[int, int]]:
    """Begin and end of each object of a growing file, in order."""
    begins = sorted(
        int(name.rpartition("/")[2]) for name in stamps if name.startswith(f"{path.name}/")
    )
    sizes = [int(stamps[segment(path, begin)].partition("-")[0]) for begin in begins]
    return [(begin, begin + size) for begin, size in zip(begins, sizes)]


def _fetch_growing(
    folder: SweepFolder, path: Path, stamps: Mapping[str, str], notes: dict[str, str]
) -> None:
    """Make a growing file go on from what is in S3."""
    path.touch()
    with path.open("r+b") as file:
        size, expected = path.stat().st_size, 0
        for begin, end in segments(path, stamps):
            name = segment(path, begin)
            if begin != expected:
                raise DatasetError(
                    f"{path.name} of the sweep in {folder.place} continues at byte {begin}, but "
                    f"what is before it ends at {expected}: restore the missing objects, or start "
                    "a new sweep"
                )
            expected = end
            if notes.get(name) == stamps[name] and size >= end:
                continue
            content = storage.read_bytes(storage.join(folder.place, name))
            file.seek(begin)
            if file.read(len(content)) != content:
                file.seek(begin)
                file.truncate()
                file.write(content)
                size = begin + len(content)
            notes[name] = stamps[name]


def download(folder: SweepFolder, name: str, path: Path) -> None:
    """Copy a file of the sweep from S3; it is there whole or not at all."""
    partial = path.with_name(f"{path.name}.fetched")
    storage.download(storage.join(folder.place, name), partial)
    partial.replace(path)


@contextmanager
def notes(folder: SweepFolder) -> Iterator[dict[str, str]]:
    """Give the stamps of objects that this machine has, one process at a time."""
    folder.path.mkdir(parents=True, exist_ok=True)
    path = folder.path / "fetched.json"
    with FileLock(f"{path}.lock"):
        notes: dict[str, str] = (
            json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        )
        try:
            yield notes
        finally:
            storage.write_bytes(path, json.dumps(notes).encode())

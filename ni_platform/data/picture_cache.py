"""Pictures of a dataset on S3, kept on this machine's disk within a bound.

Epochs read every picture again; what is kept costs no request at all. That it is still the
object's content follows from the dataset's listing: `watch` notes a prefix, the first read below
it lists the objects once, and a picture is kept under its URI, size and ETag. So an object that
was changed is fetched anew by whoever opens the dataset after the change, and a run sees the
pictures as they were when it began.

`NI_CACHE_DIR` (default `~/.cache/ni_platform/pictures`) names the folder, `NI_CACHE_GB` (default
10; 0 keeps nothing) the bound. Processes share both.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path

from filelock import FileLock, Timeout

from ni_platform.data import storage
from ni_platform.errors import ConfigError

_LOW_WATER = 0.9
"""Share of the bound that making room goes down to: looking at every file is not for each one."""
_LOCK_SECONDS = 30

_log = logging.getLogger(__name__)
_listings: dict[str, Listing] = {}


class Listing:
    """The objects below an `s3://` prefix as they were at the first question."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix.rstrip("/") + "/"
        self._lock = threading.Lock()

    @cached_property
    def _stamps(self) -> Mapping[str, str]:
        return storage.object_stamps(self.prefix)

    def stamp(self, uri: str) -> str | None:
        """Size and ETag of an object; None if it was not there."""
        with self._lock:  # several loader threads ask at once, one lists
            return self._stamps.get(uri.removeprefix(self.prefix))


def watch(prefix: str) -> Listing:
    """Let pictures below an `s3://` prefix be kept from now on, by a listing of its own."""
    listing = Listing(prefix)
    _listings[listing.prefix] = listing
    return listing


def read_picture(uri: str) -> bytes:
    """Return an object's content, from this machine where it is kept. Raises as `read_bytes`."""
    stamp = next(
        (known.stamp(uri) for prefix, known in list(_listings.items()) if uri.startswith(prefix)),
        None,
    )
    if stamp is None:  # of no dataset, or added after it was opened
        return storage.read_bytes(uri)
    cache = _cache_of(*_settings())
    kept = cache.get(uri, stamp)
    if kept is not None:
        return kept
    data, found = storage.read_with_stamp(uri)
    # What came is kept as what it is, even if the object changed since the listing.
    cache.put(uri, found, data)
    return data


class PictureCache:
    """A folder of files that together never exceed `max_bytes`; the least recently used go first.

    Safe for threads and processes: files appear whole, a lock serves whoever adds one, and reading
    needs none. Where the disk is full or cannot be written, it keeps nothing more and says so once.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._writable = max_bytes > 0

    def get(self, uri: str, stamp: str) -> bytes | None:
        """Return what is kept of `uri` as of `stamp`, and count it as used now."""
        path = self._path(uri, stamp)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:  # not kept, or just removed by another process
            return None
        # A disk that lost power may have kept the name and not the bytes.
        return data if len(data) == int(stamp.partition("-")[0]) else None

    def put(self, uri: str, stamp: str, data: bytes) -> None:
        """Keep the content of `uri` as of `stamp`; other files make room."""
        if not self._writable or len(data) > self.max_bytes * _LOW_WATER:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=_LOCK_SECONDS):
                self._add(self._path(uri, stamp), data)
        except (OSError, Timeout) as error:
            self._writable = False
            _log.warning("pictures are not kept in %s from now on: %s", self.folder, error)

    def _add(self, path: Path, data: bytes) -> None:
        if path.exists():
            return
        total = self._total()
        if total + len(data) > self.max_bytes:
            total = self._make_room(len(data))
        # Counted first: a process that dies here leaves the sum too large, never too small.
        (self.folder / ".bytes").write_text(str(total + len(data)), encoding="utf-8")
        path.parent.mkdir(exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=self.folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(unfinished, path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise

    def _total(self) -> int:
        try:
            return int((self.folder / ".bytes").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return sum(size for _, size, _ in self._files())

    def _make_room(self, wanted: int) -> int:
        """Remove the files that were used longest ago; return the bytes that are left."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total + wanted <= self.max_bytes * _LOW_WATER:
                break
            path.unlink(missing_ok=True)
            total -= size
        return total

    def _files(self) -> list[tuple[int, int, Path]]:
        """When each file was used last (ns), its bytes and its path; half-written ones are gone."""
        for abandoned in self.folder.glob(".new-*"):  # only the lock's holder writes
            abandoned.unlink(missing_ok=True)
        found = []
        for path in self.folder.glob("??/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        return found

    def _path(self, uri: str, stamp: str) -> Path:
        key = hashlib.sha256(f"{uri}\n{stamp}".encode()).hexdigest()
        return self.folder / key[:2] / key[2:]


@lru_cache(maxsize=4)
def _cache_of(folder: str, max_bytes: int) -> PictureCache:
    return PictureCache(Path(folder), max_bytes)


def _settings() -> tuple[str, int]:
    folder = os.environ.get("NI_CACHE_DIR") or "~/.cache/ni_platform/pictures"
    given = os.environ.get("NI_CACHE_GB") or "10"
    try:
        max_bytes = int(float(given) * 1e9)
    except (ValueError, OverflowError):
        max_bytes = -1
    if max_bytes < 0:
        raise ConfigError(
            f"NI_CACHE_GB must be a number of gigabytes, 0 or more, but got {given!r}."
        )
    return str(Path(folder).expanduser()), max_bytes

"""One extractor over many pictures or texts: in parallel, and only what the store lacks."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field

from ni_platform.data.attributes.extractor import Extractor, Unreadable, Value
from ni_platform.data.attributes.store import AttributeStore
from ni_platform.errors import DatasetError, ImageError

_READ_AT_ONCE = 64
_READERS = 16
_AHEAD = 2
"""Batches under way per worker, so that none waits for the reading."""

OnItem = Callable[[int, int], None]
"""Told how many items are done, and of how many."""


@dataclass(kw_only=True)
class Extraction:
    """What an extractor found in named items."""

    version: str
    values: dict[str, Value] = field(default_factory=dict)
    """By item; an unreadable one has None."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Reason, by item."""
    computed: int = 0
    """Distinct contents that the extractor was run on."""
    from_store: int = 0
    """Distinct contents whose value was known."""
    seconds: float = 0.0


def run_extractor(
    extractor: Extractor,
    items: Sequence[str],
    read: Callable[[str], bytes],
    store: AttributeStore,
    *,
    workers: int = 1,
    batch_size: int = 4,
    on_item: OnItem = lambda done, total: None,
) -> Extraction:
    """Find the value of each distinct item: in the store, or by extraction, which is then stored.

    Each batch is stored when it is done, so that an interrupted run goes on where it stopped.

    Args:
        extractor: Given batches of bytes.
        items: Names of pictures, or texts; distinct.
        read: Gives an item's bytes; an `ImageError` makes the item unreadable.
        store: Of earlier runs.
        workers: Processes; 1 stays in this one.
        batch_size: Items that the extractor gets at once.
        on_item: Told of progress.

    Raises:
        DatasetError: A worker died, or the store or a remote place of pictures fails.
    """
    started = time.perf_counter()
    with _pool(workers) as pool:
        run = _Run(extractor, store, pool, batch_size, most_under_way=_AHEAD * workers)
        for contents in _read_all(items, read, run.result.unreadable):
            run.add(contents)
            on_item(run.done, len(items))
        while run.waiting or run.under_way:
            run.go_on()
            on_item(run.done, len(items))
    result = run.finished()
    result.seconds = time.perf_counter() - started
    return result


class _Run:
    """What is known, waiting and under way of one extractor's items."""

    def __init__(
        self,
        extractor: Extractor,
        store: AttributeStore,
        pool: Executor,
        batch_size: int,
        most_under_way: int,
    ) -> None:
        self.result = Extraction(version=extractor.version)
        self.waiting: list[tuple[str, bytes]] = []
        """Digest and bytes."""
        self.under_way: dict[Future[list[Value | Unreadable]], list[str]] = {}
        """Digests of each batch."""
        self._extractor, self._store, self._pool = extractor, store, pool
        self._batch_size, self._most_under_way = batch_size, most_under_way
        self._items_of: dict[str, list[str]] = {}
        self._known: dict[str, Value | Unreadable] = {}
        self._items_known = 0

    @property
    def done(self) -> int:
        """Number of items whose value is known, or known not to be."""
        return self._items_known + len(self.result.unreadable)

    def add(self, contents: Sequence[tuple[str, str, bytes]]) -> None:
        """Take in items with digest and bytes: look them up, and submit full batches of others."""
        fresh = {digest: data for _, digest, data in contents if digest not in self._items_of}
        for item, digest, _ in contents:
            self._items_of.setdefault(digest, []).append(item)
            self._items_known += digest in self._known
        stored = self._store.get(self._extractor, list(fresh))
        self._learn(stored)
        self.result.from_store += len(stored)
        self.waiting += [(digest, data) for digest, data in fresh.items() if digest not in stored]
        while len(self.waiting) >= self._batch_size:
            self.go_on()

    def go_on(self) -> None:
        """Submit one waiting batch once there is room, or else take in what is done next."""
        if self.waiting and len(self.under_way) < self._most_under_way:
            batch = self.waiting[: self._batch_size]
            self.waiting = self.waiting[self._batch_size :]
            future = self._pool.submit(self._extractor.extract, [data for _, data in batch])
            self.under_way[future] = [digest for digest, _ in batch]
            return
        for future in wait(self.under_way, return_when=FIRST_COMPLETED).done:
            found = dict(zip(self.under_way.pop(future), future.result()))
            self._store.put(self._extractor, found)
            self._learn(found)
            self.result.computed += len(found)

    def _learn(self, values: Mapping[str, Value | Unreadable]) -> None:
        self._known.update(values)
        self._items_known += sum(len(self._items_of[digest]) for digest in values)

    def finished(self) -> Extraction:
        """Give every item its value."""
        for digest, value in self._known.items():
            for item in self._items_of[digest]:
                if isinstance(value, Unreadable):
                    self.result.unreadable[item] = value.reason
                else:
                    self.result.values[item] = value
        self.result.values |= dict.fromkeys(self.result.unreadable)
        return self.result


def available_workers() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read_all(
    items: Sequence[str], read: Callable[[str], bytes], unreadable: dict[str, str]
) -> Iterator[list[tuple[str, str, bytes]]]:
    """Name, SHA-256 and bytes of readable items, some at a time; the others get their reason."""

    def attempt(item: str) -> bytes | Unreadable:
        try:
            return read(item)
        except ImageError as error:
            return Unreadable(str(error))

    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(items), _READ_AT_ONCE):
            some = items[start : start + _READ_AT_ONCE]
            contents = []
            for item, data in zip(some, readers.map(attempt, some)):
                if isinstance(data, Unreadable):
                    unreadable[item] = data.reason
                else:
                    contents.append((item, hashlib.sha256(data).hexdigest(), data))
            yield contents


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    pool: Executor
    if workers == 1:
        pool = ThreadPoolExecutor(1)
    else:
        # Spawned, because a fork of a process with threads (torch, Ray, boto3) may hang. The
        # processes start with the first batch: a run that finds everything in the store has none.
        pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_start_worker
        )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DatasetError(
            "A process that extracts attributes died, most likely for want of memory: run the "
            "command again, with --workers 1 if need be; what was computed is kept."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # Control-C reaches all processes of a terminal; the main one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

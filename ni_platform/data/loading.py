"""The way from dataset rows to batches: which rows meet in a step, and loading them in time.

Which rows form a step depends on the seed and the epoch only, not on the number of workers or
on the timing of threads: that is what makes W workers equal one, and a resumed run equal an
undisturbed one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import pandas as pd
import torch

from ni_platform.data.batch import Batch, Inputs, Outcomes
from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError, DatasetError, NiError

Rows = np.ndarray
"""int64 [B], positions or row numbers of a dataset."""


def plan_batches(
    groups: np.ndarray | None,
    n: int,
    batch_size: int,
    workers: int,
    seed: int,
    epoch: int,
    *,
    shuffle: bool = True,
) -> list[list[Rows]]:
    """Divide positions 0..n-1 into steps, and each step's batch among the workers.

    Returns one list per step that holds one array of positions per worker, never empty. Every
    position occurs once per epoch. Batches hold at most `batch_size` positions, nearly equally
    many each, and are the same for any number of workers.

    `groups` (int [n], -1 for a content of no A/B test) keeps the contents of a test in one
    batch and on one worker; a test larger than `batch_size` is cut into random chunks. Where a
    batch holds fewer tests than workers, its largest test is cut, for no worker may idle.

    Raises ConfigError if `batch_size < workers` and DatasetError if `n < workers`.
    """
    if batch_size < workers:
        raise ConfigError(
            f"every worker needs a content in each step, but batch_size={batch_size} is smaller "
            f"than workers={workers}; raise training.batch_size or lower --workers"
        )
    if n < workers:
        raise DatasetError(
            f"there are {n} contents to train on for {workers} workers; "
            "use fewer workers or a larger training split"
        )
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    units = _units(groups, n, batch_size, rng if shuffle else None)
    return [divide(batch, workers) for batch in _pack(units, batch_size, workers)]


def divide(units: Sequence[Rows], parts: int) -> list[Rows]:
    """Share `units` out into `parts` arrays of nearly equal size, units whole, none empty.

    With fewer units than parts the largest unit is cut in halves until there are enough.
    """
    pieces = sorted(units, key=len, reverse=True)
    while len(pieces) < parts:
        largest = pieces.pop(0)
        half = (len(largest) + 1) // 2
        pieces = sorted([*pieces, largest[:half], largest[half:]], key=len, reverse=True)
    shares: list[list[Rows]] = [[] for _ in range(parts)]
    sizes = [0] * parts
    for piece in pieces:
        lightest = sizes.index(min(sizes))
        shares[lightest].append(piece)
        sizes[lightest] += len(piece)
    return [np.concatenate(share) for share in shares]


def whole_groups(positions: Rows, groups: np.ndarray | None) -> list[Rows]:
    """Cut `positions` into the units that belong together: one per A/B test, else one each."""
    if groups is None:
        return [positions[i : i + 1] for i in range(len(positions))]
    members: dict[int, list[int]] = {}
    singles: list[Rows] = []
    for position in positions.tolist():
        group = int(groups[position])
        if group < 0:
            singles.append(np.array([position]))
        else:
            members.setdefault(group, []).append(position)
    return [*(np.array(rows) for rows in members.values()), *singles]


def _units(
    groups: np.ndarray | None, n: int, batch_size: int, rng: np.random.Generator | None
) -> list[Rows]:
    order = np.arange(n) if rng is None else rng.permutation(n)
    if groups is None:
        return np.split(order, n)
    keys = np.where(groups < 0, groups.max(initial=-1) + 1 + np.arange(n), groups)
    # Sorting the shuffled order by group shuffles the members within each group as well.
    order = order[np.argsort(keys[order], kind="stable")]
    units = []
    for unit in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
        chunks = -(-len(unit) // batch_size)
        units.extend(np.array_split(unit, chunks))
    if rng is None:
        return units
    return [units[i] for i in rng.permutation(len(units))]


def _pack(units: list[Rows], batch_size: int, workers: int) -> list[list[Rows]]:
    """Pack units in their order into the fewest batches, then level the batches' sizes.

    Without levelling the last batch would be a remainder of any size down to one content, on
    which BatchNorm is meaningless and for which several workers are too many.
    """
    ends = np.cumsum([len(unit) for unit in units])
    fewest = len(_cuts(ends, batch_size))
    low, high = -(-int(ends[-1]) // fewest), batch_size
    while low < high:
        middle = (low + high) // 2
        if len(_cuts(ends, middle)) <= fewest:
            high = middle
        else:
            low = middle + 1
    batches: list[list[Rows]] = []
    start = 0
    for cut in _cuts(ends, low):
        batch = units[start:cut]
        start = cut
        if batches and sum(map(len, batch)) < workers:
            batches[-1] = batches[-1] + batch
        else:
            batches.append(batch)
    return batches


def _cuts(ends: np.ndarray, capacity: int) -> list[int]:
    """Unit numbers at which next-fit packing into batches of `capacity` starts a new batch.

    A unit larger than `capacity` gets a batch of its own.
    """
    cuts: list[int] = []
    start, filled = 0, 0
    while start < len(ends):
        cut = int(np.searchsorted(ends, filled + capacity, side="right"))
        start = max(cut, start + 1)
        filled = int(ends[start - 1])
        cuts.append(start)
    return cuts


class Encoder(Protocol):
    """What turns raw rows into model inputs (`ni_platform.models.inputs.InputEncoder`)."""

    def encode(
        self,
        frame: pd.DataFrame,
        *,
        crop: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Inputs:
        """Return the model inputs of the rows of `frame`."""


class Source(ABC):
    """Rows of a dataset as batches; safe to call from several threads.

    What was observed is held here, as NumPy arrays, which travel between processes without being
    copied; where the inputs come from is for subclasses to say.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._content_ids = np.asarray([str(value) for value in dataset.content_id], dtype=np.str_)
        self._impressions = np.asarray(dataset.impressions, dtype=np.float32)
        self._clicks = np.asarray(dataset.clicks, dtype=np.float32)
        self._rates = np.asarray(dataset.success_rate, dtype=np.float32)
        ratings = dataset.ratings
        self._ratings = None if ratings is None else np.asarray(ratings, dtype=np.float32)
        self.ab_test_codes = ab_test_codes(dataset.ab_test)
        """int64 [N]: a number per A/B test, -1 for a content that is not from one."""

    @abstractmethod
    def inputs(self, rows: Rows, rng: np.random.Generator | None = None) -> Inputs:
        """Return the model inputs of dataset rows; pictures may be cropped if `rng` is given."""

    def content_ids(self, rows: Sequence[int] | Rows) -> list[str]:
        """Return the content ids of dataset rows."""
        ids: list[str] = self._content_ids[np.asarray(rows, dtype=np.int64)].tolist()
        return ids

    def outcomes(self, rows: Rows) -> Outcomes:
        """Return what was observed for dataset rows, without reading any input."""
        return Outcomes(
            impressions_B=torch.from_numpy(self._impressions[rows]),
            clicks_B=torch.from_numpy(self._clicks[rows]),
            success_rate_B=torch.from_numpy(self._rates[rows]),
            ab_test_B=torch.from_numpy(self.ab_test_codes[rows]),
            ratings_BK=None if self._ratings is None else torch.from_numpy(self._ratings[rows]),
        )

    def pooled(self, rows: Rows, keys: np.ndarray) -> tuple[Self, Rows]:
        """Add up what happened to those of `rows` that are equal arms of one A/B test.

        Args:
            rows: dataset rows.
            keys: of all contents [N], equal where a model is given the same inputs.

        Returns:
            This source with sums in place of the counts of the first of equal arms, and the rows
            without the others. Contents of no test stay as they are.
        """
        _, key = np.unique(keys[rows], return_inverse=True)
        test = self.ab_test_codes[rows]
        alone = np.where(test < 0, np.arange(len(rows)), -1)
        _, first, arm = np.unique(
            np.stack([test, key, alone]), axis=1, return_index=True, return_inverse=True
        )
        other = copy(self)
        for name in ("_impressions", "_clicks", "_ratings"):
            counts = getattr(self, name)
            if counts is not None:
                counts = counts.copy()
                sums = np.zeros((len(first), *counts.shape[1:]), counts.dtype)
                np.add.at(sums, arm, counts[rows])
                counts[rows[first]] = sums
                setattr(other, name, counts)
        several = rows[first[np.bincount(arm) > 1]]
        several = several[other._impressions[several] > 0]
        other._rates = self._rates.copy()
        other._rates[several] = other._clicks[several] / other._impressions[several]
        return other, np.sort(rows[first])

    def load(self, rows: Rows, rng: np.random.Generator | None = None) -> Batch:
        """Return dataset rows as a batch.

        A row that cannot be read raises its own NiError with the content id put in front.
        """
        try:
            inputs = self.inputs(rows, rng)
        except NiError as error:
            self._blame(rows, error)
            raise
        return Batch(rows=tuple(rows.tolist()), inputs=inputs, outcomes=self.outcomes(rows))

    def _blame(self, rows: Rows, error: NiError) -> None:
        """Raise the error of the first row that fails on its own."""
        for row in rows:
            try:
                self.inputs(np.array([row]))
            except NiError as own:
                (content_id,) = self.content_ids([row])
                raise type(own)(f"content {content_id!r}: {own}") from error


class BatchSource(Source):
    """Reads and encodes dataset rows; images are cropped if `crop` is given and there is `rng`."""

    def __init__(self, dataset: Dataset, encoder: Encoder, *, crop: int | None = None) -> None:
        super().__init__(dataset)
        self._encoder = encoder
        self._crop = crop
        self._frame = dataset.inputs()

    def inputs(self, rows: Rows, rng: np.random.Generator | None = None) -> Inputs:
        """Read and encode dataset rows."""
        crop = self._crop if rng is not None else None
        return self._encoder.encode(self._frame.iloc[rows], crop=crop, rng=rng)


def ab_test_codes(ab_test: pd.Series) -> np.ndarray:
    """Number A/B tests by their labels: int64 [N], -1 for a content that is not from a test."""
    codes, _ = pd.factorize(ab_test, use_na_sentinel=True)
    return codes.astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One batch to load: dataset rows, and the seed of its random crops (None: no crops)."""

    rows: Rows
    seed: tuple[int, ...] | None = None


class Loader:
    """Loads batches in threads ahead of the model and hands them out in their order.

    At most `threads + 1` batches exist at a time besides the one in use, so memory does not
    grow with the dataset. An error is raised where its batch would have come. Closing the
    iterator, or leaving the loop over it, waits only for the batches being loaded.
    """

    def __init__(self, source: Source, *, threads: int) -> None:
        self._source = source
        self._threads = threads

    def iterate(self, requests: Sequence[Request]) -> Generator[Batch, None, None]:
        """Yield the batch of each request."""
        waiting: deque[Future[Batch]] = deque()
        upcoming = iter(requests)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="loader") as pool:
            try:
                for request in upcoming:
                    waiting.append(pool.submit(self._load, request))
                    if len(waiting) > self._threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _load(self, request: Request) -> Batch:
        rng = None
        if request.seed is not None:
            rng = np.random.default_rng(np.random.SeedSequence(request.seed))
        return self._source.load(request.rows, rng)

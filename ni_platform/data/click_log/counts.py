"""Impressions and clicks per unique combination of content and attributes (M2FN Eq. 3)."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ni_platform.data.click_log.events import CLICKED

IMPRESSIONS, CLICKS = "impressions", "clicks"
_ROWS_BEFORE_MERGING = 1 << 20


class Counts:
    """Adds up events or other counts; memory follows the number of combinations."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = list(keys)
        self._merged: pa.Table | None = None
        self._waiting: list[pa.Table] = []
        self._rows_waiting = 0

    def add_events(self, events: pa.Table) -> None:
        """Count events: the keys and `clicked`."""
        # Numbers of levels are grouped in a quarter of the time that texts take.
        levels = {key: _encoded(events[key]) for key in self._keys}
        codes = pa.table({key: array.indices for key, array in levels.items()})
        counted = (
            codes.append_column(CLICKED, events[CLICKED])
            .group_by(self._keys, use_threads=False)
            .aggregate([(CLICKED, "count"), (CLICKED, "sum")])
        )
        named = {key: array.dictionary.take(counted[key]) for key, array in levels.items()}
        totals = {IMPRESSIONS: counted[f"{CLICKED}_count"], CLICKS: counted[f"{CLICKED}_sum"]}
        self.add(pa.table(named | totals))

    def add(self, counts: pa.Table) -> None:
        """Add counts: the keys, `impressions` and `clicks`."""
        self._waiting.append(counts.select([*self._keys, IMPRESSIONS, CLICKS]))
        self._rows_waiting += len(counts)
        merged = 0 if self._merged is None else len(self._merged)
        if self._rows_waiting > max(_ROWS_BEFORE_MERGING, merged):
            self._merge()

    def table(self) -> pa.Table | None:
        """All counts, each combination once; None if nothing was added."""
        if self._waiting:
            self._merge()
        return self._merged

    def _merge(self) -> None:
        parts = [*([] if self._merged is None else [self._merged]), *self._waiting]
        sums = (
            pa.concat_tables(parts)
            .group_by(self._keys, use_threads=False)
            .aggregate([(IMPRESSIONS, "sum"), (CLICKS, "sum")])
        )
        self._merged = sums.rename_columns([n.removesuffix("_sum") for n in sums.column_names])
        self._waiting, self._rows_waiting = [], 0


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole

"""Files of a click log as tables of clean events; rows that cannot be used are set aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ni_platform.data.click_log.counts import CLICKS, IMPRESSIONS
from ni_platform.data.click_log.csv_pieces import Piece
from ni_platform.data.click_log.drops import matches
from ni_platform.data.click_log.pieces import pieces_of
from ni_platform.data.click_log.spec import LogSpec
from ni_platform.data.click_log.texts import MARK
from ni_platform.data.click_log.times import UnitError, part, seconds_of
from ni_platform.data.reading.csv_file import Say
from ni_platform.data.reading.labels import CellError, labels_and_faults
from ni_platform.errors import DatasetError

_WHOLE = r"^-?\d{1,15}(\.0*)?$"
_EXACT = 2**53
_CLICKED_WORDS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@dataclass(frozen=True, kw_only=True)
class Clean:
    """A piece of a log."""

    events: pa.Table
    """The keys of the spec as labels (dictionary-encoded), `impressions` and `clicks` (int64)."""
    rows: int
    dropped: dict[str, int]
    """Events left out by each drop rule; one that several rules name counts for the first."""
    rejects: list[tuple[int, str]]
    """Line (CSV, from 1) or row (Parquet, from 1) and what is wrong with it."""


def read_events(
    path: Path, spec: LogSpec, name: str | None = None, say: Say = lambda note: None
) -> Iterator[Clean]:
    """Read a CSV or Parquet file, packed or not, piece by piece.

    `name` stands for the file in messages; `say` is told what was found out about the file.

    Raises:
        DatasetError: The file is neither, lacks a column of the spec, holds another header further
            down, or times in a unit that the spec does not name.

    """
    name = name or str(path)
    for piece in pieces_of(path, name, spec, say):
        yield _clean(piece, spec, name)


class _Rows:
    """Which rows of a piece are good, and what is wrong with the others."""

    def __init__(self, piece: Piece) -> None:
        self._lines = piece.lines
        self.good = np.ones(len(piece.lines), dtype=bool)
        self.rejects = list(piece.broken)

    def reject(self, faults: dict[int, str]) -> None:
        """Set rows aside; the first fault of a row is told."""
        for row, reason in faults.items():
            if self.good[row]:
                self.good[row] = False
                self.rejects.append((int(self._lines[row]), reason))


def _clean(piece: Piece, spec: LogSpec, name: str) -> Clean:
    table, rows = piece.rows, _Rows(piece)
    counts, uncounted = _outcomes(table, spec)
    rows.reject(_headers(piece, list(uncounted), spec, name))
    found = {key: _labels(table, key, name) for key in spec.keys if key not in spec.time_parts}
    contents, faults = found[spec.content]
    rows.reject(faults)
    empty = np.flatnonzero(pc.is_null(contents).to_numpy()).tolist()
    rows.reject(dict.fromkeys(empty, f"{spec.content} is empty"))
    rows.reject(uncounted)
    columns = {key: labels for key, (labels, _) in found.items()}
    if spec.time is not None:
        seconds, faults = _seconds(piece, spec, name)
        rows.reject(faults)
        columns |= {key: part(key, seconds) for key in spec.time_parts}
    for _, faults in found.values():
        rows.reject(faults)
    dropped: dict[str, int] = {}
    for rule in spec.drop:
        left_out, faults = matches(table[rule.column], rule, spec.csv.decimal)
        rows.reject({row: f"{rule.column} {fault}" for row, fault in faults.items()})
        left_out &= rows.good
        dropped[rule.name] = int(left_out.sum())
        rows.good &= ~left_out
    events = pa.table({key: columns[key] for key in spec.keys} | counts)
    if not rows.good.all():
        events = events.filter(pa.array(rows.good))
    return Clean(
        events=events,
        rows=len(table) + len(piece.broken),
        dropped=dropped,
        rejects=rows.rejects,
    )


def _labels(table: pa.Table, key: str, name: str) -> tuple[pa.ChunkedArray, dict[int, str]]:
    try:
        labels, faults = labels_and_faults(table[key])
    except CellError as error:
        raise DatasetError(f"{name}: column {key!r} holds {error}.") from error
    return labels, {row: f"{key} holds {fault}" for row, fault in faults.items()}


def _outcomes(table: pa.Table, spec: LogSpec) -> tuple[dict[str, Any], dict[int, str]]:
    """Impressions and clicks of each row (int64), null where its cells are none, and why."""
    if spec.clicked is not None:
        ones = pa.array(np.ones(len(table), dtype=np.int64))
        found = {IMPRESSIONS: ones, CLICKS: _clicked(table[spec.clicked])}
        rules = {CLICKS: (spec.clicked, "0 or 1")}
    else:
        shown, clicks = str(spec.impressions), str(spec.clicks)
        found = {IMPRESSIONS: _whole(table[shown]), CLICKS: _whole(table[clicks])}
        rules = {IMPRESSIONS: (shown, "a count"), CLICKS: (clicks, "a count")}
    faults: dict[int, str] = {}
    for name, (column, rule) in rules.items():
        for row in np.flatnonzero(pc.is_null(found[name]).to_numpy(zero_copy_only=False)).tolist():
            fault = f"{column} must be {rule} (is {_cell(table[column], row)})"
            faults.setdefault(row, fault)
    return found, faults


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whole numbers as int64, null where a cell is none; a correction may be negative."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if any(
        check(kind) for check in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    ):
        numbers = column.cast(pa.float64(), safe=False)
        exact = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), _EXACT))
        return pc.if_else(exact, numbers, None).cast(pa.int64())
    words = pc.utf8_trim_whitespace(column.cast(pa.string()))
    plain = pc.fill_null(pc.match_substring_regex(words, _WHOLE), False)
    digits = pc.replace_substring_regex(pc.if_else(plain, words, None), r"\.0*$", "")
    return digits.cast(pa.int64())


def _clicked(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """0 or 1 as int64, null where it is neither."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        chunks = [pc.take(_clicked(chunk.dictionary), chunk.indices) for chunk in column.chunks]
        return pa.chunked_array(chunks, pa.int64())
    if pa.types.is_boolean(kind):
        return column.cast(pa.int64())
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        valid = pc.is_in(column, pa.array([0, 1], kind))
        return pc.if_else(valid, column, None).cast(pa.int64())
    words = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    place = pc.index_in(words, pa.array(list(_CLICKED_WORDS)))
    return pc.take(pa.array(list(_CLICKED_WORDS.values()), pa.int64()), place)


def _headers(piece: Piece, suspects: list[int], spec: LogSpec, name: str) -> dict[int, str]:
    """Rows that are the header again, as where files were put one below the other.

    Raises DatasetError where it is another header: what stands below it is in other columns.
    """
    faults: dict[int, str] = {}
    if not piece.header:
        return faults
    for row in suspects:
        cell = piece.rows[spec.outcomes[0]][row].as_py()
        if cell is None or cell.strip() not in piece.header:
            continue
        cells = {column: str(piece.rows[column][row].as_py()) for column in spec.columns}
        if any(text.removeprefix(MARK).strip() != column for column, text in cells.items()):
            raise DatasetError(
                f"{name} line {piece.lines[row]} looks like another header ({cells}): put tables "
                "with other columns into files of their own."
            )
        faults[row] = "is the header again"
    return faults


def _seconds(piece: Piece, spec: LogSpec, name: str) -> tuple[pa.ChunkedArray, dict[int, str]]:
    column = str(spec.time)
    try:
        seconds, faults = seconds_of(
            piece.rows[column], spec.time_unit, hours="hour" in spec.time_parts
        )
    except UnitError as error:
        raise DatasetError(f"{name} line {piece.lines[error.row]}: {column} {error}.") from error
    except CellError as error:
        raise DatasetError(f"{name}: column {column!r} holds {error}.") from error
    return seconds, {row: f"{column} {fault}" for row, fault in faults.items()}


def _cell(column: pa.ChunkedArray, row: int) -> str:
    value = column[row].as_py()
    return "empty" if value is None else f"{value!r:.40}"

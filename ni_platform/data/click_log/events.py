"""Files of a click log as tables of clean events; rows that cannot be used are set aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ni_platform.data.click_log.spec import DropRule, LogSpec
from ni_platform.data.manifest import nearest
from ni_platform.errors import DatasetError

CLICKED = "clicked"
_ROWS_AT_ONCE = 1 << 18
_BYTES_AT_ONCE = 16 << 20
_LEVELS = pa.dictionary(pa.int32(), pa.string())
_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_CLICKED_WORDS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@dataclass(frozen=True, kw_only=True)
class Clean:
    """A piece of a log."""

    events: pa.Table
    """The keys of the spec as text (in part dictionary-encoded) and `clicked` as 0 or 1."""
    rows: int
    dropped: dict[str, int]
    """Events left out by each drop rule; one that several rules name counts for the first."""
    rejects: list[tuple[int, str]]
    """Line (CSV, from 1) or row (Parquet, from 1) and what is wrong with it."""


def read_events(path: Path, spec: LogSpec, name: str | None = None) -> Iterator[Clean]:
    """Read a CSV (optionally compressed) or Parquet file piece by piece.

    Raises DatasetError for a file that is neither, or that lacks a column of the spec; `name`
    stands for the file in messages.
    """
    name = name or str(path)
    pieces = _parquet(path, spec) if _is_parquet(name) else _csv(path, spec, _compression(name))
    try:
        for table, lines, broken in pieces:
            yield _clean(table, lines, broken, spec)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(
            f"{name} is not a readable log ({reason}): give Parquet, or CSV in UTF-8 with a header."
        ) from error
    except _ColumnError as error:
        raise DatasetError(f"{name} {error}") from error


class _ColumnError(Exception):
    """A column of the spec is not in the file, or not as it must be."""


def _is_parquet(name: str) -> bool:
    return name.lower().endswith((".parquet", ".pq"))


def _compression(name: str) -> str | None:
    return _COMPRESSIONS.get(PurePosixPath(name.lower()).suffix)


def _check_columns(schema: pa.Schema, spec: LogSpec) -> None:
    known = schema.names
    for column in spec.columns:
        if column not in known:
            raise _ColumnError(
                f"has no column {column!r}{nearest(column, known)}; it has {known}. Correct the "
                "name in the spec, or give logs of one kind."
            )
        if known.count(column) > 1:
            raise _ColumnError(f"must have one column {column!r}, but has several: rename them.")
        if pa.types.is_nested(schema.field(column).type):
            raise _ColumnError(
                f"must have one value per row in {column!r}, but it holds "
                f"{schema.field(column).type}: write its parts as columns."
            )


def _labels(spec: LogSpec) -> set[str]:
    """Columns that are read as numbers of levels: a text that repeats is looked at once."""
    return set(spec.columns) - {spec.clicked, spec.time}


_Pieces = Iterator[tuple[pa.Table, np.ndarray, list[tuple[int, str]]]]
"""Rows, their line numbers, and lines that did not parse."""


def _parquet(path: Path, spec: LogSpec) -> _Pieces:
    schema = pq.read_schema(path)
    _check_columns(schema, spec)
    texts = [name for name in _labels(spec) if _is_text(schema.field(name).type)]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        start = 1
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(spec.columns)):
            yield pa.table(batch), np.arange(start, start + len(batch)), []
            start += len(batch)


def _csv(path: Path, spec: LogSpec, compression: str | None) -> _Pieces:
    labels = _labels(spec)
    broken: list[tuple[int, str]] = []
    ahead: list[int] = []  # lines that did not parse, also of blocks that were read ahead

    def skip(row: pa.csv.InvalidRow) -> str:
        broken.append((row.number, f"has {row.actual_columns} columns, not {row.expected_columns}"))
        ahead.append(row.number)
        return "skip"

    stream = pa.input_stream(str(path), compression=compression)
    with (
        stream,
        pa.csv.open_csv(
            stream,
            # One thread, as only then the number of a broken line is known.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BYTES_AT_ONCE),
            # An empty line is a bad row: ignored ones would shift the numbers of the others.
            parse_options=pa.csv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types={
                    column: _LEVELS if column in labels else pa.string() for column in spec.columns
                },
                strings_can_be_null=True,
                null_values=[""],
            ),
        ) as reader,
    ):
        _check_columns(reader.schema, spec)
        line = 2  # the header is line 1
        for batch in reader:
            lines = np.arange(line, line + len(batch) + len(ahead))
            lines = lines[~np.isin(lines, ahead)][: len(batch)]
            if len(lines):
                line = int(lines[-1]) + 1
            yield pa.table(batch).select(list(spec.columns)), lines, broken.copy()
            broken.clear()
            ahead[:] = [number for number in ahead if number >= line]
        if broken:
            nothing = reader.schema.empty_table().select(list(spec.columns))
            yield nothing, np.zeros(0, dtype=np.int64), broken.copy()


def _clean(
    table: pa.Table, lines: np.ndarray, broken: list[tuple[int, str]], spec: LogSpec
) -> Clean:
    rows = len(table) + len(broken)
    clicked = _clicked(table[spec.clicked])
    wrong = {
        f"{spec.content} is empty": pc.is_null(table[spec.content]),
        f"{spec.clicked} must be 0 or 1": pc.is_null(clicked),
    }
    if spec.time is not None:
        seconds = _seconds(table[spec.time])
        wrong[f"{spec.time} is no time"] = pc.is_null(seconds)
        wrong[f"{spec.time} is negative"] = pc.fill_null(pc.less(seconds, 0), False)
        table = _with_time_parts(table, seconds, spec)
    rejects, good = list(broken), np.ones(len(table), dtype=bool)
    for reason, mask in wrong.items():
        found = mask.to_numpy(zero_copy_only=False).astype(bool) & good
        rejects += [(int(line), reason) for line in lines[found]]
        good &= ~found
    dropped: dict[str, int] = {}
    for rule in spec.drop:
        found = _matches(table[rule.column], rule) & good
        dropped[rule.name] = int(found.sum())
        good &= ~found
    events = pa.table({key: _levels(table[key]) for key in spec.keys} | {CLICKED: clicked})
    if not good.all():
        events = events.filter(pa.array(good))
    return Clean(events=events, rows=rows, dropped=dropped, rejects=rejects)


def _levels(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if column.type.equals(_LEVELS) else _text(column)


def _is_text(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string))


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _clicked(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """0 or 1 as int64, null where it is neither."""
    if pa.types.is_boolean(column.type):
        return column.cast(pa.int64())
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        valid = pc.is_in(column, pa.array([0, 1], column.type))
        return pc.if_else(valid, column, None).cast(pa.int64())
    words = pc.utf8_lower(pc.utf8_trim_whitespace(_text(column)))
    place = pc.index_in(words, pa.array(list(_CLICKED_WORDS)))
    return pc.take(pa.array(list(_CLICKED_WORDS.values()), pa.int64()), place)


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as float64, null where they are no numbers."""
    if pa.types.is_dictionary(column.type):
        column = _text(column)
    if not pa.types.is_string(column.type):
        return column.cast(pa.float64())
    is_number = pc.fill_null(pc.match_substring_regex(column, _NUMBER), False)
    return pc.utf8_trim_whitespace(pc.if_else(is_number, column, None)).cast(pa.float64())


def _seconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Seconds since 1970, null where the value is no time."""
    if pa.types.is_timestamp(column.type):
        microseconds = column.cast(pa.timestamp("us")).cast(pa.int64())
        return pc.divide(microseconds.cast(pa.float64()), 1e6)
    seconds = _numbers(column)
    if pa.types.is_string(column.type) and seconds.null_count > column.null_count:
        texts = pc.if_else(pc.is_null(seconds), column, None).to_pandas()
        times = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").dt.as_unit("us")
        parsed = (times - pd.Timestamp(0, tz="UTC").as_unit("us")).dt.total_seconds()
        seconds = pc.coalesce(seconds, pa.chunked_array([pa.array(parsed, from_pandas=True)]))
    return seconds


def _with_time_parts(table: pa.Table, seconds: pa.ChunkedArray, spec: LogSpec) -> pa.Table:
    # Far outside of what a timestamp holds there is no weekday; such rows are times all the same.
    whole = pc.if_else(pc.less(pc.abs(seconds), 1e11), pc.floor(seconds), None)
    moments = whole.cast(pa.int64()).cast(pa.timestamp("s"))
    parts = {
        "weekday": lambda: pc.take(pa.array(_WEEKDAYS), pc.day_of_week(moments)),
        "hour": lambda: pc.hour(moments).cast(pa.string()),
    }
    for part in spec.time_parts:
        table = table.append_column(part, parts[part]())
    return table


def _matches(column: pa.ChunkedArray, rule: DropRule) -> np.ndarray:
    """Bool [rows]: which rows a rule leaves out; a null value never matches."""
    if pa.types.is_dictionary(column.type):
        masks = [
            pc.take(pa.array(_matches(pa.chunked_array([chunk.dictionary]), rule)), chunk.indices)
            for chunk in column.chunks
        ]
        mask = pa.chunked_array(masks, pa.bool_())
        return pc.fill_null(mask, False).to_numpy().astype(bool)
    text = _text(column)
    found = []
    if rule.equals is not None:
        found.append(pc.equal(text, rule.equals))
    if rule.one_of:
        found.append(pc.is_in(text, pa.array(rule.one_of)))
    if rule.matches is not None:
        found.append(pc.match_substring_regex(text, rule.matches))
    if rule.below is not None:
        found.append(pc.less(_numbers(column), rule.below))
    if rule.above is not None:
        found.append(pc.greater(_numbers(column), rule.above))
    masks = [pc.fill_null(mask, False).to_numpy(zero_copy_only=False) for mask in found]
    return np.logical_and.reduce(masks).astype(bool)

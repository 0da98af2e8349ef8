"""When an event was: seconds since 1970 from whatever a log holds, exact, or why there are none."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ni_platform.data.reading.labels import CellError

TimeUnit = Literal["s", "ms", "us", "ns"]

_PER_SECOND: dict[str, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_FIRST, _LAST = 631_152_000, 4_102_444_800
"""1990 and 2100: no click was logged outside of them, and within them units cannot be confused."""
_SECONDS_PER_YEAR = 31_556_952
_LARGEST = 9e18
_WHOLE = r"^-?(\d{1,18}|[1-8]\d{18})(\.\d*)?$"
_ISO = r"^\d{4}-?\d{2}-?\d{2}([T ].*)?$"
_DATE_ONLY = 10
_TEXTS = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
    pa.types.is_binary, pa.types.is_large_binary,
)  # fmt: skip
_WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


class UnitError(CellError):
    """Numbers in another unit than seconds, which the spec does not name."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row


def seconds_of(
    column: pa.ChunkedArray, unit: TimeUnit | None, *, hours: bool
) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """Return seconds since 1970 in UTC (int64, rounded down), and what is wrong with other rows.

    Args:
        column: Timestamps, dates, numbers since 1970, or texts of numbers or ISO 8601. A time
            without a zone is in UTC.
        unit: Of the numbers; None for seconds.
        hours: Whether a date without a time of day is wrong.

    Raises:
        CellError: The column holds no times.
        UnitError: Numbers look like another unit, and `unit` is None.

    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    numbers, moments, dates = _read(column)
    seconds = pc.coalesce(moments, pc.divide(numbers, _PER_SECOND[unit or "s"]))
    known = seconds.is_valid().to_numpy()
    within = pc.and_(pc.greater_equal(seconds, _FIRST), pc.less(seconds, _LAST))
    good = pc.fill_null(within, False).to_numpy() & ~(dates & hours)
    faults = {}
    for row in np.flatnonzero(~good).tolist():
        cell = column[row].as_py()
        if not known[row]:
            faults[row] = "is no time" if cell is None else f"is no time: {cell!s:.40}"
        elif dates[row] and within[row].as_py():
            faults[row] = f"has no hour: {cell!s:.40}"
        else:
            number, second = numbers[row].as_py(), seconds[row].as_py()
            faults[row] = _outside(row, number, second, unit, mixed=bool(good.any()))
    return pc.if_else(pa.array(good), seconds, None), faults


def part(name: str, seconds: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the `weekday` (Mon to Sun) or `hour` (0 to 23) of seconds since 1970, in UTC."""
    moments = seconds.cast(pa.timestamp("s"))
    if name == "weekday":
        return pc.take(pa.array(_WEEKDAYS), pc.day_of_week(moments))
    return pc.hour(moments).cast(pa.string())


def _read(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray, np.ndarray]:
    """Whole numbers as they are given, seconds of times, and which of these are dates only."""
    kind = column.type
    nothing = pa.chunked_array([pa.nulls(len(column), pa.int64())])
    no_dates = np.zeros(len(column), dtype=bool)
    if pa.types.is_timestamp(kind):
        return nothing, pc.divide(column.cast(pa.int64()), _PER_SECOND[kind.unit]), no_dates
    if pa.types.is_date(kind):
        return nothing, column.cast(pa.timestamp("s")).cast(pa.int64()), ~no_dates
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        raise CellError(f"{kind}, which keeps times to minutes only: export integers or float64")
    if pa.types.is_integer(kind) or pa.types.is_float64(kind) or pa.types.is_decimal(kind):
        return _whole(column), nothing, no_dates
    if any(check(kind) for check in _TEXTS):
        return _parsed(pc.utf8_trim_whitespace(column.cast(pa.string())))
    if pa.types.is_null(kind):
        return nothing, nothing, no_dates
    raise CellError(f"{kind}, which is no time")


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers rounded down to int64; null where they are none or too large for any time."""
    small = pc.less(pc.abs(column.cast(pa.float64(), safe=False)), _LARGEST)
    column = pc.if_else(small, column, None)
    return (column if pa.types.is_integer(column.type) else pc.floor(column)).cast(pa.int64())


def _parsed(
    texts: pa.ChunkedArray,
) -> tuple[pa.ChunkedArray, pa.ChunkedArray, np.ndarray]:
    """As `_read`, of texts: numbers and ISO 8601."""
    is_number = pc.fill_null(pc.match_substring_regex(texts, _WHOLE), False)
    plain = pc.replace_substring_regex(pc.if_else(is_number, texts, None), r"\..*$", "")
    numbers = plain.cast(pa.int64())
    moments = pa.chunked_array([pa.nulls(len(texts), pa.int64())])
    is_iso = pc.fill_null(
        pc.and_(pc.match_substring_regex(texts, _ISO), pc.invert(is_number)), False
    )
    if pc.any(is_iso).as_py():
        written = pc.if_else(is_iso, pc.replace_substring_regex(texts, r" ?UTC$", "Z"), None)
        times = pd.to_datetime(
            written.to_pandas(), format="ISO8601", utc=True, errors="coerce"
        ).dt.floor("s")
        moments = pa.chunked_array([pa.array(times, from_pandas=True)])
        moments = moments.cast(pa.timestamp("s", "UTC")).cast(pa.int64())
    dates = pc.and_(is_iso, pc.less_equal(pc.utf8_length(texts), _DATE_ONLY))
    return numbers, moments, pc.fill_null(dates, False).to_numpy()


def _outside(
    row: int, number: int | None, second: int, unit: TimeUnit | None, *, mixed: bool
) -> str:
    """What is wrong with a time before 1990 or after 2100; `number` if it is given as one."""
    year = 1970 + second // _SECONDS_PER_YEAR
    if number is not None:
        for other, per in _PER_SECOND.items():
            if other == (unit or "s") or not _FIRST <= number // per < _LAST:
                continue
            as_given = f"as {_UNITS[unit or 's']}, the year would be {year}"
            if unit is None:
                remedy = (
                    "other rows are in seconds: write all of the log in one unit, and name it "
                    "with time_unit in the spec"
                    if mixed
                    else f"write time_unit: {other} in the spec"
                )
                raise UnitError(row, f"{number} looks like {_UNITS[other]} ({as_given}): {remedy}")
            return f"looks like {_UNITS[other]}, not {_UNITS[unit]}: {number} ({as_given})"
        if number < 0:
            return "is negative"
        return (
            f"is no time of a click: {number} as {_UNITS[unit or 's']} is in the year {year}; give "
            "numbers since 1970 with their time_unit, or ISO 8601"
        )
    return f"is in the year {year}, when no click was logged"

"""Columns of every type that a table may have, with values that are easily read as others."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

TEXTS = (
    "NA", "None", "null", "nan", "", " ", "007", "1", "1.0", "1.10", "1.1", "1e5", "1e+5", "3.0",
    "-0.0", "+1", "true", "True", "FALSE", "9007199254740993", "9007199254740993.0",
    "2.38512E+16", "18446744073709551617", "ä", "a\N{COMBINING DIAERESIS}", "Straße",
    "😀👩‍👧", "שלום עולם", "\x85",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc", "\N{ZERO WIDTH NO-BREAK SPACE}bom", 'say "hi"', '"', '""',
    "a,b", "a;b", "a\tb", "a|b", "two\nlines", "two\r\nlines", "cr\ronly", "tab\t", " lead",
    "trail ", "\N{NO-BREAK SPACE}nbsp", "\\", '\\"', "'", "#", "=1+1", "-", "--", "nul\0nul",
    "\x1f", "\N{LINE SEPARATOR}", "1,234", "1.234,5", "12 %", "2024-01-01", "b'x'", "['a' 'b']",
    "x" * 70_000,
)  # fmt: skip
"""Texts that some reader takes for a number, a null, a separator or the end of a row."""

texts = st.one_of(
    st.sampled_from(TEXTS),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.text("aA1.,;\"'\n\r\t \\|e+-0", max_size=6),
)
_integers = (
    0,
    1,
    -1,
    7,
    100,
    2**53 - 1,
    2**53,
    2**53 + 1,
    -(2**53) - 1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
)
_floats = (
    0.0, -0.0, 1.0, 3.0, 0.1, 1.1, 0.5, -2.5, 1e-7, 2.0**53 - 1, 2.0**53, 2.0**53 + 2, 2.0**24,
    1e22, float("nan"), float("inf"), 2049.0, 65504.0,
)  # fmt: skip
_days = st.dates(datetime.date(1901, 1, 1), datetime.date(2200, 1, 1))
_moments = st.datetimes(datetime.datetime(1901, 1, 1), datetime.datetime(2200, 1, 1))


@dataclass(frozen=True)
class Kind:
    """A type of Arrow and values of it."""

    type: pa.DataType
    cells: st.SearchStrategy[Any]

    def __repr__(self) -> str:
        return str(self.type)


@dataclass(frozen=True)
class Column:
    """Values as they are written, null as None."""

    type: pa.DataType
    values: list[Any]

    @property
    def array(self) -> pa.Array:
        """The column as Arrow has it."""
        return pa.array(self.values, self.type)


def _whole(kind: pa.DataType, low: int, high: int) -> Kind:
    known = [number for number in _integers if low <= number <= high]
    return Kind(kind, st.sampled_from(known) | st.integers(low, high))


def _float(kind: pa.DataType, make: Callable[[float], Any]) -> Kind:
    with np.errstate(over="ignore"):
        known = [make(number) for number in _floats]
    return Kind(kind, st.sampled_from(known) | st.integers(-20, 20).map(lambda n: make(n / 4)))


def _instant(unit: str, zone: str | None) -> Kind:
    step = {"s": 10**6, "ms": 1000}.get(unit, 1)
    utc = datetime.UTC if zone else None
    whole = _moments.map(
        lambda m: (m - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=step)
    )
    start = datetime.datetime(1970, 1, 1, tzinfo=utc)
    some = whole | st.sampled_from([0, 86_400 * 10**6 // step])
    return Kind(
        pa.timestamp(unit, zone),
        some.map(lambda n: start + datetime.timedelta(microseconds=n * step)),
    )


INTEGERS = [
    *(
        _whole(pa.type_for_alias(f"int{b}"), -(2 ** (b - 1)), 2 ** (b - 1) - 1)
        for b in (8, 16, 32, 64)
    ),
    *(_whole(pa.type_for_alias(f"uint{b}"), 0, 2**b - 1) for b in (8, 16, 32, 64)),
]
FLOATS = [
    _float(pa.float16(), np.float16),
    _float(pa.float32(), np.float32),
    _float(pa.float64(), np.float64),
]
DECIMALS = [
    Kind(pa.decimal128(20, 2), st.integers(-(10**6), 10**19).map(lambda n: Decimal(n).scaleb(-2))),
    Kind(pa.decimal128(38, 0), st.integers(-(10**37), 10**37).map(Decimal)),
    Kind(pa.decimal32(7, 2), st.integers(-(10**6), 10**6).map(lambda n: Decimal(n).scaleb(-2))),
    Kind(pa.decimal64(18, 0), st.integers(-(10**17), 10**17).map(Decimal)),
    Kind(pa.decimal256(40, 3), st.integers(0, 10**6).map(lambda n: Decimal(n).scaleb(-3))),
]
STRINGS = [
    Kind(pa.string(), texts),
    Kind(pa.large_string(), texts),
    Kind(pa.string_view(), texts),
    Kind(pa.dictionary(pa.int32(), pa.string()), texts),
]
OTHERS = [
    Kind(pa.bool_(), st.booleans()),
    Kind(pa.date32(), _days),
    Kind(pa.date64(), _days),
    *(
        _instant(unit, zone)
        for unit in ("s", "ms", "us", "ns")
        for zone in (None, "UTC", "Europe/Berlin")
    ),
    Kind(pa.binary(), texts.map(str.encode) | st.binary(max_size=4)),
    Kind(pa.large_binary(), texts.map(str.encode)),
    Kind(pa.time32("s"), st.times().map(lambda time: time.replace(microsecond=0))),
    Kind(pa.time64("us"), st.times()),
    Kind(pa.binary_view(), texts.map(str.encode)),
    Kind(pa.binary(3), st.binary(min_size=3, max_size=3)),
    Kind(pa.dictionary(pa.int8(), pa.int64()), st.sampled_from([1, 2**53 + 1, -(2**63)])),
    Kind(pa.null(), st.none()),
]
NESTED = [
    Kind(pa.list_(pa.int64()), st.lists(st.integers(0, 3), max_size=2)),
    Kind(pa.list_(pa.string()), st.lists(texts, max_size=2)),
    Kind(pa.struct([("a", pa.int64())]), st.fixed_dictionaries({"a": st.integers(0, 3)})),
]
KINDS = [*INTEGERS, *FLOATS, *DECIMALS, *STRINGS, *OTHERS, *NESTED]


@st.composite
def columns(draw: Any, rows: int, kinds: list[Kind]) -> Column:
    """A column of any of the types, in part null or all of it."""
    kind = draw(st.sampled_from(kinds))
    cells = kind.cells
    nulls = draw(st.sampled_from(["none", "none", "some", "all"]))
    if nulls != "none":
        cells = st.none() if nulls == "all" else st.one_of(cells, st.none())
    return Column(kind.type, draw(st.lists(cells, min_size=rows, max_size=rows)))


@st.composite
def keys(draw: Any, rows: int, kinds: list[Kind]) -> Column:
    """A column whose values mostly differ from row to row, none of them null."""
    kind = draw(st.sampled_from(kinds))
    cells = st.lists(kind.cells, min_size=rows, max_size=rows, unique_by=repr)
    return Column(kind.type, draw(cells))


KEYS = [*INTEGERS, *FLOATS, *DECIMALS, *STRINGS, *OTHERS[1:15]]

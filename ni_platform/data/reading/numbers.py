"""Numbers as people write them: grouped digits, decimal commas, percent signs, currencies.

A column is read as a whole: the way of writing that fits every cell is the one that is meant. Where
two ways fit and give different numbers, nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from ni_platform.data.reading.labels import CellError, scalars, text

Decimals = Literal[".", ","]
NULLS = frozenset(
    {
        "",
        "na",
        "n/a",
        "#n/a",
        "nan",
        "<na>",
        "null",
        "none",
        "-",
        "--",
        "\N{EN DASH}",
        "\N{EM DASH}",
    }
)
"""Cells of a column of numbers that say that there is none, in lower case."""

_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
# Named one by one: TSD, MIO, MRD, PCT and BPS look like codes of currencies, and change the number.
_CURRENCY = re.compile(
    r"AED|ARS|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|ISK|JPY|KRW|"
    r"MXN|MYR|NGN|NOK|NZD|PEN|PHP|PLN|RON|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR|"
    r"kr|Fr\.?|zł|Kč|Ft|R\$"
)
_SPACES = "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE} "
_GROUPS: dict[Decimals, str] = {".": ",'’ ", ",": ".'’ "}


class NumberError(CellError):
    """A cell that is no number, or may be two; `position` is its place in the column."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


def numbers_of(
    column: pa.ChunkedArray,
    *,
    whole: bool,
    decimal: Decimals | None = None,
    comma_country: bool = False,
) -> pd.Series:
    """Return a column of any type as numbers: int64 where all are whole, else float64 with nan.

    Args:
        column: Numbers, booleans, or texts.
        whole: The column holds counts, so that "1,234" can only be 1234.
        decimal: The decimal sign, if it is known.
        comma_country: Where the file comes from, decimal commas are usual (it is separated by
            semicolons).

    Raises:
        NumberError: A cell is no number, or may be two different ones.

    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind):
        found = scalars(column.combine_chunks())
    elif pa.types.is_decimal(kind):
        found = [None if cell is None else _shortest(cell) for cell in column.to_pylist()]
    elif _is_text(kind):
        cells = [text(cell) for cell in column.to_pylist()]
        found = _parsed(cells, whole, decimal, comma_country)
    elif pa.types.is_null(kind):
        found = [None] * len(column)
    else:
        raise NumberError(
            0,
            f"is in a column of {column.type}, no numbers: convert it, or declare it otherwise",
        )
    return _as_series(found)


def _is_text(kind: pa.DataType) -> bool:
    checks = (
        pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
        pa.types.is_binary, pa.types.is_large_binary,
    )  # fmt: skip
    return any(check(kind) for check in checks)


def _as_series(found: Sequence[int | float | None]) -> pd.Series:
    known = [number for number in found if number is not None]
    if all(isinstance(number, int | np.integer) for number in known):
        exact = all(-(2**63) <= number < 2**63 for number in known)
        if exact and len(known) == len(found):
            return pd.Series(np.array(found, dtype=np.int64))
        if exact and any(abs(number) >= 2**53 for number in known):
            return pd.Series(found, dtype="Int64")
    return pd.Series([np.nan if number is None else float(number) for number in found], dtype=float)


def _parsed(
    cells: Sequence[str | None], whole: bool, decimal: Decimals | None, comma_country: bool
) -> list[int | float | None]:
    trimmed = [None if cell is None else _trimmed(cell) for cell in cells]
    present = [place for place, cell in enumerate(trimmed) if cell is not None]
    bare = [str(trimmed[place]) for place in present]
    if not all(_PLAIN.fullmatch(cell) for cell in bare):
        bare, scale = _without_marks(bare, present)
        marked = [place for place, cell in zip(present, bare) if cell != trimmed[place]]
        if whole and marked:
            raise NumberError(
                marked[0], "is an amount or a share, not a count: name the column of counts"
            )
    else:
        scale = 1
    sign = decimal or _decimal_sign(bare, present, whole, comma_country)
    found: list[int | float | None] = [None] * len(cells)
    for place, cell in zip(present, bare):
        number = _number(cell, sign)
        if number is None:
            raise NumberError(
                place,
                f"is no number{_with_sign(decimal)}: correct or empty the cell, or declare the "
                "column otherwise",
            )
        found[place] = number if scale == 1 else number / scale
    return found


def _trimmed(cell: str) -> str | None:
    """The cell without outer blanks and with one kind of blank and minus; None for null."""
    plain = cell.strip().replace("\N{MINUS SIGN}", "-")
    if plain.lower() in NULLS:
        return None
    return re.sub(f"[{_SPACES}]", " ", plain)


def _without_marks(cells: Sequence[str], places: Sequence[int]) -> tuple[list[str], int]:
    """Take the one currency or the percent sign of a column off its cells; by what to divide."""
    split = [_mark(cell) for cell in cells]
    marks = {mark for _, mark in split}
    if len(marks) > 1:
        odd = next(i for i, (_, mark) in enumerate(split) if mark != split[0][1])
        raise NumberError(
            places[odd],
            f"is written otherwise than {cells[0]!r}: give the whole column one unit",
        )
    return [bare for bare, _ in split], 100 if marks == {"%"} else 1


def _mark(cell: str) -> tuple[str, str]:
    """Split a cell into its number and the currency or percent sign beside it."""
    first = re.search(r"[\d.,]", cell)
    last = re.search(r"\d\D*$", cell)
    if first is None or last is None:
        return cell, ""
    before, after = cell[: first.start()], cell[last.start() + 1 :]
    number = cell[first.start() : last.start() + 1]
    sign = "".join(character for character in before if character in "+-")
    mark = (before.replace("+", "").replace("-", "") + after).strip()
    known = mark == "%" or _CURRENCY.fullmatch(mark)
    symbol = len(mark) == 1 and unicodedata.category(mark) == "Sc"
    if (known or symbol) and len(sign) <= 1:
        return sign + number, mark
    return cell, ""


def _decimal_sign(
    cells: Sequence[str], places: Sequence[int], whole: bool, comma_country: bool
) -> Decimals:
    """Return the decimal sign that a column of texts must mean."""
    points = [_number(cell, ".") for cell in cells]
    commas = [_number(cell, ",") for cell in cells]
    if None in points or None in commas:
        # A cell that does not fit the better of the two is told by the caller.
        return "," if commas.count(None) < points.count(None) else "."
    differ = [place for place, (a, b) in enumerate(zip(points, commas)) if a != b]
    if not differ:
        return "."
    if whole and any(isinstance(number, float) for number in points):
        return ","
    if whole and any(isinstance(number, float) for number in commas):
        return "."
    with_comma = "," in cells[differ[0]]
    if (whole and with_comma and not comma_country) or not (with_comma or comma_country or whole):
        return "."
    first = differ[0]
    raise NumberError(
        places[first],
        f"may be {points[first]} or {commas[first]}: name the decimal sign "
        "(--decimal, in a spec decimal:)",
    )


def _number(cell: str, decimal: Decimals) -> int | float | None:
    """The number, an int where it is whole; None where the cell is none in this way of writing."""
    if decimal == "." and _PLAIN.fullmatch(cell):
        return _shortest(Decimal(cell))
    group = next((sign for sign in _GROUPS[decimal] if sign in cell), None)
    digits = rf"[1-9]\d{{0,2}}(?:{re.escape(group)}\d{{3}})+" if group else r"\d+"
    if not re.fullmatch(
        rf"[+-]?(?:{digits}(?:{re.escape(decimal)}\d*)?|{re.escape(decimal)}\d+)", cell
    ):
        return None
    return _shortest(Decimal(cell.replace(group or " ", "").replace(decimal, ".")))


def _shortest(number: Decimal) -> int | float:
    # An exponent of thousands would make an integer of as many digits.
    if number.is_finite() and abs(number) < 10**18 and number == number.to_integral_value():
        return int(number)
    return float(number)


def _with_sign(decimal: Decimals | None) -> str:
    return "" if decimal is None else f" with the decimal sign {decimal!r}"

"""What a cell must be read as, by its role: the rules written down a second time, from scratch.

Each function answers for one value that was written and one cell that was read. `may_refuse_*` say
which values no table can be trusted with, so that one error is right, too.
"""

from __future__ import annotations

import datetime
import math
import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd

BITS = {np.float16: 11, np.float32: 24, np.float64: 53, float: 53}
"""Bits of an integer that a float keeps."""


def is_nothing(value: Any) -> bool:
    """Whether a value that was written is null."""
    return (
        value is None or value is pd.NaT or value is pd.NA or (is_float(value) and value != value)
    )


def is_float(value: Any) -> bool:
    """Whether a value is a number of floating point, of Python or NumPy."""
    return isinstance(value, float | np.floating)


def name_of_text(value: str) -> str | None:
    """The text by which a label that was written as text is known."""
    name = unicodedata.normalize("NFC", value).strip()
    if name.lower() in {"true", "false"}:
        return name.lower()
    whole, point, zeros = name.partition(".")
    digits = whole.removeprefix("-")
    if (
        point
        and zeros
        and not zeros.strip("0")
        and digits.isdecimal()
        and str(int(digits)) == digits
    ):
        return str(int(whole))
    return name or None


def label_fits(value: Any, read: Any) -> bool:
    """Whether `read` is the label of the value."""
    if is_nothing(value):
        return bool(pd.isna(read))
    if not isinstance(read, str):
        return isinstance(value, str | bytes) and name_of_text(_decoded(value) or "") is None
    if isinstance(value, bool | np.bool_):
        return read == ("true" if value else "false")
    if isinstance(value, int | np.integer):
        return read == str(int(value))
    if is_float(value):
        return read == (str(int(value)) if float(value).is_integer() else str(value))
    if isinstance(value, Decimal):
        return Decimal(read) == value and not (("." in read) and read.endswith("0"))
    if isinstance(value, str | bytes):
        return read == name_of_text(_decoded(value) or "")
    return _moment_fits(value, read)


def text_fits(value: Any, read: Any) -> bool:
    """Whether `read` is the text that was written, sign by sign."""
    if isinstance(value, str | bytes):
        return isinstance(read, str) and read == _decoded(value)
    return label_fits(value, read)


def number_fits(value: Any, read: Any) -> bool:
    """Whether `read` is the number that was written."""
    if is_nothing(value):
        return bool(pd.isna(read))
    if pd.isna(read):
        return isinstance(value, str | bytes) and not any(
            c.isdigit() for c in _decoded(value) or ""
        )
    if isinstance(value, str | bytes):
        text = (_decoded(value) or "").strip()
        if re.fullmatch(r"[-+]?\d{1,3}(\.\d{3})+,\d+", text):  # 1.234,5 can mean one number only
            text = text.replace(".", "").replace(",", ".")
        try:
            value = Decimal(text)
        except InvalidOperation:
            return False
    if isinstance(value, bool | int | np.integer | Decimal) or is_float(value):
        return int(read) == value if isinstance(read, int | np.integer) else float(value) == read
    return False


def may_refuse_label(value: Any) -> bool:
    """Whether an error is as good as the label of the value."""
    if is_nothing(value):
        return False
    if is_float(value):
        return math.isinf(value) or (
            float(value).is_integer() and abs(value) >= 2.0 ** BITS[type(value)]
        )
    if isinstance(value, str | bytes):
        text = _decoded(value)
        return text is None or _looks_rounded(text)
    return not isinstance(
        value, bool | np.bool_ | int | np.integer | Decimal | datetime.date | pd.Timestamp
    )


def may_refuse_text(value: Any) -> bool:
    """Whether an error is as good as the text of the value."""
    if isinstance(value, str | bytes):
        return _decoded(value) is None
    return may_refuse_label(value)


def may_refuse_number(value: Any) -> bool:
    """Whether an error is as good as the number that the value is."""
    if isinstance(value, str | bytes):
        try:
            return not Decimal((_decoded(value) or "").strip()).is_finite()
        except InvalidOperation:
            return True
    return not (
        is_nothing(value) or is_float(value) or isinstance(value, bool | int | np.integer | Decimal)
    )


def _decoded(value: str | bytes) -> str | None:
    if isinstance(value, str):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _looks_rounded(text: str) -> bool:
    plain = text.strip()
    whole, point, zeros = plain.removeprefix("-").partition(".")
    if point and zeros and not zeros.strip("0") and whole.isdecimal():
        return int(whole) >= 2**53
    head, e, tail = plain.lower().partition("e+")
    return bool(e) and tail.isdecimal() and head.lstrip("+-").replace(".", "", 1).isdecimal()


def _moment_fits(value: Any, read: str) -> bool:
    """Whether a text says the same day, or the same moment with its offset."""
    if isinstance(value, pd.Timestamp | datetime.datetime):
        try:
            return pd.Timestamp(read) == pd.Timestamp(value)
        except (ValueError, TypeError):
            return False
    return isinstance(value, datetime.date | datetime.time) and read == value.isoformat()


def plain(value: Any) -> Any:
    """A value such that equal ones have the same label; None where there is no label."""
    if is_nothing(value):
        return None
    if isinstance(value, str | bytes):
        return name_of_text(_decoded(value) or "")
    if is_float(value) or isinstance(value, Decimal):
        return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)
    return str(value)

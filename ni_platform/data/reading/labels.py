"""The one text of an id, A/B test, domain or category, whatever type a file gave it.

Ids and levels are compared as text in every place: in tables, logs, creatives, splits, models and
served requests. 3, 3.0, "3" and "3.00" are one value, for pandas turns integers into floats where
one is missing, and others into decimals; so are True and "true", and texts that differ in how their
accents are encoded. Texts such as "007", "1.10" or "NA" stay what they are.
"""

from __future__ import annotations

import datetime
import math
import re
import unicodedata
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_WHOLE_FLOAT = re.compile(r"-?(?:0|[1-9]\d*)\.0+")
_SCIENTIFIC = re.compile(r"[+-]?\d(?:[.,](\d+))?[eE]\+(\d+)")
_OTHER_LABEL = r"^$|^[\x00-\x20]|[\x00-\x20]$|\.0$|[eE]\+\d+$|^(?i:true|false)$|[^\x00-\x7f]"
"""Texts whose label may be another text."""
_EXACT_BITS = {2: 11, 4: 24, 8: 53}
"""Bytes of a floating-point number and the bits that it keeps of an integer."""


class CellError(ValueError):
    """A cell that cannot be read as what its column is; says why, the caller says where."""


def label(cell: Any) -> str | None:
    """Return the text of a cell that names something; None where it is null or blank.

    Raises:
        CellError: A float so large that it stands for several integers, a list, or bytes that are
            not UTF-8.

    """
    if isinstance(cell, str):
        return _label_of_text(str(cell))
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, int | np.integer):
        return str(int(cell))
    if isinstance(cell, float | np.floating):
        return _label_of_float(cell)
    if is_null(cell):
        return None
    if isinstance(cell, Decimal):
        return _label_of_decimal(cell)
    return _label_of_text(text(cell) or "")


def text(cell: Any) -> str | None:
    """Return a cell of a text column as it stands; None where it is null.

    Raises:
        CellError: The cell is a list or a record, or bytes that are not UTF-8.

    """
    if isinstance(cell, str):
        return str(cell)
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8")
        except UnicodeDecodeError:
            raise CellError("bytes that are no UTF-8 text") from None
    if np.ndim(cell) > 0 or isinstance(cell, dict | set):
        kind = "record" if isinstance(cell, dict) else "list"
        raise CellError(f"a {kind}, not one value: write its parts as columns, or join them")
    if is_null(cell):
        return None
    if isinstance(cell, int | float | np.integer | np.floating | np.bool_ | Decimal):
        return label(cell)
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time() and not cell.tzinfo:
        return str(cell.date())  # as a column of dates says it
    return str(cell)


def labels_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of any type as labels, dictionary-encoded; each distinct value once.

    Raises:
        CellError: As `label` does; names the value.

    """
    labels, faults = labels_and_faults(column)
    for fault in faults.values():
        raise CellError(fault)
    return labels


def labels_and_faults(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """Return labels as `labels_of` does, and what is wrong with the rows that have none.

    Raises:
        CellError: The whole column holds lists or records.

    """
    if isinstance(column.type, pa.ExtensionType):
        column = column.cast(column.type.storage_type)
    if pa.types.is_nested(column.type):
        raise CellError(f"{column.type}, not one value per row: write its parts as columns")
    chunks, faults, start = [], dict[int, str](), 0
    for chunk in _encoded(column).chunks:
        labels, wrong = _relabelled(chunk)
        chunks.append(labels)
        if wrong:
            values = chunk.indices.to_pylist()
            faults |= {start + row: wrong[i] for row, i in enumerate(values) if i in wrong}
        start += len(chunk)
    return pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.string())), faults


def scalars(values: pa.Array) -> list[Any]:
    """Return the values as Python knows them; floats of 2 or 4 bytes keep their type."""
    if pa.types.is_floating(values.type) and values.type.bit_width < 64:
        known = values.is_valid().to_pylist()
        narrow = values.fill_null(0).to_numpy(zero_copy_only=False)
        return [value if valid else None for value, valid in zip(narrow, known)]
    return values.to_pylist()


def is_null(cell: Any) -> bool:
    """Whether a cell is null; a list or text never is."""
    return np.ndim(cell) == 0 and not isinstance(cell, str | bytes) and bool(pd.isna(cell))


def _encoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dictionary-encode a column; where Arrow cannot, as of float16, each row has its own level."""
    if pa.types.is_dictionary(column.type):
        return column.unify_dictionaries()
    try:
        return column.dictionary_encode().unify_dictionaries()
    except pa.ArrowNotImplementedError:
        rows = [pa.array(range(len(chunk)), pa.int32()) for chunk in column.chunks]
        return pa.chunked_array(
            [pa.DictionaryArray.from_arrays(*pair) for pair in zip(rows, column.chunks)],
            pa.dictionary(pa.int32(), column.type),
        )


def _relabelled(chunk: pa.DictionaryArray) -> tuple[pa.DictionaryArray, dict[int, str]]:
    """The labels of a chunk, and what is wrong with values of its dictionary, by their index."""
    if _are_labels(chunk.dictionary):
        labels = chunk.dictionary.cast(pa.string())
        return pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int32()), labels), {}
    names: dict[str, int] = {}
    numbers: list[int | None] = []
    faults: dict[int, str] = {}
    for index, value in enumerate(scalars(chunk.dictionary)):
        try:
            name = label(value)
        except CellError as error:
            name = None
            faults[index] = f"{value!r:.80}, {error}"
        numbers.append(None if name is None else names.setdefault(name, len(names)))
    indices = pa.array(numbers, pa.int32()).take(chunk.indices)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string())), faults


def _are_labels(values: pa.Array) -> bool:
    """Whether distinct values are their own labels, as most are: no need to look at each."""
    is_text = pa.types.is_string(values.type)
    if not is_text and not pa.types.is_integer(values.type):
        return False
    if values.null_count or pc.count_distinct(values).as_py() < len(values):
        return False
    other = is_text and pc.any(pc.match_substring_regex(values, _OTHER_LABEL), min_count=0).as_py()
    return not other


@lru_cache(maxsize=1 << 16)
def _label_of_text(cell: str) -> str | None:
    name = unicodedata.normalize("NFC", cell).strip()
    if not name:
        return None
    if name.lower() in ("true", "false"):
        return name.lower()
    if _WHOLE_FLOAT.fullmatch(name):
        return _label_of_whole(int(name.partition(".")[0]), 53)
    if rounded := _SCIENTIFIC.fullmatch(name):
        decimals, exponent = len(rounded[1] or ""), int(rounded[2])
        if decimals < exponent:
            raise CellError(_lost("digits that a spreadsheet or a float has rounded away"))
        return _label_of_decimal(Decimal(name.replace(",", ".")))
    return name


def _label_of_float(cell: float | np.floating) -> str | None:
    if math.isnan(cell):
        return None
    if math.isinf(cell):
        raise CellError("infinite, which names nothing")
    if not float(cell).is_integer():
        return str(cell)
    size = cell.dtype.itemsize if isinstance(cell, np.floating) else 8
    return _label_of_whole(int(cell), _EXACT_BITS.get(size, 53))


def _label_of_whole(number: int, bits: int) -> str:
    if abs(number) >= 2**bits:
        raise CellError(_lost("a float that is the same for several integers"))
    return str(number)


def _label_of_decimal(cell: Decimal) -> str:
    return str(int(cell)) if cell == cell.to_integral_value() else f"{cell.normalize():f}"


def _lost(what: str) -> str:
    return f"{what}: export the column again as text or as integers"

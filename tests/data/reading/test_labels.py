"""One text of an id or level, whatever type a file gave it."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ni_platform.data.reading.labels import CellError, label, labels_of, text


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        ([3, 3.0, "3", "3.0", "3.00", np.int8(3), np.float32(3), Decimal("3.00"), " 3 "], "3"),
        ([True, "True", "TRUE", "true", np.True_], "true"),
        ([672345678901, 672345678901.0, "6.72345678901E+11", "672345678901.0"], "672345678901"),
        ([0.1, np.float32(0.1), "0.1", Decimal("0.10")], "0.1"),
        (["Zoë", "Zoe\N{COMBINING DIAERESIS}", "Zoë".encode()], "Zoë"),
        ([datetime.date(2024, 1, 2), pd.Timestamp("2024-01-02"), "2024-01-02"], "2024-01-02"),
        ([None, "", " ", float("nan"), pd.NA, pd.NaT], None),
        ([-0.0, "0.0", 0], "0"),
    ],
)
def test_a_value_has_one_text(cells, name):
    """Types in which files hold the same value do not make it another one."""
    assert [label(cell) for cell in cells] == [name] * len(cells)


@pytest.mark.parametrize("cell", ["007", "1.10", "1.1", "NA", "None", "null", "1e5", "03.0", "+3"])
def test_texts_stay_as_they_are(cell):
    """What may be a name is not read as a number or as nothing."""
    assert label(cell) == cell


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (2.0**53, "the same for several integers"),
        (np.float32(2**24), "the same for several integers"),
        ("9007199254740993.0", "the same for several integers"),
        ("2.38512E+16", "rounded away"),
        ("1e+16", "rounded away"),
        ([1], "a list"),
        (np.array(["a"]), "a list"),
        ({"a": 1}, "a record"),
        (b"\xff\xfe", "no UTF-8"),
        (float("inf"), "infinite"),
    ],
)
def test_what_names_nothing_is_refused(cell, words):
    """A number that was rounded may stand for several ids, and a list for none."""
    with pytest.raises(CellError, match=words):
        label(cell)


def test_integers_with_nulls_keep_every_digit():
    """A column of 64-bit ids with nulls gives each id and each null."""
    ids = [23851234567890001, None, 23851234567890002, 2**63 - 1]
    column = pa.chunked_array([pa.array(ids[:2], pa.int64()), pa.array(ids[2:], pa.int64())])
    assert labels_of(column).to_pylist() == [None if i is None else str(i) for i in ids]


def test_a_column_of_lists_names_its_type():
    """The error says what the column holds and what to do."""
    with pytest.raises(CellError, match=r"list<.*write its parts as columns"):
        labels_of(pa.chunked_array([pa.array([["a"]])]))


def test_a_text_is_not_trimmed_or_composed():
    """Only labels are compared; a text is what the model reads."""
    assert text(" NA ") == " NA "
    assert text("e\N{COMBINING ACUTE ACCENT}") == "e\N{COMBINING ACUTE ACCENT}"
    assert text("caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode()) == "café"
    assert text(2012) == "2012"


def test_strings_of_every_type_are_labels():
    """Types for which Arrow counts no distinct values are named all the same."""
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.binary()):
        cells = pa.chunked_array([pa.array(["a", None, "3.0", "a"], kind)])
        assert labels_of(cells).to_pylist() == ["a", None, "3", "a"]
        assert labels_of(cells.dictionary_encode()).to_pylist() == ["a", None, "3", "a"]


def test_floats_of_two_bytes_are_labels():
    """Arrow cannot dictionary-encode them; they are named as others are, and rounded ones told."""
    cells = pa.chunked_array([pa.array([np.float16(3), None, np.float16(0.1)], pa.float16())])
    assert labels_of(cells).to_pylist() == ["3", None, "0.1"]
    with pytest.raises(CellError, match="the same for several integers"):
        labels_of(pa.chunked_array([pa.array([np.float16(2048)], pa.float16())]))

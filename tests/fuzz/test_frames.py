"""Frames in memory with any cell that Python holds: written and read back, or one error."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fuzz import oracle
from fuzz.columns import texts
from fuzz.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import NiError

_MANIFEST = Manifest(
    name="frame",
    columns=Columns(content_id="id", text=("title",), categorical=("kind",), numeric=("price",)),
    target=Target(impressions="shown", clicks="clicked"),
)
_CELLS = st.one_of(
    texts,
    st.sampled_from(
        ["\ud800", "a\udfffb", b"\xff", b"text", "", None, pd.NA, pd.NaT, float("nan")]
    ),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.dates(),
    st.datetimes(),
    st.sampled_from([[1], ["a", "b"], {"a": 1}, {1}, (1, 2), np.array([1.0]), object(), 1j]),
    st.sampled_from([np.float32(0.1), np.int8(3), np.bool_(True), datetime.time(1)]),
)


_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=2)
"""Apart from the others: Arrow takes one among datetimes for microseconds."""


@st.composite
def cells(draw: Any, rows: int) -> list[Any]:
    """Cells of a column: all of one kind, or mixed as in a column of objects."""
    some = draw(st.sampled_from([texts, st.integers(-9, 2**64), st.floats(), _DECIMALS, _CELLS]))
    return draw(st.lists(some, min_size=rows, max_size=rows))


@examples(8, 600)
@given(st.data())
def test_a_frame_is_written_and_read_back_or_refused(data: Any) -> None:
    """A column of mixed cells never ends in an error of another library, nor in other cells."""
    rows = data.draw(st.integers(1, 4))
    columns = {name: data.draw(cells(rows)) for name in ("id", "title", "kind", "price")}
    frame = pd.DataFrame(
        {name: pd.Series(values, dtype=object) for name, values in columns.items()}
    ).assign(shown=range(100, 100 + rows), clicked=range(rows))
    frame.index = data.draw(st.permutations(range(rows)))
    with tempfile.TemporaryDirectory() as name:
        try:
            dataset = write_dataset(Path(name) / "out", _MANIFEST, frame)
        except NiError:
            return
    rules = {"id": oracle.label_fits, "kind": oracle.label_fits,
             "title": oracle.text_fits, "price": oracle.number_fits}  # fmt: skip
    for role, fits in rules.items():
        for value, read in zip(frame[role], dataset.contents[role]):
            assert fits(value, read), f"{role}: {value!r} was read as {read!r}"

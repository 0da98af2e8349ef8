"""Damaged tables and archives: one error, or a table; where sums guard them, the right one."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzz.csv_writers import PACKINGS
from fuzz.damage import damaged
from fuzz.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from ni_platform.data.click_log import LogSpec
from ni_platform.data.click_log.events import read_events
from ni_platform.data.reading.table import read_table
from ni_platform.errors import DatasetError, NiError

_ROLES = {"id": "label", "title": "text", "price": "number", "shown": "count", "clicked": "count"}
_TABLE = pa.table(
    {
        "id": [f"ad{row}" for row in range(40)],
        "title": [f'He said "{row}, ö"' for row in range(40)],
        "price": [row / 8 for row in range(40)],
        "shown": [1000 + row * row for row in range(40)],
        "clicked": list(range(40)),
        "click": [row % 2 for row in range(40)],
    }
)
_LOG = LogSpec(name="log", content="id", clicked="click", categorical=("title",))
_GUARDED = ("gzip", "bz2", "xz", "zip", "tar.gz")
"""Packings that carry a sum of what they hold."""


def _parquet(**options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(_TABLE, out, **options)
    return out.getvalue()


def _files() -> dict[str, tuple[str, bytes]]:
    text = _TABLE.to_pandas().to_csv(index=False)
    data = text.encode()
    files = {name: (suffix, pack(data)) for name, (suffix, pack) in PACKINGS.items()}
    files["csv"] = (".csv", data)
    files["utf-16"] = (".csv", text.encode("utf-16"))
    files["parquet"] = (".parquet", _parquet())
    files["plain parquet"] = (".parquet", _parquet(compression="none", use_dictionary=False))
    files["parquet zip"] = (".parquet.zip", PACKINGS["zip"][1](_parquet()))
    return files


FILES = _files()


def read(name: str, data: bytes) -> pd.DataFrame:
    """The table in a file that holds these bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{FILES[name][0]}"
        path.write_bytes(data)
        table = read_table(path, _ROLES)
    missing = sorted(set(_ROLES) - set(table.columns))
    if missing:  # as every caller says that declares columns
        raise DatasetError(f"There is no column {missing}.")
    return table


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_undamaged_table_is_read(name: str) -> None:
    """What the damaged ones are compared with: all forty rows."""
    table = read(name, FILES[name][1])
    assert table["id"].tolist() == _TABLE["id"].to_pylist()
    assert table["price"].tolist() == _TABLE["price"].to_pylist()


@examples(12, 1200)
@given(st.data())
def test_a_damaged_table_is_an_error_or_a_table(data: Any) -> None:
    """Whatever happened to its bytes; where a sum guards them, every cell is the one written."""
    name = data.draw(st.sampled_from(sorted(FILES)))
    broken = data.draw(damaged(FILES[name][1]))
    try:
        table = read(name, broken)
    except NiError:
        return
    assert isinstance(table, pd.DataFrame)
    if name in _GUARDED:
        pd.testing.assert_frame_equal(table, read(name, FILES[name][1]))


@examples(8, 500)
@given(st.data())
def test_a_damaged_log_is_an_error_or_events_and_rejects(data: Any) -> None:
    """Whatever happened to its bytes: as many good and bad rows as rows, or one error."""
    name = data.draw(st.sampled_from(sorted(FILES)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"log{FILES[name][0]}"
        path.write_bytes(data.draw(damaged(FILES[name][1])))
        try:
            pieces = list(read_events(path, _LOG))
        except NiError:
            return
    for piece in pieces:
        assert len(piece.events) + len(piece.rejects) == piece.rows


@examples(8, 500)
@given(st.data())
def test_a_packed_table_that_is_cut_short_is_never_read_in_part(data: Any) -> None:
    """Cut anywhere, what is packed gives all rows or an error."""
    # Between two parts, nothing tells that there was another.
    packed = [name for name in sorted(FILES) if not name.startswith(("csv", "utf"))]
    name = data.draw(st.sampled_from([name for name in packed if "in two" not in name]))
    whole = FILES[name][1]
    try:
        table = read(name, whole[: data.draw(st.integers(0, len(whole) - 1))])
    except NiError:
        return
    pd.testing.assert_frame_equal(table, read(name, whole))

"""The same table as pandas, Polars, DuckDB and PyArrow write it to Parquet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.columns import Column
from fuzz.contents import Contents
from hypothesis import assume, reject
from hypothesis import strategies as st

Writer = Callable[[Path], None]


@st.composite
def written_by(draw: Any, contents: Contents) -> tuple[Contents, Writer]:
    """What a program then holds in its hands, and how it is written."""
    program = draw(st.sampled_from([_pyarrow, _pandas, _pandas, _polars, _duckdb]))
    return draw(program(contents))


@st.composite
def _pyarrow(draw: Any, contents: Contents) -> tuple[Contents, Writer]:
    options = {
        "compression": draw(st.sampled_from(["snappy", "none", "gzip", "zstd", "lz4", "brotli"])),
        "use_dictionary": draw(st.booleans()),
        "row_group_size": draw(st.sampled_from([1, 2, 1000])),
        "version": draw(st.sampled_from(["1.0", "2.4", "2.6"])),
        "data_page_version": draw(st.sampled_from(["1.0", "2.0"])),
        "store_schema": draw(st.booleans()),
    }
    return contents, lambda path: pq.write_table(contents.table, path, **options)


@st.composite
def _polars(draw: Any, contents: Contents) -> tuple[Contents, Writer]:
    # Polars panics at decimals of 256 bits.
    assume(not any(pa.types.is_decimal256(column.type) for column in contents.columns.values()))
    compression = draw(st.sampled_from(["zstd", "snappy", "uncompressed"]))
    return contents, lambda path: pl.from_arrow(contents.table).write_parquet(
        path, compression=compression
    )


@st.composite
def _duckdb(draw: Any, contents: Contents) -> tuple[Contents, Writer]:
    codec = draw(st.sampled_from(["snappy", "zstd", "uncompressed"]))

    def write(path: Path) -> None:
        with duckdb.connect() as connection:
            connection.register("contents", contents.table)
            connection.execute(f"COPY contents TO '{path}' (FORMAT parquet, CODEC '{codec}')")

    return contents, write


@st.composite
def _pandas(draw: Any, contents: Contents) -> tuple[Contents, Writer]:
    """A frame with any index that comes of selecting, joining and grouping."""
    backend = draw(st.sampled_from(["numpy", "nullable", "arrow"]))
    frame = contents.table.to_pandas(types_mapper=_BACKENDS[backend])
    if backend == "numpy":
        contents = _as_numpy_has_it(contents)
    rows, names = len(frame), contents.names
    index = draw(
        st.sampled_from(["none", "shuffled", "twice", "texts", "declared", "several", "range"])
    )
    if index == "shuffled":
        frame.index = pd.Index(draw(st.permutations(range(rows))), dtype="int64")
    elif index == "twice":
        frame.index = pd.Index([0] * rows)
    elif index == "texts":
        frame.index = pd.Index([f"row {rows - row}" for row in range(rows)])
    elif index == "declared":
        role = draw(st.sampled_from(["id", "test", "title", "pic", "clicked", "extra"]))
        frame = frame.set_index(names[role], drop=draw(st.booleans()))
    elif index == "several":
        some = draw(st.permutations(["id", "test", "kind", "shown", "extra"]))[:2]
        try:
            frame = frame.set_index([names[role] for role in some])
        except pa.ArrowInvalid:  # pandas makes no such index of a dictionary with nulls
            reject()
    elif index == "range":
        start, step = draw(st.integers(-5, 5)), draw(st.sampled_from([1, 3, -1]))
        frame = frame.drop(columns=names["id"])
        frame.index = pd.RangeIndex(start, start + step * rows, step, name=names["id"])
        ids = Column(pa.int64(), list(frame.index))
        contents = Contents(names, contents.columns | {"id": ids})
    return contents, lambda path: frame.to_parquet(path)


_NULLABLE = {
    pa.int64(): pd.Int64Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype(),
}
_BACKENDS: dict[str, Any] = {"numpy": None, "nullable": _NULLABLE.get, "arrow": pd.ArrowDtype}


def _as_numpy_has_it(contents: Contents) -> Contents:
    """Integers beside a null are floats in pandas, before anything is written."""
    columns = {}
    for role, column in contents.columns.items():
        values = column.values
        if pa.types.is_integer(column.type) and None in values:
            values = [None if value is None else np.float64(value) for value in values]
        columns[role] = Column(column.type, values)
    return Contents(contents.names, columns)

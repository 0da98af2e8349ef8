"""Parquet as Arrow holds it: no index of pandas decides about rows, integers stay integers."""

from __future__ import annotations

import io
import json
from collections.abc import Collection
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ni_platform.data.reading.csv_file import check_names
from ni_platform.errors import DatasetError

PARQUET_MAGIC = b"PAR1"
"""First bytes of every Parquet file."""
_UNNAMED_INDEX = "__index_level_"


def read_parquet(source: bytes | IO[bytes], name: str, wanted: Collection[str] = ()) -> pa.Table:
    """Read a whole Parquet file; columns that were an index of pandas are columns.

    An index without a name is left out, unless `wanted` names it. `name` stands for the file in
    messages.

    Raises:
        DatasetError: The file is cut short, damaged or no Parquet, or names a column twice.

    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    fixed: list[str] = []
    try:
        # `ParquetFile` reads this file alone; `read_table` would take the names of folders as data.
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            check_names(schema.names, name)
            fixed = [f.name for f in schema if pa.types.is_fixed_size_list(f.type)]
            table = parquet.read()
        table.validate(full=True)
        fields = [field.with_type(_without_views(field.type)) for field in table.schema]
        table = table.cast(pa.schema(fields, metadata=table.schema.metadata))
    except (pa.ArrowException, OSError, ValueError) as error:
        if fixed and "lists to be of size" in str(error):
            raise DatasetError(
                f"PyArrow cannot read null rows of lists of a fixed size, and {name} has such "
                f"lists in {', '.join(fixed)}: write them as lists of any size."
            ) from error
        raise DatasetError(
            f"{name} is not a readable Parquet table ({' '.join(str(error).split())}): if it is "
            "one, it is cut short or damaged; copy or write it again."
        ) from error
    for column in _range_indexes(table.schema):
        if column["name"] not in table.column_names:
            values = range(column["start"], column["stop"], column["step"])
            table = table.append_column(str(column["name"]), pa.array(values, pa.int64()))
    unnamed = [
        column
        for column in table.column_names
        if column.startswith(_UNNAMED_INDEX) and column not in wanted
    ]
    return table.drop_columns(unnamed).replace_schema_metadata(None)


def exact_series(column: pa.ChunkedArray) -> pd.Series:
    """Return a column for pandas in which no value changes: integers with nulls stay integers."""
    kind = column.type
    if pa.types.is_integer(kind) and column.null_count:
        return pd.Series(column.to_pandas(types_mapper=_NULLABLE.get))
    plain = (
        pa.types.is_integer, pa.types.is_float32, pa.types.is_float64, pa.types.is_string,
        pa.types.is_large_string, pa.types.is_timestamp,
    )  # fmt: skip
    if any(check(kind) for check in plain) or (pa.types.is_boolean(kind) and not column.null_count):
        return pd.Series(column.to_pandas())
    return pd.Series(pd.array(column, dtype=pd.ArrowDtype(kind)))


def _without_views(kind: pa.DataType) -> pa.DataType:
    """The type that holds the same without views, of which Arrow cannot take rows."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(_without_views(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_views(field.type)) for field in kind])
    return kind


_NULLABLE: dict[pa.DataType, Any] = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def _range_indexes(schema: pa.Schema) -> list[dict[str, Any]]:
    """Indexes with a name that pandas wrote as start, stop and step, not as a column."""
    written = (schema.metadata or {}).get(b"pandas")
    indexes = json.loads(written).get("index_columns", []) if written else []
    return [index for index in indexes if isinstance(index, dict) and index.get("name")]

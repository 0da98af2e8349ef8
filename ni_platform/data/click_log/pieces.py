"""A file of a log, packed or not, as pieces of its declared columns."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ni_platform.data.click_log.csv_pieces import Piece, csv_pieces
from ni_platform.data.click_log.spec import LogSpec
from ni_platform.data.manifest import nearest
from ni_platform.data.reading.csv_file import Say, check_names
from ni_platform.data.reading.packed import is_workbook, unpacked, without_packing
from ni_platform.errors import DatasetError

_ROWS_AT_ONCE = 1 << 18
_PARQUET, _PARQUET_MAGIC = (".parquet", ".pq"), b"PAR1"


def pieces_of(path: Path, name: str, spec: LogSpec, say: Say) -> Iterator[Piece]:
    """Read a CSV or Parquet file, also compressed or the only one in an archive.

    `name` stands for the file in messages; `say` is told what was found out about it.

    Raises:
        DatasetError: It is neither, cut short or damaged, or lacks a column of the spec.

    """
    with unpacked(path, name) as (stream, inner):
        head = stream.read(len(_PARQUET_MAGIC))
        stream.seek(0)
        if head == _PARQUET_MAGIC or without_packing(inner).endswith(_PARQUET):
            yield from _parquet(path, stream, name, spec)
        elif is_workbook(head):
            raise DatasetError(
                f"{name} is a workbook of a spreadsheet: save the sheet as CSV UTF-8, and name "
                "that file."
            )
        else:
            texts = () if spec.time is None else (spec.time,)
            for piece in csv_pieces(stream, name, spec.columns, spec.csv, say, texts):
                _check_columns(piece.rows.schema, list(piece.header), spec, name)
                yield piece


def _parquet(path: Path, stream: IO[bytes], name: str, spec: LogSpec) -> Iterator[Piece]:
    try:
        with ExitStack() as stack:
            source = _seekable(path, stream, stack)
            schema = pq.read_schema(source)
            check_names(schema.names, name)
            _check_columns(schema, schema.names, spec, name)
            columns = list(spec.columns)
            texts = [column for column in columns if _is_text(schema.field(column).type)]
            file = stack.enter_context(pq.ParquetFile(source, read_dictionary=texts))
            start = 1
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                rows = pa.table(batch)
                rows.validate(full=True)  # damage shows as texts or levels that are not there
                yield Piece(rows=rows, lines=np.arange(start, start + len(rows)))
                start += len(rows)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DatasetError(
            f"{name} is not a readable log ({' '.join(str(error).split())}): give Parquet or CSV; "
            "if it is Parquet, it is cut short or damaged: copy or write it again."
        ) from error


def _seekable(path: Path, stream: IO[bytes], stack: ExitStack) -> Path | IO[bytes]:
    """Parquet is read from its end, which a compressed stream reaches by reading all of it."""
    if type(stream) is io.BufferedReader:
        return path
    copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  # the stack closes it
    shutil.copyfileobj(stream, copy)
    copy.seek(0)
    return copy


def _is_text(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string))


def _check_columns(schema: pa.Schema, known: list[str], spec: LogSpec, name: str) -> None:
    for column in spec.columns:
        if column not in known:
            raise DatasetError(
                f"{name} has no column {column!r}{nearest(column, known)}; it has {known}. "
                "Correct the name in the spec, or give logs of one kind."
            )
        if pa.types.is_nested(schema.field(column).type):
            raise DatasetError(
                f"{name} must have one value per row in {column!r}, but it holds "
                f"{schema.field(column).type}: write its parts as columns."
            )

"""The same texts as pandas, Polars, DuckDB, PyArrow and Python's csv module write them to CSV."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv
from hypothesis import assume
from hypothesis import strategies as st

from ni_platform.data.reading.csv_file import CsvFormat

_QUOTING = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
_ABOVE = (
    "", "", "", "Report of ads\n", "Report\n\nfrom 2024-01-01 to 2024-01-31\n", "sep={}\n",
    '"Account, all",7\n',
)  # fmt: skip


@dataclass(frozen=True)
class Written:
    """A file, and what the reader is told of it."""

    data: bytes
    suffix: str
    form: CsvFormat
    sure: bool
    """Whether the reader must know it: in UTF-8, with nothing above its header, and where lines
    end in CR alone, no LF, which the csv module does not quote then."""


@st.composite
def written_by(draw: Any, table: pa.Table) -> Written:
    """A table of texts as one of the programs writes it, encoded and packed."""
    separator = draw(st.sampled_from(",;\t|"))
    program = draw(st.sampled_from([_csv_module, _csv_module, _pandas, _polars, _duckdb, _pyarrow]))
    text = draw(program(table, separator))
    above = draw(st.sampled_from(_ABOVE)).format(separator)
    encoding = draw(st.sampled_from(["utf-8"] * 4 + ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"]))
    try:
        data = (above + text).encode(encoding)
    except UnicodeEncodeError:
        assume(False)
    told = draw(st.booleans())
    if encoding == "cp1252" and not told:
        assume(not _decodes(data, "utf-8"))  # nobody can tell which of the two it is
    packing = draw(st.sampled_from([*["none"] * 6, *PACKINGS]))
    suffix, pack = PACKINGS.get(packing, (".csv", lambda data: data))
    return Written(
        data=pack(data),
        suffix=suffix,
        form=CsvFormat(delimiter=separator, encoding=encoding) if told else CsvFormat(),
        sure=encoding.startswith("utf-8") and not above and not _is_bare(text),
    )


def _is_bare(text: str) -> bool:
    """Whether rows end in CR alone and a cell holds an LF, perhaps without quotes."""
    return "\n" in text and text.endswith("\r")


@st.composite
def _csv_module(draw: Any, table: pa.Table, separator: str) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(
        out,
        delimiter=separator,
        quoting=draw(st.sampled_from(_QUOTING)),
        lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"])),
    )
    trailing = [""] if draw(st.booleans()) else []  # an empty last field, as some systems write
    writer.writerow(table.column_names)
    writer.writerows([*row, *trailing] for row in zip(*(column.to_pylist() for column in table)))
    return out.getvalue()


@st.composite
def _pandas(draw: Any, table: pa.Table, separator: str) -> str:
    return table.to_pandas().to_csv(
        index=draw(st.booleans()),
        sep=separator,
        quoting=draw(st.sampled_from(_QUOTING)),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
    )


@st.composite
def _polars(draw: Any, table: pa.Table, separator: str) -> str:
    style = draw(st.sampled_from(["necessary", "always", "non_numeric"]))
    return pl.from_arrow(table).write_csv(separator=separator, quote_style=style)


@st.composite
def _duckdb(draw: Any, table: pa.Table, separator: str) -> str:
    return _through_a_file(lambda path: _copy(table, path, separator))


@st.composite
def _pyarrow(draw: Any, table: pa.Table, separator: str) -> str:
    options = pa.csv.WriteOptions(
        delimiter=separator, quoting_style=draw(st.sampled_from(["needed", "all_valid"]))
    )
    out = io.BytesIO()
    pa.csv.write_csv(table, out, options)
    return out.getvalue().decode()


def _copy(table: pa.Table, path: Path, separator: str) -> None:
    with duckdb.connect() as connection:
        connection.register("contents", table)
        connection.execute(f"COPY contents TO '{path}' (FORMAT csv, HEADER, DELIM '{separator}')")


def _through_a_file(write: Callable[[Path], None]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write(path)
        return path.read_bytes().decode()


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _in_two(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Packed in two parts one after the other, as programs that use several processors do."""
    return lambda data: pack(data[: len(data) // 2]) + pack(data[len(data) // 2 :])


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("table.csv", data)
    return out.getvalue()


def _tar(data: bytes, mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        member = tarfile.TarInfo("table.csv")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


PACKINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": (".csv.gz", _gzip),
    "gzip in two": (".csv.gz", _in_two(_gzip)),
    "bz2 in two": (".csv.bz2", _in_two(bz2.compress)),
    "xz in two": (".csv.xz", _in_two(lzma.compress)),
    "zstd in two": (".csv.zst", _in_two(_zstd)),
    "bz2": (".csv.bz2", bz2.compress),
    "xz": (".csv.xz", lzma.compress),
    "zstd": (".csv.zst", _zstd),
    "zip": (".csv.zip", _zip),
    "tar": (".csv.tar", lambda data: _tar(data, "w:")),
    "tar.gz": (".tgz", lambda data: _tar(data, "w:gz")),
}

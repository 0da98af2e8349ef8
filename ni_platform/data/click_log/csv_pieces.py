"""A CSV of any length as pieces of rows: Arrow reads what is plain, Python what has odd quotes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ni_platform.data.click_log.texts import BYTES, MARK, Texts
from ni_platform.data.reading.csv_file import (
    CsvFormat,
    Header,
    Say,
    check_no_rows_inside,
    find_header,
    fitted,
    named,
    quote_error,
    tell,
)
from ni_platform.errors import DatasetError

_HEAD = 1 << 20
_LARGEST_FIELD = 64 << 20
_LEVELS = pa.dictionary(pa.int32(), pa.string())
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Rows of a log, one after the other."""

    rows: pa.Table
    """The wanted columns."""
    lines: np.ndarray
    """int64 [rows]: line (CSV, from 1) or row (Parquet, from 1)."""
    broken: list[tuple[int, str]] = field(default_factory=list)
    """Lines that did not fit the header, and why."""
    header: tuple[str, ...] = ()
    """All names of a CSV's header, which other rows may repeat."""


def csv_pieces(
    stream: IO[bytes],
    name: str,
    wanted: Sequence[str],
    form: CsvFormat,
    say: Say,
    texts: Collection[str] = (),
) -> Iterator[Piece]:
    """Read a CSV piece by piece; memory does not follow its length.

    Args:
        stream: Its bytes.
        name: Stands for the file in messages.
        wanted: Columns to read, as texts or levels, an empty cell as null. The pieces hold those
            that the header has.
        form: What is known of how it is written.
        say: Told separator, encoding and header where they are not the usual ones.
        texts: Wanted columns whose values hardly repeat, to be read as plain texts.

    Raises:
        DatasetError: There is no header, it names a column twice, the encoding cannot be told, or
            quotes do not open and close fields.

    """
    source = Texts(stream, name, form, say)
    text = next(source, "").removeprefix(MARK)
    header = find_header(text[:_HEAD], name, wanted, form)
    tell(say, name, header, source.encoding, form)
    below, line = _below(text, header)
    reader = _Reader(name=name, header=header, wanted=wanted, texts=texts)
    rest = below.encode(*BYTES)
    more: str | None = ""
    while more is not None or rest:
        more = next(source, None)
        if more is not None:
            rest += more.encode(*BYTES)
        elif rest and not rest.endswith((b"\n", b"\r")):
            rest += b"\n"
        if b"\0" in rest:
            raise DatasetError(f"{name} holds zero bytes, so it is no text table: check the file.")
        piece, used, lines = reader.read(rest, line, last=more is None)
        rest, line = rest[used:], line + lines
        yield piece


def _below(text: str, header: Header) -> tuple[str, int]:
    """What stands below the header, and the line that it begins in."""
    lines = io.StringIO(text, newline="")
    if header.separator_line:
        lines.readline()
    reader = csv.reader(lines, delimiter=header.delimiter)
    for _ in range(header.rows_above + 1):
        next(reader)
    return text[lines.tell() :], reader.line_num + header.separator_line + 1


@dataclass(frozen=True, kw_only=True)
class _Reader:
    name: str
    header: Header
    wanted: Sequence[str]
    texts: Collection[str]

    def read(self, data: bytes, line: int, *, last: bool) -> tuple[Piece, int, int]:
        """Read the whole rows at the start of `data`; also gives their bytes and lines."""
        plain = self._plain_rows(data, line)
        if plain is not None:
            used, lines, newlines = plain
            if piece := self._with_arrow(data[:used], lines):
                return piece, used, newlines
        return self._carefully(data, line, last)

    def _plain_rows(self, data: bytes, line: int) -> tuple[int, np.ndarray, int] | None:
        """Bytes of the whole rows, the line that each begins in, and all lines; None if unsure.

        Rows are plain where each quote opens a field, closes one, or is doubled within one: the
        first, third, ... quote follows a separator or a quote, the second, fourth, ... precedes
        one.
        """
        end = data.rfind(b"\n") + 1
        returns = data.count(b"\r", 0, end)
        if (returns and returns != data.count(b"\r\n", 0, end)) or not end:
            return None
        if b'"' not in data:
            newlines = data.count(b"\n", 0, end)
            return end, np.arange(line, line + newlines), newlines
        cells = np.frombuffer(data, np.uint8, end)
        quotes, ends = np.flatnonzero(cells == _QUOTE), np.flatnonzero(cells == _NEWLINE)
        inside = np.searchsorted(quotes, ends) % 2 == 1
        closed = ends[~inside]
        if not len(closed):
            return None
        used = int(closed[-1]) + 1
        quotes = quotes[: np.searchsorted(quotes, used)]
        outer = np.zeros(256, dtype=bool)
        outer[[ord(self.header.delimiter), _NEWLINE, _RETURN, _QUOTE]] = True
        # Before the first byte stands, as index -1, the last newline.
        if not (outer[cells[quotes[::2] - 1]].all() and outer[cells[quotes[1::2] + 1]].all()):
            return None
        newlines = int(np.searchsorted(ends, used))
        begins = np.concatenate([[0], np.searchsorted(ends, closed[:-1], side="right")])
        lines = line + begins.astype(np.int64)
        inner = ends[inside & (ends < used)]
        for row in np.unique(np.searchsorted(closed, inner)):
            start = int(closed[row - 1]) + 1 if row else 0
            text = data[start : closed[row] + 1].decode("utf-8")
            self._fitted(next(self._parsed([text])), int(lines[row]))
        return used, lines, newlines

    def _with_arrow(self, data: bytes, lines: np.ndarray) -> Piece | None:
        """Parse plain rows; None where some only lack or have an empty last field."""
        wide = len(self.header.names)
        broken: dict[int, str] = {}
        mended = False

        def skip(row: pa.csv.InvalidRow) -> str:
            nonlocal mended
            ends = row.text.rstrip("\r\n").removesuffix('""').endswith(self.header.delimiter)
            mended |= row.actual_columns == wide + 1 and ends
            mended |= row.actual_columns == wide - 1 and self.header.unnamed_last
            broken[row.number - 1] = _count(row.actual_columns, wide)
            return "skip"

        columns = self._columns()
        try:
            table = self._table(data, columns, skip)
        except pa.ArrowInvalid:
            return None  # such as bytes that are no text
        kept = np.delete(lines, list(broken))
        if mended or len(table) != len(kept):
            return None
        return self._piece(table, kept, [(int(lines[i]), why) for i, why in broken.items()])

    def _table(
        self, data: bytes, columns: list[str], skip: Callable[[pa.csv.InvalidRow], str]
    ) -> pa.Table:
        return pa.csv.read_csv(
            pa.BufferReader(data),
            # One thread, as only then the number of a broken row is known.
            read_options=pa.csv.ReadOptions(
                column_names=named(self.header.names), use_threads=False, block_size=len(data) + 1
            ),
            # An empty line is a bad row: ignored ones would shift the numbers of the others.
            parse_options=pa.csv.ParseOptions(
                delimiter=self.header.delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=skip,
            ),
            # Only declared columns: of the others, a type would be guessed from the first block.
            convert_options=pa.csv.ConvertOptions(
                include_columns=columns,
                column_types={
                    name: pa.string() if name in self.texts else _LEVELS for name in columns
                },
                strings_can_be_null=True,
                null_values=[""],
            ),
        )

    def _carefully(self, data: bytes, line: int, last: bool) -> tuple[Piece, int, int]:
        """Read rows one by one, as tables are read."""
        wide = len(self.header.names)
        end = len(data) if last else data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1
        texts = list(io.StringIO(data[:end].decode(*BYTES), newline=""))
        wanted = [self.header.names.index(name) for name in self._columns()]
        done, rows, lines, broken = 0, list[list[str]](), list[int](), list[tuple[int, str]]()
        reader = self._parsed(texts)
        try:
            for row in reader:
                place, done = line + done, reader.line_num
                whole = self._fitted(row, place) if row else [""] * wide
                if whole is None:
                    broken.append((place, _count(len(row), wide)))
                elif strange := _strange(whole[i] for i in wanted):
                    broken.append((place, f"{strange!r} is no text in its encoding"))
                else:
                    rows.append(whole)
                    lines.append(place)
        except csv.Error as error:
            if last or reader.line_num < len(texts):
                escaped = any('\\"' in text for text in texts[done : reader.line_num])
                place_ = f"{self.name} line {line + done}"
                raise quote_error(place_, error, escaped=escaped) from error
        table = pa.table(
            [pa.array([row[i] or None for row in rows], pa.string()) for i in wanted],
            names=self._columns(),
        )
        used = end - len("".join(texts[done:]).encode(*BYTES))
        return self._piece(table, np.array(lines, dtype=np.int64), broken), used, done

    def _fitted(self, row: list[str], line: int) -> list[str] | None:
        """The row, None if it does not fit; raises DatasetError where it has swallowed others."""
        whole = fitted(row, self.header)
        if whole is not None:
            check_no_rows_inside(whole, line, self.name, self.header)
            return whole
        wide, lines = len(self.header.names), self.header.delimiter.join(row).splitlines()
        if len(lines) > 1 and any(part.count(self.header.delimiter) + 1 == wide for part in lines):
            raise DatasetError(
                f"{self.name} line {line} {_count(len(row), wide)}, and goes on over {len(lines)} "
                "lines of which some are rows: a quote in it is not closed. Double quotes inside "
                "of fields, or remove the stray one."
            )
        return None

    def _parsed(self, texts: Sequence[str]) -> Any:
        csv.field_size_limit(_LARGEST_FIELD)
        return csv.reader(texts, delimiter=self.header.delimiter, strict=True)

    def _columns(self) -> list[str]:
        return [name for name in self.wanted if name in self.header.names]

    def _piece(self, rows: pa.Table, lines: np.ndarray, broken: list[tuple[int, str]]) -> Piece:
        return Piece(rows=rows, lines=lines, broken=broken, header=self.header.names)


def _count(fields: int, wide: int) -> str:
    return f"has {fields} columns, not {wide}"


def _strange(cells: Iterable[str]) -> bytes | None:
    """The first cell with bytes that are no text."""
    return next((cell.encode(*BYTES) for cell in cells if not _is_text(cell)), None)


def _is_text(cell: str) -> bool:
    return cell.isascii() or not _SURROGATE.search(cell)

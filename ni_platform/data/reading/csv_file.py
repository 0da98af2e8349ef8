"""CSV as people write it: separator, header and rows; a row that does not fit is told."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from ni_platform.data.reading.encoding import check_encoding, decoded, encoding_of
from ni_platform.data.reading.numbers import Decimals
from ni_platform.errors import ConfigError, DatasetError

DELIMITERS = (",", ";", "\t", "|")
_HEADER_WITHIN = 40
"""Rows among which the header is looked for: reports begin with a title, an account, a period."""
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
_LARGEST_FIELD = 1 << 26

Say = Callable[[str], None]
"""Told in words what was found out about a file that its reader should know."""


@dataclass(frozen=True, kw_only=True)
class CsvFormat:
    """How a text table is written; what is None is found out from the file."""

    delimiter: str | None = None
    """One character; `\\t` may stand for the tab."""
    encoding: str | None = None
    decimal: Decimals | None = None
    """The decimal sign of the columns of numbers."""

    def __post_init__(self) -> None:
        if self.delimiter == "\\t":
            object.__setattr__(self, "delimiter", "\t")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise ConfigError(
                f"A delimiter is one character, such as ; or \\t, but got {self.delimiter!r}."
            )
        if self.decimal not in (None, ".", ","):
            raise ConfigError(f"decimal must be . or , but is {self.decimal!r}.")
        if self.encoding is not None:
            check_encoding(self.encoding)


@dataclass(frozen=True, kw_only=True)
class Header:
    """Where a text table begins, and its columns."""

    delimiter: str
    names: tuple[str, ...]
    rows_above: int
    """Rows that stand above the header."""
    separator_line: bool
    """Whether the file begins with a line such as `sep=;`."""

    @property
    def unnamed_last(self) -> bool:
        """Whether the header ends with a separator, as each row may."""
        return len(self.names) > 1 and self.names[-1] == ""


def read_csv(
    data: bytes, name: str, wanted: Collection[str], form: CsvFormat, say: Say
) -> tuple[pa.Table, np.ndarray, Header]:
    """Read a whole CSV; every column as text, an empty cell as null.

    Args:
        data: Its bytes.
        name: Stands for the file in messages.
        wanted: Columns that the header is recognised by.
        form: What is known of how it is written.
        say: Told the separator, encoding and header where they are not the usual ones.

    Returns:
        The table, the line of the file that each row begins in (int64 [N], from 1), the header.

    Raises:
        DatasetError: The text cannot be decoded, a row does not fit the header, a quote is not
            closed, or a column is named twice.

    """
    encoding = form.encoding or encoding_of(data, name)
    text = decoded(data, encoding, name).removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    if "\0" in text:
        raise DatasetError(f"{name} holds zero bytes, so it is no text table: check the file.")
    header = find_header(text, name, wanted, form)
    tell(say, name, header, encoding, form)
    columns: list[list[str | None]] = [[] for _ in header.names]
    lines: list[int] = []
    for line, row in _rows(text, name, header):
        lines.append(line)
        for column, cell in zip(columns, row):
            column.append(cell or None)
    names = named(header.names)
    kept = [i for i, column in enumerate(columns) if header.names[i] or any(column)]
    table = pa.table(
        [pa.array(columns[i], pa.string()) for i in kept], names=[names[i] for i in kept]
    )
    return table, np.array(lines, dtype=np.int64), header


def find_header(text: str, name: str, wanted: Collection[str], form: CsvFormat) -> Header:
    """Find the separator and the header in the first lines of a table's text.

    The header is the first row that names all wanted columns, in whatever separator; where no row
    does, it is the first row, in the separator that gives the most of them.
    """
    separator = _SEPARATOR_LINE.match(text)
    start = separator.end() if separator else 0
    given = form.delimiter or (separator and separator[1])
    best: tuple[tuple[int, int, int], Header] | None = None
    for delimiter in [given] if given else DELIMITERS:
        rows = first_rows(text[start:], delimiter)
        found = [len(set(wanted) & set(map(str.strip, row))) for row in rows]
        complete = [place for place, count in enumerate(found) if count == len(set(wanted))]
        place = complete[0] if complete else next((i for i, row in enumerate(rows) if any(row)), 0)
        if not rows:
            continue
        header = Header(
            delimiter=delimiter,
            names=tuple(cell.strip() for cell in rows[place]),
            rows_above=place,
            separator_line=separator is not None,
        )
        rank = (found[place], len(rows[place]), -place)
        if best is None or rank > best[0]:
            best = rank, header
    if best is None or not any(best[1].names):
        raise DatasetError(f"{name} is empty: a table begins with a header line.")
    check_names(best[1].names, name)
    return best[1]


def check_names(names: Sequence[str], table: str) -> None:
    """Raise DatasetError where a header names a column twice."""
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise DatasetError(
            f"Each column needs a name of its own, but the header of {table} has "
            f"{', '.join(map(repr, repeated))} more than once: rename or remove the copies."
        )


def named(names: Sequence[str]) -> list[str]:
    """Names of all columns; one without a name, such as an index that pandas wrote, gets one."""
    return [name or f"unnamed_{place}" for place, name in enumerate(names)]


def tell(say: Say, name: str, header: Header, encoding: str, form: CsvFormat) -> None:
    """Say what was found out about a file that is not the usual CSV in UTF-8."""
    found = []
    if form.encoding is None and encoding not in ("utf-8", "utf-8-sig"):
        found.append(f"as {encoding}")
    if form.delimiter is None and header.delimiter != ",":
        found.append(f"with the separator {header.delimiter!r}")
    if header.rows_above:
        found.append(f"without the {header.rows_above} lines above the header")
    if found:
        say(f"{name} is read {', '.join(found)}")


def first_rows(text: str, delimiter: str) -> list[list[str]]:
    """The first rows, as far as they can be parsed: lines above a header may hold anything."""
    rows: list[list[str]] = []
    try:
        for row in islice(
            csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), _HEADER_WITHIN
        ):
            rows.append(row)
    except csv.Error:
        pass
    return rows


def _rows(text: str, name: str, header: Header) -> Iterator[tuple[int, list[str]]]:
    """Rows below the header that hold anything, each as long as it, with their first lines."""
    csv.field_size_limit(_LARGEST_FIELD)
    lines = io.StringIO(text, newline="")
    if header.separator_line:
        lines.readline()
    skipped = int(header.separator_line)
    reader = csv.reader(lines, delimiter=header.delimiter, strict=True)
    number, ahead = 0, header.rows_above + 1
    try:
        for row in reader:
            line, number = number + 1, reader.line_num
            if ahead > 0:
                ahead -= 1
            elif any(row):
                yield line + skipped, _fitted(row, line + skipped, name, header)
    except csv.Error as error:
        place = f"{name} line {number + 1 + skipped}"
        raise quote_error(place, error, escaped='\\"' in text) from error


def quote_error(place: str, error: csv.Error, *, escaped: bool) -> DatasetError:
    """Say what is wrong with the quotes of a row; `escaped` if the text has backslashes there."""
    return DatasetError(
        f"{place}: {error}. Quotes inside of a quoted field must be "
        + ('doubled, but are written as \\": ' if escaped else "doubled, and each be closed: ")
        + "export the table again so, or correct the line."
    )


def _fitted(row: list[str], line: int, name: str, header: Header) -> list[str]:
    fitting = fitted(row, header)
    if fitting is None:
        raise DatasetError(
            f"{name} line {line}: the header has {len(header.names)} fields, but the row has "
            f"{len(row)}: put fields that hold the separator {header.delimiter!r} in quotes, or "
            "correct the line."
        )
    if tuple(cell.strip() for cell in fitting) == header.names:
        raise DatasetError(
            f"{name} line {line} is the header again, as where files were put one below the other: "
            "remove the line."
        )
    check_no_rows_inside(fitting, line, name, header)
    return fitting


def fitted(row: list[str], header: Header) -> list[str] | None:
    """Return a row as long as the header; None where more than an empty last field is amiss."""
    wide = len(header.names)
    if len(row) == wide + 1 and row[-1] == "":
        return row[:-1]  # every row ends with a separator, and the header does not
    if len(row) == wide - 1 and header.unnamed_last:
        return [*row, ""]
    return row if len(row) == wide else None


def check_no_rows_inside(row: list[str], line: int, name: str, header: Header) -> None:
    """Raise DatasetError where a field of several lines holds rows: its quote was never closed.

    What such a field swallowed is the rest of its own row, perhaps whole rows, and the start of
    another row. Lines count as rows if they have as many fields as the header, and numbers where
    this row has numbers.
    """
    if not any("\n" in cell or "\r" in cell for cell in row):
        return
    numeric = [place for place, cell in enumerate(row) if _looks_like_a_number(cell)]

    def is_row(cells: list[str]) -> bool:
        return len(cells) == len(row) and all(_looks_like_a_number(cells[i]) for i in numeric)

    for place, cell in enumerate(row):
        pieces = [piece.split(header.delimiter) for piece in cell.splitlines()]
        if len(pieces) < 2 or not is_row([*row[:place], *pieces[0]]):
            continue
        swallowed = [
            piece for piece in [*pieces[1:-1], pieces[-1] + row[place + 1 :]] if is_row(piece)
        ]
        if swallowed:
            raise DatasetError(
                f"{name} line {line} has a field of several lines that itself holds rows "
                f"({header.delimiter.join(swallowed[0])[:60]}): a quote in it is not closed. "
                "Double quotes inside of fields, or remove the stray one."
            )


def _looks_like_a_number(cell: str) -> bool:
    return bool(re.fullmatch(r"\s*[-+]?[\d.,]*\d\s*%?\s*", cell))

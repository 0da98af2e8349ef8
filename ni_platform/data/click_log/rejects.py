"""Rows that cannot be used, by file and line: kept compressed on disk, however many they are."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from ni_platform.data import storage

_HEADER = b"file,line,reason\r\n"


class RejectsOfFile:
    """Collects the bad rows of one file of a log."""

    count = 0
    first: str | None = None
    """The first of them in words."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._place = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object
        self._compressed = gzip.GzipFile(fileobj=self._place, mode="wb", compresslevel=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._place.close()

    def add(self, rejects: Iterable[tuple[int, str]]) -> None:
        """Add lines and what is wrong with them."""
        ordered = sorted(rejects)
        if ordered and self.first is None:
            line, reason = ordered[0]
            self.first = f"line {line} of {self._file}: {reason}"
        text = io.StringIO()
        csv.writer(text).writerows((self._file, *reject) for reject in ordered)
        self._compressed.write(text.getvalue().encode())
        self.count += len(ordered)

    def compressed(self) -> bytes:
        """All of them as CSV in gzip, nothing where there is none; nothing can be added after."""
        self._compressed.close()
        self._place.seek(0)
        return self._place.read() if self.count else b""


class Rejects:
    """Collects the bad rows of all files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def add(self, number: int, compressed: bytes) -> None:
        """Add what `RejectsOfFile` has collected for the file of this number."""
        if compressed:
            (self._folder / f"{number:09d}").write_bytes(compressed)

    def joined(self) -> Path:
        """A CSV file of all of them, in the order of the files."""
        target = self._folder.with_suffix(".csv")
        with target.open("wb") as whole:
            whole.write(_HEADER)
            for part in sorted(self._folder.iterdir()):
                with gzip.open(part) as rows:
                    shutil.copyfileobj(rows, whole)
        return target

    def write(self, uri: str) -> None:
        """Write that file to a local place or `s3://` URI."""
        storage.write_file(uri, self.joined())

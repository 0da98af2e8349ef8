"""The text of a log that is read in pieces: its encoding is looked at until it is sure."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO

from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.data.reading.encoding import encoding_of
from ni_platform.errors import DatasetError

BYTES = ("utf-8", "surrogateescape")
"""How text that may hold bytes in no encoding becomes bytes again."""
MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
_BYTES_AT_ONCE = 16 << 20


class Texts(Iterator[str]):
    """The text of a file in pieces; bytes that are none become lone surrogates."""

    encoding: str
    """As far as it is known: plain ASCII is both UTF-8 and Windows-1252."""

    def __init__(self, stream: IO[bytes], name: str, form: CsvFormat, say: Say) -> None:
        self._stream, self._name, self._say = stream, name, say
        self._raw = stream.read(_BYTES_AT_ONCE)
        self._told = form.encoding is not None
        whole = len(self._raw) < _BYTES_AT_ONCE
        self.encoding = form.encoding or encoding_of(self._raw, name, complete=whole)
        self._decoder = self._new_decoder()
        self._only_ascii = True
        self._line = 1
        self._ended = False

    def __next__(self) -> str:
        raw = self._raw
        if not raw and self._ended:
            raise StopIteration
        self._ended = not raw
        if not self._told and not raw.isascii():
            self._look_again(raw)
            self._only_ascii = False
        try:
            text = self._decoder.decode(raw, final=not raw)
        except UnicodeError as error:
            raise DatasetError(
                f"{self._name} is not text in {self.encoding} (from line {self._line} on: {error}):"
                " name its encoding (in a spec encoding:), or save it as UTF-8."
            ) from error
        self._line += raw.count(b"\n")
        self._raw = self._stream.read(_BYTES_AT_ONCE) if raw else b""
        return text

    def _new_decoder(self) -> codecs.IncrementalDecoder:
        return codecs.getincrementaldecoder(self.encoding)(errors="surrogateescape")

    def _look_again(self, raw: bytes) -> None:
        if (self.encoding == "utf-8" and self._only_ascii) or self.encoding == "cp1252":
            found = encoding_of(raw, self._name, complete=False, first_line=self._line)
            if found != self.encoding and not self._only_ascii:
                raise DatasetError(
                    f"{self._name} is {self.encoding} above line {self._line}, and {found} from "
                    "there on: save it in one encoding, or name it (in a spec encoding:)."
                )
            if found != self.encoding:
                self._say(f"{self._name} is read as {found}")
                self.encoding = found
                self._decoder = self._new_decoder()

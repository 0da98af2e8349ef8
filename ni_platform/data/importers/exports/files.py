"""Files of an export, opened: a table, a report in sections or JSON documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ni_platform.data import storage
from ni_platform.data.reading.csv_file import DELIMITERS, CsvFormat, first_rows
from ni_platform.data.reading.encoding import decoded, encoding_of
from ni_platform.data.reading.packed import is_workbook, unpacked, without_packing
from ni_platform.data.reading.parquet_file import PARQUET_MAGIC, read_parquet
from ni_platform.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class ExportFile:
    """One file, with what it is recognised by."""

    path: str
    sha256: str
    kind: Literal["text", "json"]
    text: str = ""
    """Nothing of a Parquet table."""
    headers: Sequence[Sequence[str]] = field(default_factory=tuple)
    """Rows of a table that may be its header, in any separator."""
    documents: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    """Of JSON."""

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return PurePosixPath(self.path).name

    @property
    def stem(self) -> str:
        """The file's name without its endings."""
        return PurePosixPath(without_packing(self.name)).stem if self.name else ""


def open_file(path: str | Path, form: CsvFormat) -> ExportFile:
    """Open a file of an export, packed or not.

    Raises:
        DatasetError: It is damaged, no text, no table and no JSON, or JSON that is no object.
    """
    name = str(path)
    with storage.local_copy(path) as local, unpacked(local, name) as (stream, _):
        data = stream.read()
    found: dict[str, Any] = {"path": name, "sha256": hashlib.sha256(data).hexdigest()}
    if data.startswith(PARQUET_MAGIC):
        return ExportFile(kind="text", headers=[read_parquet(data, name).column_names], **found)
    if is_workbook(data):
        raise DatasetError(
            f"{name} is a workbook of a spreadsheet, which also holds formulas and formats: save "
            "the sheet as CSV UTF-8, and name that file."
        )
    text = decoded(data, form.encoding or encoding_of(data, name), name).lstrip("\ufeff")
    if text.lstrip()[:1] in ("{", "["):
        return ExportFile(kind="json", documents=_documents(text, name), **found)
    delimiters = [form.delimiter] if form.delimiter else DELIMITERS
    headers = [row for delimiter in delimiters for row in first_rows(text, delimiter) if any(row)]
    if not headers:
        raise DatasetError(f"{name} is empty: export it again.")
    return ExportFile(kind="text", text=text, headers=headers, **found)


def _documents(text: str, name: str) -> list[Mapping[str, Any]]:
    try:
        # A key that stands twice would silently lose the first of its values.
        value = json.loads(text, object_pairs_hook=_object)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{name} is not valid JSON ({error}): export it again.") from error
    documents = value if isinstance(value, list) else [value]
    if not documents or not all(isinstance(document, Mapping) for document in documents):
        raise DatasetError(f"{name} must hold one JSON object or a list of them.")
    return documents


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise json.JSONDecodeError(f"an object has {twice!r} twice", "", 0)
    return found

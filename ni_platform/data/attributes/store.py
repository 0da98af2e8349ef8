"""Extracted values by content: the same bytes are never given to the same extractor twice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np

from ni_platform.data.attributes.extractor import Extractor, Unreadable, Value
from ni_platform.errors import DatasetError

FILE_NAME = "values.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS extracted (
    digest TEXT NOT NULL, extractor TEXT NOT NULL, version TEXT NOT NULL,
    kind TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (extractor, version, digest)
) WITHOUT ROWID
"""
_LOCK_SECONDS = 60


class AttributeStore:
    """An SQLite file in a folder, which several processes may read and write at once.

    The key is the SHA-256 of the bytes with the extractor's name and version. Each `put` is
    there as a whole or not at all, also after a kill.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder).absolute() / FILE_NAME
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=_LOCK_SECONDS)
            with self._connection:
                self._connection.execute(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def get(self, extractor: Extractor, digests: Sequence[str]) -> dict[str, Value | Unreadable]:
        """Return what is known of `digests`, by digest."""
        with self._explained():
            rows = self._connection.execute(
                "SELECT digest, kind, value FROM extracted WHERE extractor = ? AND version = ? "
                "AND digest IN (SELECT value FROM json_each(?))",
                (extractor.name, extractor.version, json.dumps(list(digests))),
            ).fetchall()
        return {digest: _decoded(kind, value) for digest, kind, value in rows}

    def put(self, extractor: Extractor, values: Mapping[str, Value | Unreadable]) -> None:
        """Keep values by digest."""
        rows = [
            (digest, extractor.name, extractor.version, *_encoded(value))
            for digest, value in values.items()
        ]
        with self._explained(), self._connection:
            # Another process may have computed the same meanwhile: the values are equal.
            self._connection.executemany(
                "INSERT OR IGNORE INTO extracted VALUES (?, ?, ?, ?, ?)", rows
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise DatasetError(
                f"The store of extracted attributes {self.path} cannot be used ({error}): free "
                "some space, set NI_HOME to a folder that can be written, or delete the file if "
                "it is damaged; it is computed anew."
            ) from error


def _encoded(value: Value | Unreadable) -> tuple[str, bytes]:
    if value is None:
        return "nothing", b""
    if isinstance(value, Unreadable):
        return "unreadable", value.reason.encode()
    if isinstance(value, str):
        return "text", value.encode()
    return "vector", np.ascontiguousarray(value, dtype="<f4").tobytes()


def _decoded(kind: str, value: bytes) -> Value | Unreadable:
    if kind == "nothing":
        return None
    if kind == "unreadable":
        return Unreadable(value.decode())
    return value.decode() if kind == "text" else np.frombuffer(value, dtype="<f4")

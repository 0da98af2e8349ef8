"""Compressed files and archives of one file, opened as what lies in them; whole or an error."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

import pyarrow as pa

from ni_platform.errors import DatasetError

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz", ".tbz2", ".txz")
"""What the name of a file may end with, beyond what it says of the table in it."""

_BROKEN = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, OSError)
_TAR_MAGIC_AT = 257
_LAYERS = 3
_AT_ONCE = 1 << 20


def without_packing(name: str) -> str:
    """Return a file's name in lower case without the endings that compression adds to it."""
    name = name.lower()
    while ending := next((ending for ending in PACKED if name.endswith(ending)), None):
        name = name.removesuffix(ending)
    return name


@contextmanager
def unpacked(path: Path, name: str) -> Iterator[tuple[IO[bytes], str]]:
    """Open a file, or the one file that lies in it compressed or archived; give bytes and name.

    What a file is, its first bytes say, not its name. Errors while it is read, too, are told.

    Raises:
        DatasetError: It is cut short or damaged, encrypted, or an archive of several files.

    """
    try:
        with ExitStack() as stack:
            stream: IO[bytes] = stack.enter_context(path.open("rb"))
            inner = name
            layers = [stream]
            for _ in range(_LAYERS):
                opened = _layer(layers[-1], inner, stack)
                if opened is None:
                    break
                layers.append(opened[0])
                inner = opened[1]
            yield layers[-1], inner
            # The sums that say whether a file is whole stand at its end.
            for layer in layers:
                while layer.read(_AT_ONCE):
                    pass
    except _BROKEN as error:
        # A damaged archive sends its reader to places before its start.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise DatasetError(
            f"{name} is cut short or damaged ({str(error) or type(error).__name__}): copy or "
            "download it again."
        ) from error


def _layer(stream: IO[bytes], name: str, stack: ExitStack) -> tuple[IO[bytes], str] | None:
    """What lies in a stream that is compressed or an archive; None if it is neither."""
    head = stream.read(_TAR_MAGIC_AT + 5)
    stream.seek(0)
    stem = str(PurePosixPath(name).with_suffix(""))
    if head.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", stack.enter_context(gzip.open(stream))), stem
    if head.startswith(b"BZh"):
        return stack.enter_context(bz2.open(stream)), stem
    if head.startswith(b"\xfd7zXZ\x00"):
        return stack.enter_context(lzma.open(stream)), stem
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _Zstandard(stream), stem
    if head[_TAR_MAGIC_AT:] == b"ustar":
        return _in_tar(stack.enter_context(tarfile.open(fileobj=stream, mode="r:")), name)
    if head.startswith(b"PK\x03\x04") and not _is_workbook(stream):
        return _in_zip(stack.enter_context(_zip_file(stream)), name, stack)
    return None


def is_workbook(head: bytes) -> bool:
    """Whether the first bytes of what was unpacked are those of an Excel file."""
    return head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0"))


def _is_workbook(stream: IO[bytes]) -> bool:
    with _zip_file(stream) as archive:
        names = archive.namelist()
    stream.seek(0)
    return "[Content_Types].xml" in names or "mimetype" in names


def _zip_file(stream: IO[bytes]) -> zipfile.ZipFile:
    """Open a zip file; one whose directory is damaged is a BadZipFile, whatever zipfile raises."""
    try:
        archive = zipfile.ZipFile(stream)
    except (ValueError, IndexError, OverflowError, NotImplementedError, struct.error) as error:
        raise zipfile.BadZipFile(str(error)) from error
    if not all(archive.namelist()):
        raise zipfile.BadZipFile("a file in it has no name")
    return archive


def _in_zip(archive: zipfile.ZipFile, name: str, stack: ExitStack) -> tuple[IO[bytes], str]:
    files = [item for item in archive.infolist() if not item.is_dir()]
    chosen = _only(name, [item.filename for item in files])
    if next(item for item in files if item.filename == chosen).flag_bits & 1:
        raise DatasetError(f"{name} is encrypted: unpack it first.")
    try:
        return stack.enter_context(archive.open(chosen)), chosen
    except NotImplementedError as error:  # no way of compression that zipfile knows
        raise zipfile.BadZipFile(str(error)) from error


def _in_tar(archive: tarfile.TarFile, name: str) -> tuple[IO[bytes], str]:
    files = {item.name: item for item in archive.getmembers() if item.isfile()}
    chosen = _only(name, list(files))
    return cast("IO[bytes]", archive.extractfile(files[chosen])), chosen


def _only(name: str, members: list[str]) -> str:
    """The one member that is no system file of whoever packed it."""
    own = [
        member
        for member in members
        if not member.startswith("__MACOSX/") and not PurePosixPath(member).name.startswith(".")
    ]
    if len(own) != 1:
        raise DatasetError(
            f"An archive must hold one table, but {name} holds {len(own)} files {own[:3]}: unpack "
            "it, and name the files."
        )
    return own[0]


class _Zstandard(io.BufferedReader):
    """A zstd stream that can be read from its start again; Arrow's own knows no way back."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(_RawZstandard(stream))


class _RawZstandard(io.RawIOBase):
    def __init__(self, stream: IO[bytes]) -> None:
        self._source = stream
        self._unpack = pa.CompressedInputStream(stream, "zstd")
        self._earlier: list[pa.CompressedInputStream] = []

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if offset or whence != io.SEEK_SET:
            raise io.UnsupportedOperation("a zstd stream goes back to its start only")
        self._source.seek(0)
        self._earlier.append(self._unpack)  # one that is collected closes the source
        self._unpack = pa.CompressedInputStream(self._source, "zstd")
        return 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._unpack.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

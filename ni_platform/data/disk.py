"""Writing to this machine's disk: whole files or none, and errors that say what to do."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ni_platform.errors import DatasetError, clause


@contextmanager
def explained_disk_errors(target: str | Path) -> Iterator[None]:
    """Turn a full or unwritable disk into a `DatasetError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise DatasetError(disk_message(error, str(target))) from error


def disk_message(error: OSError, target: str) -> str:
    """Return what is wrong with the disk, and the remedy."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full while writing {target} ({_free_space(target)} free after "
            "the half-written files were removed): free some space or choose another disk."
        )
    reason = clause(error.strerror or error)
    return f"{error.filename or target} cannot be read or written: {reason}. Check the path."


def _free_space(target: str) -> str:
    folder = Path(target).absolute()
    while not folder.exists():
        folder = folder.parent
    return f"{shutil.disk_usage(folder).free / 2**20:,.0f} MiB"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write; it takes the place of `path` once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask

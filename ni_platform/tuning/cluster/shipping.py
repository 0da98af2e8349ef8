"""What a cluster gets of the user's folder: a copy of the few folders that a sweep loads."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ni_platform.errors import ClusterError

FOLDERS = ("experiments", "tune_spaces", "data_checks")
"""What definitions, search spaces and checks are loaded from."""

LIMIT_BYTES = 100 * 2**20
"""Ray keeps what a job ships in the head's memory; definitions take kilobytes."""

_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """A copy that holds what is shipped and nothing else, never `.git`, `.venv`, `.ni` or data."""

    folder: Path
    sizes: Mapping[str, int]
    """Bytes of each file, by its path in the folder."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes.values())

    def __str__(self) -> str:
        parts = sorted({name.split("/")[0] for name in self.sizes})
        return f"{len(self.sizes)} files, {_mib(self.size)} ({', '.join(parts) or 'nothing'})"


@contextmanager
def staged(project: str | Path, *, limit: int = LIMIT_BYTES) -> Iterator[Shipment]:
    """Copy what a sweep needs of the folder `project`, for the time of use.

    That is `FOLDERS`, and the package itself where `project` is its own checkout. Hidden files
    and compiled ones stay behind.

    Raises:
        ClusterError: It is more than `limit` bytes; names the largest files.

    """
    root = Path(project)
    sizes = {name: (root / name).stat().st_size for name in sorted(_names(root))}
    if sum(sizes.values()) > limit:
        raise ClusterError(_too_large(sizes, limit))
    with tempfile.TemporaryDirectory(prefix="ni-shipment-") as folder:
        for name in sizes:
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target)
        yield Shipment(folder=Path(folder), sizes=sizes)


def _names(root: Path) -> Iterator[str]:
    package = root / "ni_platform" / "__init__.py"
    own = (root / "pyproject.toml").exists() and package.exists()
    if own:
        yield "pyproject.toml"
    for part in (*FOLDERS, *(("ni_platform",) if own else ())):
        for folder, below, files in os.walk(root / part):
            below[:] = [name for name in below if not _stays(name)]
            for name in files:
                path = Path(folder) / name
                if not _stays(name) and path.is_file():
                    yield path.relative_to(root).as_posix()


def _stays(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith(".pyc")


def _too_large(sizes: Mapping[str, int], limit: int) -> str:
    largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:_NAMED]
    named = ", ".join(f"{name} ({_mib(sizes[name])})" for name in largest)
    return (
        f"A job may ship {_mib(limit)} of {', '.join(FOLDERS)}, but they hold "
        f"{_mib(sum(sizes.values()))}; the largest files: {named}. Move data out of them, to a "
        "shared disk or S3."
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.2f} MiB"

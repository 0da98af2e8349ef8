"""A saved regressor is a folder with `regressor.json`; it is complete or not there at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ni_platform.errors import ConfigError, clause
from ni_platform.version import __version__

DESCRIPTION = "regressor.json"
_FORMAT = 3
_READ = (2, 3)


@contextmanager
def new_folder(folder: Path, *, keep: bool = False) -> Iterator[Path]:
    """Give a folder to write into, which takes the place of `folder` once the block is done.

    With `keep`, a folder that another process has put there in the meantime stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        os.chmod(temporary, 0o755)  # mkdtemp's 0700 would lock out a team  # noqa: S103
        if keep:
            _rename_unless_there(temporary, folder)
        elif folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            os.replace(folder, old)
            os.replace(temporary, folder)
            shutil.rmtree(old)
        else:
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_unless_there(temporary: Path, folder: Path) -> None:
    try:
        os.rename(temporary, folder)
    except OSError:
        if not folder.exists():
            raise


def write_description(folder: Path, kind: str, **values: Any) -> None:
    """Write `regressor.json`: what the regressor is, and the columns that it reads."""
    description = {
        "format": _FORMAT,
        "kind": kind,
        "package_version": __version__,
        **values,
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2), encoding="utf-8")


def read_description(folder: Path, kinds: Collection[str]) -> dict[str, Any]:
    """Read `regressor.json` of one of `kinds`.

    Raises:
        ConfigError: the folder is not a saved regressor, or one of a later version.
    """
    path = folder / DESCRIPTION
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder} is not a saved regressor: {DESCRIPTION} cannot be read ({error}). "
            "Name a folder that was written by saving a model."
        ) from error
    if description.get("format") not in _READ or description.get("kind") not in kinds:
        raise ConfigError(
            f"{path} has format {description.get('format')!r} and kind "
            f"{description.get('kind')!r}; this version {__version__} reads format "
            f"{' and '.join(map(str, _READ))} of {', '.join(kinds)}. It was saved by version "
            f"{description.get('package_version')}: install that or a later one."
        )
    return description


def damaged(folder: Path, error: Exception) -> ConfigError:
    """Return the error for a description whose values do not fit."""
    return ConfigError(f"{folder / DESCRIPTION} is damaged: {clause(error)}. Save the model again.")

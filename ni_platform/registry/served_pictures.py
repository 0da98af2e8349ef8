"""The pictures that a logged model takes: sent along always, files only below roots that are named.

Whoever asks a served model chooses the cells of the table. A path among them would have the server
read that file, or tell whether it is there; so the environment variable `NI_SERVED_PICTURES` of the
server names what may be read: folders and `s3://` prefixes, separated as in PATH. Unset, nothing
is. A model that a notebook has loaded also reads the pictures of the dataset that it was trained
on; `Scorer`, `ni predict` and the dashboard read those of any dataset that they are given.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ni_platform.data.storage import is_remote
from ni_platform.errors import ConfigError, ImageError

VARIABLE = "NI_SERVED_PICTURES"
PICTURES = "pictures"
"""Key of a logged model's configuration: where the pictures of its dataset are."""

_IMAGE_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"RIFF",  # WebP
    b"BM",  # BMP
    b"II*\x00",  # TIFF
    b"MM\x00*",
)
_SEPARATOR = re.compile(rf"{re.escape(os.pathsep)}(?!//)")
"""Between roots; the colon of `s3://` is none."""
_SHOWN = 80
"""Characters of a refused cell that its error repeats."""


@dataclass(frozen=True)
class ServedPictures:
    """What files a model may read as pictures."""

    folders: tuple[str, ...] = ()
    """Without symbolic links."""
    prefixes: tuple[str, ...] = ()
    """`s3://` prefixes that end in a slash."""

    @classmethod
    def of_environment(
        cls, environment: Mapping[str, str] = os.environ, dataset: str | None = None
    ) -> ServedPictures:
        """Read `NI_SERVED_PICTURES`; `dataset` is a folder or prefix that may be read beside it.

        Raises:
            ConfigError: It names something that is neither a folder nor an `s3://` prefix.
        """
        roots = [root for root in _SEPARATOR.split(environment.get(VARIABLE, "")) if root]
        for root in roots:
            whole = re.match("s3://[^/]", root) or (os.path.isabs(root) and os.path.isdir(root))
            if not whole:
                raise ConfigError(
                    f"{VARIABLE} must name absolute folders that are there or s3://BUCKET/PREFIX, "
                    f"separated by {os.pathsep!r}, but holds {root!r}: correct it."
                )
        roots += [dataset] if dataset else []
        return cls(
            folders=tuple(os.path.realpath(root) for root in roots if not is_remote(root)),
            prefixes=tuple(f"{root.rstrip('/')}/" for root in roots if is_remote(root)),
        )

    def source(self, cell: Any) -> bytes | str | None:
        """Return what a `Scorer` may read for a cell: bytes, a permitted path or URI, or None.

        Text is base64 only if it decodes to the first bytes of a picture, so that a path never is.

        Raises:
            ImageError: The cell is no picture, or names one that may not be read; the same words
                whether it is there or not.
        """
        if isinstance(cell, bytes | bytearray | memoryview):
            return bytes(cell)
        if pd.api.types.is_scalar(cell) and pd.isna(cell):
            return None
        if not isinstance(cell, str | Path):
            raise ImageError(
                "A picture must be sent as bytes or as base64 text, but got a cell of type "
                f"{type(cell).__name__}: encode the picture's file."
            )
        text = str(cell)
        found = _decoded(text) or self._permitted(text)
        if found is None:
            shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
            raise ImageError(
                "A picture must be sent as bytes or as base64 text (JPEG, PNG, WebP, GIF, BMP or "
                f"TIFF), but got {shown!r}. A path or s3:// URI is read only below what the "
                f"variable {VARIABLE} of the model's own process named when it was loaded, and in "
                "a notebook below the pictures of the model's dataset."
            )
        return found

    def _permitted(self, text: str) -> str | None:
        if is_remote(text):
            steps = {".", ".."} & set(text.split("/"))
            return text if _is_name(text) and text.startswith(self.prefixes) and not steps else None
        if not (self.folders and os.path.isabs(text) and _is_name(text)):
            return None
        real = os.path.realpath(text)  # what is read is what was looked at
        return real if any(Path(real).is_relative_to(folder) for folder in self.folders) else None


def _is_name(text: str) -> bool:
    """Whether a file can have the name: without it, looking for one raises."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _decoded(text: str) -> bytes | None:
    """The bytes of a base64 picture, with or without a `data:` prefix; None of other text."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if data.startswith(_IMAGE_MAGIC) else None

"""SHA-256 of a dataset's files on S3, so that its pictures are recognised without reading them.

A push leaves `.checksums.json` beside `dataset.yaml`: name -> SHA-256, and the size and ETag that
the object had then. A checksum counts only while the object still has both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ni_platform.data import storage

FILE_NAME = ".checksums.json"


def write_checksums(root: str, sha256: Mapping[str, str]) -> None:
    """Write down the SHA-256 of the files below `root` (`s3://`) that were just put there."""
    stamps = storage.object_stamps(root)
    entries = {
        name: {"sha256": digest, "stamp": stamps[name]}
        for name, digest in sorted(sha256.items())
        if name in stamps
    }
    storage.write_bytes(storage.join(root, FILE_NAME), json.dumps(entries).encode())


def remote_digests(root: str, folder: str) -> dict[str, str]:
    """What tells the bytes of each object below the `s3://` prefix `folder`, by its URI.

    Its SHA-256 where a push to the dataset `root` wrote it down and the object is the same still,
    else its size and ETag.
    """
    prefix = f"{folder.rstrip('/')}/"
    stamps = {f"{prefix}{name}": stamp for name, stamp in storage.object_stamps(prefix).items()}
    written = {
        storage.join(root, name): entry["sha256"]
        for name, entry in _entries(root).items()
        if entry["stamp"] == stamps.get(storage.join(root, name))
    }
    return stamps | written


def _entries(root: str) -> dict[str, dict[str, str]]:
    if not storage.is_remote(root):
        return {}
    try:
        entries = json.loads(storage.read_bytes(storage.join(root, FILE_NAME)))
    except (storage.MissingFileError, ValueError):
        return {}
    return dict(entries)

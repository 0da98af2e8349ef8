"""What the operating system refuses, in words: each cause with its own remedy."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from ni_platform.errors import clause

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_REMEDIES = {
    errno.ENOSPC: "the disk is full; free space or choose another folder",
    errno.EDQUOT: "this user's share of the disk is full; free space or choose another folder",
    errno.EROFS: "that disk can only be read; choose another folder",
    errno.EACCES: "this user may not; ask for the permission or choose another folder",
    errno.EPERM: "this user may not; ask for the permission or choose another folder",
    errno.ENOENT: "it does not exist; check the path",
    errno.ENOTDIR: "a part of that path is a file, no folder; check the path",
    errno.EISDIR: "a file is needed, and it is a folder; check the path",
    errno.EEXIST: "it is there already; remove it or choose another name",
    errno.ENAMETOOLONG: "the name is too long for that disk; choose a shorter one",
    errno.ELOOP: "its links lead in a circle; check the path",
    errno.EMFILE: "this process has too many files open; raise the limit, as by `ulimit -n 65536`",
    errno.ENFILE: "the machine has too many files open; end other processes",
    errno.EADDRINUSE: "another process listens there; choose another port or end that process",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose another host",
    errno.ENOMEM: "memory is short; end other processes or take a larger machine",
    errno.EAGAIN: "this user has too many processes; raise the limit, as by `ulimit -u`",
    errno.ESTALE: "the network drive was mounted anew; repeat the command",
    errno.EIO: "the disk does not answer; check it, or choose another folder",
    errno.ECONNREFUSED: "nobody listens there; start that server or correct its address",
    errno.ECONNRESET: "that server ended the connection; repeat the command",
    errno.ETIMEDOUT: "that server does not answer; check its address and the network",
    errno.ENETUNREACH: "there is no way to that address; check it and the network",
    errno.EHOSTUNREACH: "there is no way to that address; check it and the network",
}


def explained(error: OSError) -> str:
    """Return one message: what the system says, and what the user can do about that cause.

    An unknown cause gets no remedy rather than a wrong one.
    """
    said = clause(error)
    if "AF_UNIX path" in said:
        name = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
        place = os.environ.get(name, tempfile.gettempdir())
        return (
            f"{name} ({place}) is too long for the names of sockets, which Ray makes below it: set"
            " RAY_TMPDIR to a short folder that can be written, such as /tmp"
        )
    for setting in ("HOME", "RAY_TMPDIR", "TMPDIR"):
        if error.errno in (*_FORBIDDEN, errno.ENOENT, errno.ENOTDIR) and _lies_in(error, setting):
            return (
                f"{setting} is {os.environ[setting]}, where nothing can be written ({said}): set"
                f" {setting} to a folder that can"
            )
    remedy = _REMEDIES.get(error.errno or 0)
    return said if remedy is None else f"{said}: {remedy}"


def _lies_in(error: OSError, setting: str) -> bool:
    """Whether the file of the error lies in the folder of a setting, and that cannot be written."""
    folder = os.environ.get(setting)
    if not folder or not isinstance(error.filename, str):
        return False
    file = Path(error.filename).absolute()
    return file.is_relative_to(Path(folder).absolute()) and not os.access(folder, os.W_OK)

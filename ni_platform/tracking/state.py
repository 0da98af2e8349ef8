"""Where this package keeps what it makes; not in `store`, which loads MLflow, which is slow."""

from __future__ import annotations

import os
from pathlib import Path

from ni_platform.errors import TrackingError


def state_folder() -> Path:
    """Return `NI_HOME`, default `.ni` in the current folder, as an absolute path.

    Raises:
        TrackingError: It begins with `~` and a user whom this machine does not know.
    """
    named = os.environ.get("NI_HOME") or ".ni"
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError as error:
        raise TrackingError(
            f"NI_HOME ({named}) begins with ~ and names no home folder: write the path in full."
        ) from error

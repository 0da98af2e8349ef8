"""Where this package keeps what it makes; not in `store`, which loads MLflow, which is slow."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """Return `NI_HOME`, default `.ni` in the current folder, as an absolute path."""
    return Path(os.environ.get("NI_HOME") or ".ni").expanduser().absolute()

"""Where a sweep is, from its name: below --storage, where it was sent to, or in `.ni/sweeps`."""

from __future__ import annotations

from pathlib import Path

from ni_platform.data.storage import is_remote
from ni_platform.errors import ConfigError
from ni_platform.tuning.cluster.submission import find_submission
from ni_platform.tuning.config import SweepFolder
from ni_platform.tuning.files.locks import is_running
from ni_platform.tuning.files.mirrored_folder import fetch


def find_sweep(name: str, storage: str | Path | None = None) -> SweepFolder:
    """Return a sweep's folder; one that lies in S3 is fetched.

    Args:
        name: The sweep's.
        storage: Where sweeps are kept. If None, where the sweep was sent to from this folder, or
            `.ni/sweeps` if it was not.

    Raises:
        ConfigError: It was sent to a cluster whose disk is not here.
        DatasetError: The store cannot be reached.

    """
    submission = find_submission(name) if storage is None else None
    if submission is not None:
        storage = submission.job.storage
        if not is_remote(storage) and not Path(storage, name).is_dir():
            raise ConfigError(
                f"the sweep {name!r} keeps its records in {storage}, which the cluster "
                f"{submission.job.address} mounts and this machine does not: run the command where "
                "that folder is, or mount it here and give its path by --storage"
            )
    folder = SweepFolder.named(name, storage)
    if not is_running(folder):
        fetch(folder)
    return folder

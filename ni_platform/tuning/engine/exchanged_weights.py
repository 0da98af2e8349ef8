"""What one machine of a cluster trains and another one needs: through S3, where the sweep is there.

Encoders go in one object, so that they are there whole or not at all; weights of trials go from the
machine of the lane.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ni_platform.data import storage
from ni_platform.training.worker import STATE_FILE
from ni_platform.tuning.config import SweepFolder
from ni_platform.tuning.engine.lane import OnEpoch, Train, TrialDone
from ni_platform.tuning.files.mirrored_folder import download, notes

_ENCODERS = "encoders.zip"


def send_encoders(folder: SweepFolder) -> None:
    """Copy the encoders that were trained before the trials to S3, all at once."""
    if folder.mirror is None:
        return
    place = storage.join(folder.mirror, _ENCODERS)
    with notes(folder) as known:
        if known.get(_ENCODERS) is not None:
            return
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / _ENCODERS
            with zipfile.ZipFile(packed, "w", strict_timestamps=False) as archive:
                for path in sorted(folder.encoders.rglob("*")):
                    archive.write(path, Path("encoders") / path.relative_to(folder.encoders))
            storage.upload(packed, place)
        known[_ENCODERS] = storage.object_stamps(folder.mirror)[_ENCODERS]


def fetch_encoders(folder: SweepFolder) -> None:
    """Fetch the encoders of a sweep in S3, unless they are here or not yet there."""
    if folder.mirror is None:
        return
    stamp = storage.object_stamps(folder.mirror).get(_ENCODERS)
    with notes(folder) as known:
        if stamp is None or (known.get(_ENCODERS) == stamp and folder.encoders.exists()):
            return
        with tempfile.TemporaryDirectory(dir=folder.path) as scratch:
            found = _unpacked(folder, Path(scratch))
            shutil.rmtree(folder.encoders, ignore_errors=True)
            found.rename(folder.encoders)
        known[_ENCODERS] = stamp


@contextmanager
def encoders_at_hand(folder: SweepFolder) -> Iterator[Path]:
    """Give a folder with the encoders on whatever machine of the cluster this is."""
    if folder.mirror is None:
        yield folder.encoders
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield _unpacked(folder, Path(scratch))


def sending_weights(folder: SweepFolder, train: Train) -> Train:
    """Let trained weights go to S3 from the machine of a lane, where they are in nobody's way."""

    def trained(overrides: Mapping[str, Any], on_epoch: OnEpoch) -> TrialDone:
        done = train(overrides, on_epoch)

        def save(path: Path) -> None:
            with tempfile.TemporaryDirectory() as scratch:
                done.save(Path(scratch))
                storage.upload(Path(scratch) / STATE_FILE, _weights(folder, path))

        return replace(done, save=save)

    return train if folder.mirror is None else trained


def fetch_weights(folder: SweepFolder, trial: int) -> None:
    """Fetch the weights of a trial that a lane has sent to S3, if it has."""
    path = folder.weights(trial)
    if folder.mirror is not None and storage.exists(_weights(folder, path)):
        storage.download(_weights(folder, path), path / STATE_FILE)


def drop_weights(folder: SweepFolder, kept: set[int]) -> None:
    """Remove from S3 the weights of trials that were among the best for a time only."""
    if folder.mirror is None:
        return
    needed = {_weights(folder, folder.weights(trial)) for trial in kept}
    for name in storage.list_files(storage.join(folder.mirror, "trials")):
        place = storage.join(folder.mirror, f"trials/{name}")
        if place not in needed:
            storage.delete(place)


def _weights(folder: SweepFolder, path: Path) -> str:
    """Where the weights lie that the folder has at `path`."""
    return storage.join(folder.place, f"trials/{path.name}/{STATE_FILE}")


def _unpacked(folder: SweepFolder, scratch: Path) -> Path:
    download(folder, _ENCODERS, scratch / _ENCODERS)
    # Its names stay below `scratch`, which `tarfile` promises from Python 3.11.4 on alone.
    with zipfile.ZipFile(scratch / _ENCODERS) as archive:
        archive.extractall(scratch)
    return scratch / "encoders"

"""What trials predicted for the validation contents: needed to say how lucky the best one was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import split_dataset
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import ExperimentConfig

_WIDTH = np.dtype("<i8")


def validated_rows(experiment: ExperimentConfig, dataset: Dataset) -> NDArray[np.int64]:
    """Return the dataset's rows that trials are compared on: validation contents that were seen.

    Row numbers [N], ascending; they follow from the base experiment of a sweep.
    """
    rows = split_dataset(dataset, experiment.splits).rows("validation")
    seen = dataset.impressions[rows] >= max(experiment.min_impressions, 1)
    return np.asarray(rows[seen], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class ValidationPredictions:
    """An append-only file of float32 rows, one per trial; one process writes it.

    Eight bytes say how many contents a row has; each record is the trial's number and its row. A
    last record that a crash tore is passed over, and cut off by the next `append`. Of a trial that
    was written twice, the later row counts.
    """

    path: Path

    def append(self, trial: int, predictions: NDArray[np.floating]) -> None:
        """Add a trial's success rates [N] of `validated_rows`.

        Raises:
            ConfigError: The file holds rows of another length.

        """
        row = np.asarray(predictions, dtype="<f4")
        with self.path.open("ab") as file:
            size = file.tell()
            if size < _WIDTH.itemsize:
                file.truncate(0)
                start = np.array(len(row), dtype=_WIDTH).tobytes()
            else:
                contents = self._contents()
                if len(row) != contents:
                    raise ConfigError(
                        f"all trials of a sweep predict the same validation contents: {self.path} "
                        f"has rows of {contents}, but trial {trial} predicted {len(row)}; was the "
                        "dataset changed? Restore it, or start a new sweep"
                    )
                file.truncate(self.whole_bytes())
                start = b""
            file.write(start + np.array([(trial, row)], dtype=_record(len(row))).tobytes())

    def read(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return trial numbers [K], ascending, and their predictions [K, N].

        The predictions are mapped from the file where its records are already in that order, which
        is not so where trials ended out of order. Without a file there are none: K and N are 0.
        """
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < _WIDTH.itemsize:
            return np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
        record = _record(self._contents())
        count = (size - _WIDTH.itemsize) // record.itemsize
        if not count:
            return np.empty(0, dtype=np.int64), np.empty((0, self._contents()), dtype=np.float32)
        records = np.memmap(
            self.path, dtype=record, mode="r", offset=_WIDTH.itemsize, shape=(count,)
        )
        numbers = np.asarray(records["trial"], dtype=np.int64)
        if (np.diff(numbers) > 0).all():
            return numbers, records["prediction"]
        # The first of the reversed records is the last of the file.
        trials, places = np.unique(numbers[::-1], return_index=True)
        return trials, records["prediction"][count - 1 - places]

    def whole_bytes(self) -> int:
        """Return the bytes of the file up to the end of its last whole record."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < _WIDTH.itemsize:
            return 0
        return size - (size - _WIDTH.itemsize) % _record(self._contents()).itemsize

    def _contents(self) -> int:
        with self.path.open("rb") as file:
            return int(np.frombuffer(file.read(_WIDTH.itemsize), dtype=_WIDTH)[0])


def _record(contents: int) -> np.dtype:
    return np.dtype([("trial", "<i8"), ("prediction", "<f4", (contents,))])

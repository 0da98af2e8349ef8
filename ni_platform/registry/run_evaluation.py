"""What a run predicted for its test part and which contents it learned from, read back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ni_platform.data.assignment import Assignment, strongest
from ni_platform.errors import TrackingError
from ni_platform.tracking.run_queries import RunSummary, read_run, read_table_artifact
from ni_platform.tracking.store import Store

PREDICTIONS = "predictions/test.parquet"
SPLITS = "splits.parquet"
LEARNED = ("train", "validation")
"""Parts of a split that a model trains on or is chosen by."""

_PREDICTION_COLUMNS = (
    "content_id",
    "content_key",
    "ab_test",
    "group",
    "part",
    "impressions",
    "clicks",
    "success_rate",
    "prediction",
)
_SPLIT_COLUMNS = ("content_key", "content_id", "part")


@dataclass(frozen=True, kw_only=True)
class RunEvaluation:
    """What a run predicted for its test part, and which contents it learned from."""

    run: RunSummary
    test: pd.DataFrame
    """One row per test content, with the columns of `predictions/test.parquet`."""
    splits: pd.DataFrame
    """One row per content: content_key, content_id, part."""

    @classmethod
    def load(cls, store: Store, run_id: str) -> RunEvaluation:
        """Read the artifacts of a run.

        Raises:
            TrackingError: An artifact or one of its columns is missing.
        """
        return cls(
            run=read_run(store, run_id),
            test=_read_table(store, run_id, PREDICTIONS, _PREDICTION_COLUMNS),
            splits=_read_table(store, run_id, SPLITS, _SPLIT_COLUMNS),
        )

    @property
    def evidence(self) -> Assignment | None:
        """What its test part can prove at best; None of a run that does not say it."""
        return strongest(self.test["evidence"]) if "evidence" in self.test else None

    @property
    def tells_apart(self) -> bool:
        """Whether inputs tell contents apart, so that their key alone says which one it is."""
        return bool(self.splits["content_key"].nunique() > 0.1 * len(self.splits))

    def learned_from(self, other: RunEvaluation) -> np.ndarray:
        """Return, for each test content of `other`, whether this run trained or validated on it.

        Contents of the same dataset are recognised by their id. The content key (a hash of all
        inputs) recognises them across datasets and finds twins under two ids; where inputs do not
        tell contents apart (a table of a few attributes), only ids count.
        """
        learned = self.splits[self.splits["part"].isin(LEARNED)]
        known = np.zeros(len(other.test), dtype=bool)
        if self.same_dataset(other):
            known |= other.test["content_id"].isin(learned["content_id"]).to_numpy()
        if self.tells_apart:
            known |= other.test["content_key"].isin(learned["content_key"]).to_numpy()
        return known

    def same_dataset(self, other: RunEvaluation) -> bool:
        """Whether both runs read the same dataset, by its fingerprint."""
        prints = [r.tags.get("ni.dataset_fingerprint") for r in (self.run, other.run)]
        return prints[0] is not None and prints[0] == prints[1]


def _read_table(store: Store, run_id: str, path: str, columns: tuple[str, ...]) -> pd.DataFrame:
    table = read_table_artifact(store, run_id, path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise TrackingError(
            f"The artifact {path} of run {run_id} lacks {', '.join(missing)}. It was written by"
            " another version of this package; train again."
        )
    return table

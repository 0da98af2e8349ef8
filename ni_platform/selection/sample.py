"""The contents that selection learns from: outcomes, weights and what ties contents together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import nearest
from ni_platform.data.overdispersion import precision
from ni_platform.data.splits import SplitConfig, row_groups, split_dataset
from ni_platform.errors import DatasetError
from ni_platform.selection.config import SelectionConfig

MIN_GROUPS = 10
_FEW_GROUPS = 40
_SAME_WORDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """N contents with impressions."""

    contents: pd.DataFrame
    """Columns of the dataset [N], RangeIndex."""
    rate: np.ndarray
    """Success rates, float64 [N] in [0, 1]."""
    clicks: np.ndarray
    impressions: np.ndarray
    weight: np.ndarray
    """Precision of each rate, 1 on average, float64 [N]."""
    group: np.ndarray
    """int64 [N], from 0: contents of one group are not independent of each other."""
    groups: int
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rate)

    @property
    def overall_rate(self) -> float:
        """Clicks per impression over all contents."""
        return float(self.clicks.sum() / self.impressions.sum())


def draw_sample(dataset: Dataset, config: SelectionConfig) -> Sample:
    """Take the contents of a dataset that were shown.

    Raises:
        DatasetError: There are too few independent groups, no success or no failure, or no
            column `config.cluster`.

    """
    group = _groups(dataset, config.cluster)
    rows = np.flatnonzero((dataset.impressions > 0) & np.isfinite(dataset.success_rate))
    notes = []
    if len(rows) < len(dataset):
        notes.append(f"{len(dataset) - len(rows):,} contents without impressions are left out.")
    if not config.include_test:
        rows = np.setdiff1d(rows, split_dataset(dataset, SplitConfig()).rows("test"))
        notes.append("Contents of the test part are left out.")
    group = np.unique(group[rows], return_inverse=True)[1].astype(np.int64)
    groups = int(group.max(initial=-1)) + 1
    if groups < MIN_GROUPS:
        raise DatasetError(
            f"Tests need {MIN_GROUPS} independent groups of contents or more, but the "
            f"{len(rows):,} contents of {dataset.root} with impressions form {groups} (same A/B "
            "test, picture or words): bring more contents, or name with --cluster the column "
            "that tells them apart."
        )
    if groups < _FEW_GROUPS:
        notes.append(f"Only {groups} independent groups of contents: read the tests with caution.")
    if groups == len(rows):
        notes.append(
            "No two contents share an A/B test, a picture or their words, so each counts as "
            "independent; if they are not, name what ties them with --cluster."
        )
    rate = dataset.success_rate[rows]
    if rate.max() == 0 or rate.min() == 1:
        raise DatasetError(
            f"Success rates must differ for anything to explain them, but all of {dataset.root} "
            f"are {rate[0]:g}: check the outcome columns."
        )
    return Sample(
        contents=dataset.contents.iloc[rows].reset_index(drop=True),
        rate=rate,
        clicks=dataset.clicks[rows],
        impressions=dataset.impressions[rows],
        weight=precision(rate, dataset.impressions[rows]),
        group=group,
        groups=groups,
        notes=tuple(notes),
    )


def _groups(dataset: Dataset, cluster: str | None) -> np.ndarray:
    if cluster is None:
        return row_groups(dataset, _SAME_WORDS)
    known = [str(name) for name in dataset.contents.columns]
    if cluster not in known:
        raise DatasetError(
            f"--cluster names the column {cluster!r}, which the contents table of {dataset.root} "
            f"does not have{nearest(cluster, known)}; it has {known}."
        )
    codes = pd.factorize(dataset.contents[cluster])[0].astype(np.int64)
    alone = codes < 0  # an empty cell ties a content to no other
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    return codes

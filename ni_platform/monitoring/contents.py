"""The contents of a dataset as a model's run knows them: learned from, judged on, or new."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ni_platform.data.content_keys import content_keys
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import TEST_PARTS
from ni_platform.errors import DatasetError
from ni_platform.registry.run_evaluation import RunEvaluation


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """A dataset beside what a run learned from and was judged on."""

    dataset: Dataset
    trained: RunEvaluation
    keys: NDArray[np.object_]
    """Content keys [N]."""
    part: NDArray[np.object_]
    """The run's part of each content [N]; None of what the run did not have."""
    day: NDArray[np.datetime64]
    """First day of each content, datetime64[D] [N]; NaT where it is not known."""

    @classmethod
    def of(cls, dataset: Dataset, trained: RunEvaluation) -> Contents:
        """Compare a dataset with the run's split, by content keys.

        Raises:
            DatasetError: It has no days, or the run's contents with other inputs.
        """
        day = dataset.day
        if day is None:
            raise DatasetError(
                f"A model is watched over time, but {dataset.root} does not say when its contents "
                "were shown: name a column of days (columns.day in dataset.yaml, `ni data import "
                "table --day COLUMN`)."
            )
        keys = content_keys(dataset)
        part = _parts(dataset, keys, trained)
        return cls(
            dataset=dataset,
            trained=trained,
            keys=keys,
            part=part,
            day=pd.to_datetime(day).to_numpy().astype("datetime64[D]"),
        )

    @cached_property
    def new(self) -> NDArray[np.int64]:
        """Rows that the run did not have, and whose day is known."""
        return np.flatnonzero(pd.isna(self.part) & ~np.isnat(self.day))

    @property
    def undated(self) -> int:
        """How many contents that the run did not have are left out, as their day is not known."""
        return int((pd.isna(self.part) & np.isnat(self.day)).sum())

    @property
    def learned(self) -> NDArray[np.int64]:
        """Rows that the model was trained on."""
        return np.flatnonzero(self.part == "train")

    @property
    def judged(self) -> NDArray[np.int64]:
        """Rows of the run's test part, of domains that it learned from where there are such."""
        within = np.flatnonzero(self.part == "in_domain")
        return within if len(within) else np.flatnonzero(np.isin(self.part, TEST_PARTS))

    @cached_property
    def test(self) -> NDArray[np.object_]:
        """What stands for one observation [N]: the A/B test, of a content without one itself."""
        alone = "content " + self.dataset.content_id.astype(str)
        named = "test " + self.dataset.ab_test.astype(str)
        return named.where(self.dataset.ab_test.notna(), alone).to_numpy(dtype=object)

    @cached_property
    def never_seen(self) -> NDArray[np.bool_]:
        """Whether a content is of a domain that no content of the run has, bool [N]."""
        domain = self.dataset.domain
        if domain is None:
            return np.zeros(len(self.dataset), dtype=bool)
        known = set(domain[pd.notna(self.part)].dropna())
        if "domain" in self.trained.test:
            known |= set(self.trained.test["domain"].dropna())
        # A run whose domains are not known has not missed any.
        return (domain.notna() & ~domain.isin(known)).to_numpy() & bool(known)


def _parts(
    dataset: Dataset, keys: NDArray[np.object_], trained: RunEvaluation
) -> NDArray[np.object_]:
    """The run's part of each content [N]; ids count as well where inputs are often the same."""
    splits, ids = trained.splits, dataset.content_id.astype(str)
    own: pd.Series = splits["content_key"]
    mine = pd.Series(keys)
    if not trained.tells_apart:
        own, mine = own + " " + splits["content_id"], mine + " " + ids.to_numpy()
    by_name = pd.Series(splits["part"].to_numpy(), index=own)
    found = mine.map(by_name[~by_name.index.duplicated()]).astype(object)
    part = found.where(found.notna(), None).to_numpy(dtype=object)
    if found.isna().all() and splits["content_id"].isin(ids).mean() > 0.5:
        raise DatasetError(
            f"{dataset.root} has the contents that the model's run had, but with other inputs, so "
            "that nobody can tell which are new: declare the same input columns as in training, "
            "or train again."
        )
    return part

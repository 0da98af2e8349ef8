"""A recorded model and a dataset: what it did not learn from, and a run for what is found there."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ni_platform.data.content_keys import content_keys
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import TEST_PARTS, SplitConfig, row_groups
from ni_platform.errors import DatasetError
from ni_platform.registry.run_evaluation import LEARNED, RunEvaluation
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store


def own_run(
    store: Store, experiment: str, uri: str, dataset: Dataset, model_run: dict[str, str | None]
) -> RunRecord:
    """Start a run of what is done with a model on a dataset."""
    return RunRecord.start(
        store,
        experiment,
        run_name=f"{experiment} {dataset.manifest.name}",
        parameters={"model": uri},
        tags={
            "ni.dataset": dataset.root,
            "ni.dataset_fingerprint": dataset.fingerprint(),
            **model_run,
        },
    )


def unseen_contents(dataset: Dataset, trained: RunEvaluation | None) -> pd.DataFrame:
    """Rows that the model did not learn from: row, content_key, content_id, part, group.

    On the dataset of the model's own training the run's split says so; on another one, contents
    with the same inputs are recognised by their key, and their whole group is left out.
    """
    rows = pd.DataFrame(
        {
            "row": np.arange(len(dataset)),
            "content_key": content_keys(dataset),
            "content_id": dataset.content_id.astype(str).to_numpy(),
            "part": "in_domain",
            "group": row_groups(dataset, SplitConfig().near_duplicate_similarity),
        }
    )
    if trained is None:
        return rows
    if trained.run.tags.get("ni.dataset_fingerprint") == dataset.fingerprint():
        parts = trained.splits.set_index("content_id")["part"]
        rows["part"] = rows["content_id"].map(parts)
        unseen = rows[rows["part"].isin(("validation", *TEST_PARTS))]
    else:
        learned = trained.splits[trained.splits["part"].isin(LEARNED)]
        known = rows["content_key"].isin(learned["content_key"])
        unseen = rows[~rows["group"].isin(rows.loc[known, "group"])]
    if unseen.empty:
        raise DatasetError(
            f"the model learned from every content of {dataset.root}; evaluate it on contents "
            "that it has not seen"
        )
    return unseen.reset_index(drop=True)

"""The datasets of a run as MLflow knows them: its dataset column, its filter and the lineage."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import mlflow.data
import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from mlflow.utils.validation import MAX_DATASET_DIGEST_SIZE

from ni_platform.tracking.run_queries import get_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store

_SCHEMA_ROWS = 100
"""Rows that MLflow infers the columns' types from: of a million it would copy all."""

EVIDENCE_TAG = "ni.evidence"
"""Tag of a run: what its test part can prove at best (`data.assignment.KINDS`)."""
SAMPLE_RATIO_TAG = "ni.sample_ratio"
"""Tag of a run: how many A/B tests do not have the planned shares of impressions, in words."""
SAMPLE_RATIO_TABLE = "tables/sample_ratio.csv"
"""Artifact of a run that lists them."""
LONGEST_DIGEST = MAX_DATASET_DIGEST_SIZE


@dataclass(frozen=True, kw_only=True)
class DatasetPart:
    """Rows of a dataset that a run reads."""

    name: str
    digest: str
    """At most `LONGEST_DIGEST` characters."""
    context: str
    """What the run does with them: training, validation, test or evaluation."""
    source: str
    """The dataset's folder, or its s3:// address."""
    example: pd.DataFrame
    """Some of the rows, from which MLflow infers the columns' types."""
    counts: Mapping[str, float]
    """What there is of them all: `num_rows`, which MLflow's page shows, and others."""

    @property
    def key(self) -> tuple[str, str]:
        """What a metric names to be linked to it."""
        return self.name, self.digest


def log_dataset(record: RunRecord, parts: Iterable[DatasetPart]) -> None:
    """Make parts of a dataset inputs of a run; what it has already is not added again.

    MLflow keeps their names, digests, places, columns and counts, none of the rows.
    """
    inputs = [
        DatasetInput(_entity(part), tags=[InputTag(MLFLOW_DATASET_CONTEXT, part.context)])
        for part in parts
    ]
    with record.store.errors(f"note the dataset of run {record.run_id}"):
        record.store.client.log_inputs(record.run_id, inputs)


def recorded_parts(store: Store, run_id: str) -> dict[str, dict[str, float]]:
    """Return the counts of each part of a dataset that a run has as an input, by its context.

    Raises:
        TrackingError: There is no such run.
    """
    return {
        next((tag.value for tag in each.tags if tag.key == MLFLOW_DATASET_CONTEXT), ""): json.loads(
            each.dataset.profile or "{}"
        )
        for each in get_run(store, run_id).inputs.dataset_inputs
    }


def _entity(part: DatasetPart) -> Dataset:
    """MLflow's own dataset of a pandas table, with the counts of all rows."""
    with warnings.catch_warnings():
        # Hints about integers with nulls, and that a folder is a folder.
        warnings.simplefilter("ignore")
        fields = mlflow.data.from_pandas(
            part.example, source=part.source, name=part.name, digest=part.digest
        ).to_dict()
    return Dataset(**fields | {"profile": json.dumps(dict(part.counts))})

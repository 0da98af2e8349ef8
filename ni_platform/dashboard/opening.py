"""From the names of a model and a dataset to a studio."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ni_platform.beliefs.past_errors import recorded_past_errors
from ni_platform.dashboard.advice import in_points
from ni_platform.dashboard.loaded_model import LoadedModel
from ni_platform.dashboard.past import PastContents
from ni_platform.dashboard.patches import Patches
from ni_platform.dashboard.studio import Studio
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import LEFT_OUT
from ni_platform.errors import ConfigError, TrackingError
from ni_platform.insights.insights import domain_labels
from ni_platform.insights.record import StoredInsights
from ni_platform.registry.run_evaluation import LEARNED, RunEvaluation
from ni_platform.scoring import EXPLAINED_RUN
from ni_platform.tracking.metric_table import VALUE_TAG
from ni_platform.tracking.run_queries import find_runs, read_run
from ni_platform.tracking.store import Store

PAST = 5000
"""Most past contents that are scored at the start."""


def open_studio(
    store: Store,
    uri: str,
    data: str,
    *,
    ensemble: Sequence[str] = (),
    record: bool = True,
    on_scored: Callable[[int, int], None] = lambda scored, total: None,
) -> Studio:
    """Load a model and its insights, and score past contents.

    Args:
        store: where runs and models are.
        uri: model, as `resolve_model` takes it.
        data: dataset folder.
        ensemble: further models of the same kind, for intervals of predicted changes.
        record: whether visitors may record plans as runs.
        on_scored: told how many past contents were scored just now, and how many there are.

    Raises:
        ConfigError: a model that cannot be explained.
        DatasetError: a dataset that cannot be read, or that lacks a column the model reads.
        TrackingError: there is no such model.
    """
    model = LoadedModel.load(store, uri)
    dataset = Dataset.open(data)
    run = model.run
    insights = None if run is None else _insights(store, run, dataset)
    parts = None if run is None else _parts(store, run, dataset)
    rows = _sample(np.arange(len(dataset)) if parts is None else np.flatnonzero(parts != LEFT_OUT))
    frame = dataset.inputs(rows)
    past = PastContents(
        rows=rows,
        predictions=model.rates_of(frame, progress=lambda done: on_scored(done, len(rows))),
        rates=dataset.success_rate[rows],
        domains=domain_labels(dataset)[rows],
        learned=None if parts is None else np.isin(parts[rows], LEARNED),
    )
    others = [_like(model, LoadedModel.load(store, other)) for other in ensemble]
    patches = None
    if insights is not None and insights.patches is not None:
        patches = Patches(insights.patches, dataset, in_points=in_points(insights, "image"))
    return Studio(
        model, dataset, past, insights=insights, patches=patches, ensemble=others,
        errors=recorded_past_errors(store, run),
        worth=None if run is None else read_run(store, run).tags.get(VALUE_TAG),
        plans=store if record else None,
    )  # fmt: skip


def _insights(store: Store, run: str, dataset: Dataset) -> StoredInsights | None:
    """The run's insights on this dataset, else on the one that it was trained on."""
    here = find_runs(store, {EXPLAINED_RUN: run, "ni.dataset_fingerprint": dataset.fingerprint()})
    for run_id in [*(found.run_id for found in here if found.status == "FINISHED"), run]:
        insights = StoredInsights.load(store, run_id)
        if insights is not None:
            return insights
    return None


def _sample(rows: np.ndarray) -> np.ndarray:
    """At most `PAST` of the rows, sorted, drawn at random where there are more."""
    if len(rows) <= PAST:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, PAST, replace=False))


def _like(model: LoadedModel, other: LoadedModel) -> LoadedModel:
    """The other model, if it reads no more than the first, whose columns contents have."""
    missing = set(other.scorer.roles) - set(model.scorer.roles)
    if missing:
        raise ConfigError(
            f"Models of an ensemble read what {model.name} reads, but {other.name} also reads "
            f"{', '.join(sorted(missing))}: name models of the same inputs."
        )
    return other


def _parts(store: Store, run: str, dataset: Dataset) -> np.ndarray | None:
    """The part of each content in the run's split; None where another dataset makes it unknown."""
    try:
        evaluation = RunEvaluation.load(store, run)
    except TrackingError:  # a run without a split of its own, such as a sweep's trial
        return None
    if evaluation.run.tags.get("ni.dataset_fingerprint") != dataset.fingerprint():
        return None
    parts = evaluation.splits.assign(content_id=evaluation.splits["content_id"].astype(str))
    by_id = parts.set_index("content_id")["part"]
    return dataset.content_id.astype(str).map(by_id).to_numpy(dtype=object)

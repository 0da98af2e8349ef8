"""Whether a recorded model still holds what it promised: the assembly point of `ni monitor`."""

from __future__ import annotations

import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.errors import TrackingError
from ni_platform.held_out import own_run
from ni_platform.models.regressor import load_regressor
from ni_platform.monitoring.config import MonitorConfig
from ni_platform.monitoring.contents import Contents
from ni_platform.monitoring.logged import Logged
from ni_platform.monitoring.record import Health, record_health, tag_health
from ni_platform.monitoring.verdict import verdict_of
from ni_platform.monitoring.watching import Watch
from ni_platform.registry.model_source import resolve_model, run_of_model
from ni_platform.registry.run_evaluation import RunEvaluation
from ni_platform.registry.versions import named_version
from ni_platform.scoring import OnScored
from ni_platform.tracking.store import Store

MONITORED_RUN = "ni.monitored_run"
"""Tag of a run that watches a model: the run that made the model."""


def monitor_model(
    store: Store,
    uri: str,
    data: str,
    *,
    log: str | None = None,
    config: MonitorConfig | None = None,
    on_scored: OnScored | None = None,
) -> tuple[str, Health]:
    """Judge what came since a model was trained, and record it as a run of its own.

    Where `uri` names a version of a registered model, that is tagged.

    Args:
        store: Where runs and models are.
        uri: `models:/NAME@champion`, `models:/NAME/VERSION` or a run id.
        data: Dataset folder: a later version of the one that the model was trained on.
        log: Folder or `s3://` prefix of logged predictions.
        config: What counts as a change.
        on_scored: Told about progress of scoring.

    Returns:
        The run that holds it, and what was found.

    Raises:
        DatasetError: The dataset has no days, or the run's contents with other inputs; or the log
            cannot be read.
        TrackingError: There is no such model, or it was not made by a run.
    """
    version = named_version(store, uri)
    # The version itself: an alias may move meanwhile.
    source = uri if version is None else version.uri
    model = load_regressor(resolve_model(store, source))
    run_id = run_of_model(store, source)
    if run_id is None:
        raise TrackingError(
            f"A model is watched by what its run promised, but {uri} does not say which run made "
            "it: name a run id or a registered version."
        )
    contents = Contents.of(Dataset.open(data), RunEvaluation.load(store, run_id))
    watch = Watch(
        model=model,
        contents=contents,
        logged=None if log is None else Logged.read(log, run_id),
        config=config or MonitorConfig(),
        on_scored=on_scored,
    )
    health = _judged(uri, watch)
    with own_run(store, "monitor", uri, contents.dataset, {MONITORED_RUN: run_id}) as record:
        record_health(record, health)
    if version is not None:
        tag_health(store, version, health)
    return record.run_id, health


def _judged(uri: str, watch: Watch) -> Health:
    contents = watch.contents
    streams = watch.streams()
    notes = list(watch.notes)
    if contents.undated:
        notes.append(
            f"{contents.undated:,} contents that the model did not have are left out, as their day "
            "is not known."
        )
    return Health(
        model=uri,
        verdict=verdict_of(streams, _never_seen(watch)),
        watched=streams,
        contents=len(contents.new),
        logged=0 if watch.logged is None else len(watch.logged.rows),
        notes=notes,
        config=watch.config,
    )


def _never_seen(watch: Watch) -> dict[str, int]:
    """Domains that the model never saw, with their new contents, where these are enough."""
    contents, domain = watch.contents, watch.contents.dataset.domain
    if domain is None or "domain" not in watch.model.roles.values():
        return {}
    rows = contents.new[contents.never_seen[contents.new]]
    counts: pd.Series = domain.iloc[rows].value_counts().sort_index()
    return {str(n): int(c) for n, c in counts.items() if c >= watch.config.domain_contents}

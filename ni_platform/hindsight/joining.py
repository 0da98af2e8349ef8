"""Predictions and what came of them: each beside the content that it was made of, before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.errors import NiError
from ni_platform.models.regressor import load_regressor
from ni_platform.prediction_log.keys import prediction_keys
from ni_platform.registry.model_source import resolve_model
from ni_platform.tracking.store import Store


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Logged predictions beside the contents of a dataset."""

    table: pd.DataFrame
    """A row per prediction and content: the columns of the log, `row` of the dataset, and `place`,
    the prediction's place in its request."""
    late: int
    """Predictions that were made when the content had been shown already; not in the table."""
    undated: int
    """Contents of which it is not known since when they were shown; not in the table."""
    unknown: tuple[str, ...]
    """Why predictions of some models could not be joined, in sentences."""


def shown_since(dataset: Dataset, new: np.ndarray, now: pd.Timestamp) -> pd.Series:
    """The time [N] before which a prediction of a content was made before its outcome; or NaT.

    The end of its first day (UTC), as a test that is planned in the morning may start at noon.
    Without days, a content that has just been added was not known until `now`.

    Args:
        dataset: N contents.
        new: Bool [N]: those that have just been added.
        now: The time, UTC.
    """
    since = pd.Series(pd.NaT, index=range(len(dataset)), dtype="datetime64[us, UTC]")
    since[new] = now
    if dataset.day is not None:
        days = pd.to_datetime(dataset.day.reset_index(drop=True), utc=True) + pd.Timedelta(days=1)
        since = days.astype(since.dtype).fillna(since)
    return since


def join(
    store: Store, log: pd.DataFrame, dataset: Dataset, since: pd.Series, asked: np.ndarray
) -> Joined:
    """Put predictions beside contents with the same inputs, by each model's own key of these.

    Args:
        store: Where models are.
        log: Rows as `read_log` and `recorded_plans` give them.
        dataset: N contents.
        since: See `shown_since`; NaT where it is not known.
        asked: Bool [N]: contents whose outcomes count.
    """
    log = log.assign(place=log.groupby(["request", "model_run", "shadow"], dropna=False).cumcount())
    dated = np.flatnonzero(since.notna() & asked)
    parts, unknown = [], []
    if nameless := int(log["model_run"].isna().sum()):
        unknown.append(f"{nameless:,} predictions do not say which run made their model.")
    for run, rows in log.groupby("model_run"):
        try:
            roles = load_regressor(resolve_model(store, str(run))).roles
        except NiError as error:
            unknown.append(f"{len(rows):,} predictions of run {run} cannot be joined: {error}")
            continue
        if missing := sorted(set(roles) - set(dataset.manifest.columns.inputs)):
            unknown.append(
                f"{len(rows):,} predictions of run {run} cannot be joined, as the dataset has no "
                f"column {missing[0]!r}, which the model reads."
            )
            continue
        keys = prediction_keys(dataset.inputs(dated), roles)
        contents = {"input_key": keys, "row": dated, "since": since.iloc[dated]}
        parts.append(rows.merge(pd.DataFrame(contents), on="input_key"))
    empty = log.head(0).assign(row=np.empty(0, np.int64), since=since.head(0))
    table = pd.concat(parts, ignore_index=True) if parts else empty
    before = (table["time"] < table["since"]).to_numpy()
    return Joined(
        table=table[before].drop(columns="since").reset_index(drop=True),
        late=int((~before).sum()),
        undated=int((since.isna() & asked).sum()),
        unknown=tuple(unknown),
    )


def latest(table: pd.DataFrame) -> pd.DataFrame:
    """The last prediction that each model made of each content before its outcome."""
    ordered = table.sort_values("time", kind="stable")
    return ordered.drop_duplicates(["model_run", "row"], keep="last").reset_index(drop=True)

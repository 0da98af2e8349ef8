"""Whether a model still does what it was promoted for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pandas as pd

from ni_platform.api.display import Part, cell
from ni_platform.api.progress import ScoringProgress
from ni_platform.monitoring.monitoring import monitor_model
from ni_platform.monitoring.plot import course_figure
from ni_platform.monitoring.record import HEADS
from ni_platform.monitoring.record import Health as Found
from ni_platform.registry.served_log import VARIABLE
from ni_platform.reporting.page import Picture, Table
from ni_platform.tracking.store import Store, open_store


@dataclass(frozen=True, kw_only=True, repr=False)
class Health:
    """What became of a model since it was trained; recorded in the run `run_id`."""

    run_id: str
    found: Found = field(repr=False)

    @property
    def healthy(self) -> bool:
        """Whether nothing is to be done."""
        return self.found.verdict.healthy

    @property
    def to_do(self) -> list[str]:
        """`retrain`, `distrust domain X`; nothing of a healthy model."""
        return list(self.found.verdict.actions)

    @property
    def sentences(self) -> list[str]:
        """What is to be done, why, and what was left out, in plain words."""
        return self.found.sentences

    @property
    def streams(self) -> pd.DataFrame:
        """A row per stream that is watched.

        Columns: stream, kind, subject, source (contents or log), observations, usual (mean of what
        the model was judged on), promised (bound of the mean), now (mean, of an alarm since the
        change), log10_e (logarithm of the highest e-value), log10_alarm (from which it is an
        alarm), alarm and since (days; null without an alarm).
        """
        return self.found.streams

    @property
    def course(self) -> pd.DataFrame:
        """A row per stream and day: stream, day, log10_e."""
        return self.found.course

    def __repr__(self) -> str:
        return " ".join(self.sentences)

    def _repr_html_(self) -> str:
        parts = [Part(note=sentence) for sentence in self.sentences]
        drawn = course_figure(self.found.watched)
        if drawn is not None:
            words = "Evidence of a change and means of the streams over time"
            parts.append(Part(picture=Picture.of(drawn, words, "")))
        parts.append(Part(table=Table.of(HEADS, self.found.rows)))
        return cell(f"Health of {self.found.model}", *parts, Part(note=".streams, .course, .to_do"))


def make_health(store: Store | None, uri: str, data: str, log: str | None) -> Health:
    """Watch a model and record what is found; see `Model.monitor`."""
    with ScoringProgress() as progress:
        place = open_store() if store is None else store
        log = log or os.environ.get(VARIABLE)
        run_id, found = monitor_model(place, uri, data, log=log, on_scored=progress)
    return Health(run_id=run_id, found=found)

"""A model's health, written into a run: tables, a plot, a page; and onto the model's version."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from ni_platform.monitoring.config import MonitorConfig
from ni_platform.monitoring.plot import course_figure
from ni_platform.monitoring.streams import Watched
from ni_platform.monitoring.verdict import Verdict
from ni_platform.registry.versions import Version, tag_version
from ni_platform.reporting.page import Picture, Table, render
from ni_platform.tracking.store import Store

if TYPE_CHECKING:
    from ni_platform.tracking.run_record import RunRecord

HEALTH_TAG, HEALTH_AT_TAG = "ni.health", "ni.health_at"
"""Tags of a model's version: `healthy` or what is to be done, and when that was found (UTC)."""
PAGE = "monitor/report.html"
PLOT = "plots/monitor.png"
HEADS = ("stream", "usual", "promised", "now", "seen", "e-value, log10", "since", "alarm")
_LONGEST = 500
"""Characters that a tag of a version is sure to keep."""
_STREAMS, _COURSE, _SUMMARY = (
    "monitor/streams.parquet",
    "monitor/course.parquet",
    "monitor/summary.json",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Health:
    """What became of a model since it was trained."""

    model: str
    """Its URI."""
    verdict: Verdict
    watched: list[Watched]
    contents: int
    """New contents, of known day."""
    logged: int
    """Logged predictions."""
    notes: list[str]
    """What was left out, and why."""
    config: MonitorConfig

    @property
    def streams(self) -> pd.DataFrame:
        """A row per stream, see `Watched.row`."""
        return pd.DataFrame([found.row() for found in self.watched])

    @property
    def course(self) -> pd.DataFrame:
        """A row per stream and day with observations: stream, day, log10_e."""
        parts = [
            pd.DataFrame(
                {
                    "stream": found.stream.label,
                    "day": found.course.days.astype(str),
                    "log10_e": found.course.log_capital / math.log(10),
                }
            )
            for found in self.watched
        ]
        empty = pd.DataFrame({"stream": [], "day": [], "log10_e": []})
        return pd.concat(parts, ignore_index=True) if parts else empty

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The streams as people read them, under `HEADS`; alarms first."""
        ordered = sorted(self.watched, key=lambda found: (found.alarm is None, -found.evidence))
        return [_cells(found) for found in ordered]

    @property
    def sentences(self) -> list[str]:
        """The verdict, its reasons and what was left out, in plain words."""
        logged = f" and {self.logged:,} logged predictions" if self.logged else ""
        seen = f"{self.contents:,} new contents{logged}"
        return [f"To do: {self.verdict} ({seen}).", *self.verdict.reasons, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": self.model,
            "healthy": self.verdict.healthy,
            "to_do": list(self.verdict.actions),
            "reasons": list(self.verdict.reasons),
            "notes": list(self.notes),
            "contents": self.contents,
            "logged": self.logged,
            "streams": [found.row() for found in self.watched],
        }


def record_health(record: RunRecord, health: Health) -> None:
    """Write tables, figures, a plot and a page into a run."""
    record.log_parameters(asdict(health.config))
    record.log_table(health.streams, _STREAMS)
    record.log_table(health.course, _COURSE)
    record.log_json(health.to_json(), _SUMMARY)
    picture = None
    figure = course_figure(health.watched)
    if figure is not None:
        record.log_figure(figure, PLOT)
        picture = Picture.of(
            figure,
            "Evidence of a change and means of the streams over time",
            "Dashed: what was promised. Grey: what was usual. Dotted: the day of the alarm.",
        )
    marks = ["failed" if row[-1] != "–" else "" for row in health.rows]
    page = render(
        "monitor.html",
        health=health,
        run_id=record.run_id,
        streams=Table(
            heads=HEADS,
            rows=health.rows,
            numeric=[name not in ("stream", "since", "alarm") for name in HEADS],
            marks=marks,
        ),
        picture=picture,
    )
    record.log_text(page, PAGE)
    alarms = sum(found.alarm is not None for found in health.watched)
    figures: dict[str, float] = {"monitor/alarms": alarms, "monitor/contents": health.contents}
    for found in health.watched:
        overall = found.stream.kind == "accuracy" and not found.stream.subject
        if overall and math.isfinite(found.now):
            figures["monitor/accuracy"] = found.now
    record.log_metrics(figures)
    record.set_tags({HEALTH_TAG: health.verdict.tag})
    record.describe("\n\n".join([*health.sentences, f"Page: `{PAGE}`"]))


def tag_health(store: Store, version: Version, health: Health) -> None:
    """Say on the version of a registered model how it is."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    tags = {HEALTH_TAG: health.verdict.tag[:_LONGEST], HEALTH_AT_TAG: at}
    tag_version(store, version.model_name, version.version, tags)


def _cells(found: Watched) -> tuple[str, ...]:
    stream, alarm = found.stream, found.alarm
    least = "at most" if stream.rises else "at least"
    return (
        stream.label,
        f"{stream.usual:.3f}",
        f"{least} {stream.promised:.3f}",
        "–" if found.now != found.now else f"{found.now:.3f}",
        f"{len(stream.values):,}",
        f"{found.evidence:.1f} of {-math.log10(found.alpha):.1f}",
        "–" if alarm is None else str(alarm.since),
        "–" if alarm is None else str(alarm.day),
    )

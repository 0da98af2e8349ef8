"""The report of a sweep as one HTML page that loads nothing from elsewhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ni_platform.reporting.page import Picture, Table, render
from ni_platform.tuning.files.trial_log import TrialRecord
from ni_platform.tuning.results.summary import SweepSummary

BEST_TRIALS = 20


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure of the page."""

    file: str
    """Name of the picture, below the folder of the report."""
    heading: str
    alt: str
    """What it shows, for who does not see it."""
    caption: str


def report_page(
    summary: SweepSummary,
    plots: Sequence[Plot],
    notes: Sequence[str],
    folder: Path,
    promotion: Mapping[str, Any] | None,
) -> str:
    """Return the page; the plots' pictures lie in `folder`.

    `notes` are paragraphs about plots that there are not; `promotion` is `promotion.json`.
    """
    drawn = [
        {
            "heading": plot.heading,
            "picture": Picture(
                png=(folder / plot.file).read_bytes(), alt=plot.alt, caption=plot.caption
            ),
        }
        for plot in plots
    ]
    failures = [[group.trials, group.first, group.reason] for group in summary.failures]
    return render(
        "sweep.html",
        sweep=summary.sweep,
        now=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        figures=_figures(summary),
        promotion=promotion,
        promised=Table.of(*promotion_rows(promotion), figure_text) if promotion else None,
        best=Table.of(*best_rows(summary.best[:BEST_TRIALS]), figure_text),
        plots=drawn,
        notes=notes,
        failures=Table.of(["trials", "first", "reason (of the first)"], failures, figure_text),
    )


def duration(seconds: float) -> str:
    """Return seconds as people say them: `45 s`, `12 min`, `3 h 05 min`."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 100:
        return f"{seconds:.3g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min"


def figure_text(value: Any) -> str:
    """Return a cell of a table as text: four digits, thousands apart, a dash for what is not."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def best_rows(trials: Sequence[TrialRecord]) -> tuple[list[str], list[list[Any]]]:
    """Return heads and rows of the table of the best trials; a parameter absent is None."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    heads = ["rank", "trial", "objective", "best epoch", "epochs", "time", *names]
    rows = [
        [
            rank,
            trial.number,
            trial.value,
            trial.best_epoch,
            len(trial.epochs),
            "–" if trial.ended is None else duration(trial.ended - trial.started),
            *(trial.parameters.get(name) for name in names),
        ]
        for rank, trial in enumerate(trials, start=1)
    ]
    return heads, rows


def _figures(summary: SweepSummary) -> dict[str, str]:
    best = summary.best[0] if summary.best else None
    rate = summary.trials_per_hour
    return {
        "trials": f"{len(summary.trials):,} of {summary.sweep.trials:,}",
        **{status: f"{count:,}" for status, count in summary.counts.items() if count},
        "time with trials": duration(summary.seconds),
        "trials per hour": figure_text(rate) if rate < 1000 else f"{rate:,.0f}",
        "best objective": "–" if best is None else figure_text(best.value),
        "best trial": "–" if best is None else str(best.number),
    }


def promotion_rows(content: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Return heads and rows that set what a winner promised against what it kept.

    `content` is `WinnerPromotion.to_json`.
    """
    optimism = content["optimism"]
    name = content["metric"].replace("_", " ")
    rows: list[list[Any]] = [
        [f"{name} on validation, as selected", content["validation"], None],
        [f"{name} on test", content["test"]["value"], _interval(content["test"])],
    ]
    if content["in_domain"]:
        inside = content["in_domain"]
        rows.append([f"{name} on test, known domains", inside["value"], _interval(inside)])
    rows.append(["worse on test by", content["shortfall"], None])
    if "note" in optimism:
        rows.append([f"optimism of the best: {optimism['note']}", None, None])
    else:
        label = f"optimism of the best of {optimism['trials']:,} complete trials (bootstrap)"
        rows.append([label, optimism["value"], None])
        corrected = optimism["corrected"]
        label = f"{name} on validation, corrected for it"
        rows.append([label, corrected["value"], _interval(corrected)])
    return ["", "value", "95 % interval"], rows


def _interval(estimate: Mapping[str, float]) -> str:
    low, high = estimate["low"], estimate["high"]
    return "–" if not math.isfinite(low) else f"{low:.4g} to {high:.4g}"

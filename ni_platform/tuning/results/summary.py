"""What a sweep's log comes to: counts, time, and trials as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ni_platform.tuning.config import SweepConfig
from ni_platform.tuning.files.trial_log import TrialRecord, ranked

PARAMETER = "parameter."
METRIC = "metric."
"""Beginnings of columns of the table of trials."""

_NUMBER = re.compile(r"\d+")
_TOLD_APART = 80
"""Characters of a reason that tell it from others; what follows names contents and values."""


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """Trials that failed for the same reason, numbers aside."""

    trials: int
    reason: str
    """That of the first of them."""
    first: int


@dataclass(frozen=True, kw_only=True)
class SweepSummary:
    """A sweep as its log tells it."""

    sweep: SweepConfig
    trials: Mapping[int, TrialRecord]
    best: tuple[TrialRecord, ...]
    """Trials that ended with a value, the best first."""
    counts: Mapping[str, int]
    """Trials by status: complete, pruned, failed, running."""
    failures: tuple[FailureGroup, ...]
    """The most frequent first."""
    seconds: float
    """Time in which at least one trial that has ended was running; pauses do not count."""

    @property
    def trials_per_hour(self) -> float:
        """Trials that ended per hour of that time; NaN before the first."""
        ended = sum(trial.ended is not None for trial in self.trials.values())
        return 3600 * ended / self.seconds if self.seconds else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        best = self.best[0] if self.best else None
        return {
            "sweep": self.sweep.name,
            "objective": self.sweep.objective,
            "planned": self.sweep.trials,
            "trials": len(self.trials),
            **self.counts,
            "seconds": self.seconds,
            "trials_per_hour": self.trials_per_hour,
            "best_trial": None if best is None else best.number,
            "best_value": None if best is None else best.value,
            "best_parameters": None if best is None else best.parameters,
            "failures": [{"trials": f.trials, "reason": f.reason} for f in self.failures],
        }


def summarize(sweep: SweepConfig, trials: Mapping[int, TrialRecord]) -> SweepSummary:
    """Summarise a sweep; any number of trials, none at all included."""
    counts = dict.fromkeys(("complete", "pruned", "failed", "running"), 0)
    for trial in trials.values():
        counts[trial.status] += 1
    return SweepSummary(
        sweep=sweep,
        trials=trials,
        best=tuple(ranked(trials, sweep.lower_is_better)),
        counts=counts,
        failures=_failures(trials.values()),
        seconds=_covered((t.started, t.ended) for t in trials.values() if t.ended is not None),
    )


def trial_table(summary: SweepSummary) -> pd.DataFrame:
    """Return one row per trial in order of their numbers.

    Columns: trial, status, rank (null without a value), objective, best_epoch, epochs (trained),
    seconds, reason, then `parameter.NAME` and, of the kept epoch, `metric.NAME`. What a trial does
    not have is null; parameters that are no numbers stand as text.
    """
    rank = {trial.number: place for place, trial in enumerate(summary.best, start=1)}
    rows = [
        {
            "trial": trial.number,
            "status": trial.status,
            "rank": rank.get(trial.number),
            "objective": trial.value,
            "best_epoch": trial.best_epoch,
            "epochs": len(trial.epochs),
            "seconds": None if trial.ended is None else trial.ended - trial.started,
            "reason": trial.reason,
        }
        | {f"{PARAMETER}{name}": _plain(value) for name, value in trial.parameters.items()}
        | {f"{METRIC}{name}": value for name, value in trial.metrics.items() if name != "epoch"}
        for _, trial in sorted(summary.trials.items())
    ]
    table = pd.DataFrame(rows)
    given = [str(name) for name in table.columns]
    names = [name for name in given if not name.startswith((PARAMETER, METRIC))]
    names += [name for start in (PARAMETER, METRIC) for name in given if name.startswith(start)]
    whole = ("rank", "best_epoch")
    return table[names].astype({name: "Int64" for name in whole if name in table})


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def _failures(trials: Iterable[TrialRecord]) -> tuple[FailureGroup, ...]:
    groups: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        if trial.status == "failed":
            same = _NUMBER.sub("#", trial.reason or "no reason given")[:_TOLD_APART]
            groups.setdefault(same, []).append(trial)
    found = [
        FailureGroup(
            trials=len(group),
            reason=group[0].reason or "no reason given",
            first=group[0].number,
        )
        for group in groups.values()
    ]
    return tuple(sorted(found, key=lambda group: (-group.trials, group.first)))


def _covered(spans: Iterable[tuple[float, float | None]]) -> float:
    """Seconds that at least one span covers."""
    ordered = np.array(sorted((start, end) for start, end in spans if end is not None))
    if not len(ordered):
        return 0.0
    reached = np.maximum.accumulate(ordered[:, 1])
    before = np.concatenate([[-np.inf], reached[:-1]])
    return float(np.maximum(0.0, reached - np.maximum(ordered[:, 0], before)).sum())

"""What is watched: streams of observations in time, and what was promised of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import beta

from ni_platform.metrics.change import Alarm, Course, course
from ni_platform.metrics.pairwise import WithinTestCounts
from ni_platform.metrics.scored import Floats, Observed, ScoredContents

Kind = Literal[
    "missing", "unknown", "far", "higher", "lower", "wider", "narrower", "accuracy"
]  # fmt: skip
RISES: frozenset[str] = frozenset({"missing", "unknown", "far", "higher", "wider"})
"""Kinds that break their promise by rising; the others do by falling."""
_LABELS = {
    "missing": "inputs without {}",
    "unknown": "levels of {} never seen in training",
    "far": "{} far from training's",
    "higher": "predictions higher (mean rank)",
    "lower": "predictions lower (mean rank)",
    "wider": "predictions more extreme",
    "narrower": "predictions less extreme",
    "accuracy": "pairs of arms ordered rightly",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """Observations in [0, 1] of one thing, and the bound that their mean was promised to keep."""

    kind: Kind
    subject: str = ""
    """The modality, column or domain; nothing where it is about all."""
    source: Literal["contents", "log"] = "contents"
    usual: float
    """The mean of what the model was judged on."""
    promised: float
    """In (0, 1): the most, or of a kind that falls the least, that counts as no change."""
    values: Floats
    """[T]: one per A/B test, or per day of logged predictions; those of a day are one bet."""
    days: NDArray[np.datetime64]
    """datetime64[D] [T]."""

    @property
    def label(self) -> str:
        """What it is, in words."""
        said = _LABELS[self.kind].format(self.subject)
        if self.kind == "accuracy" and self.subject:
            said += f" in {self.subject}"
        return f"{said} (log)" if self.source == "log" else said

    @property
    def rises(self) -> bool:
        """Whether a mean above what was promised is a change."""
        return self.kind in RISES


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """A stream with its course over time."""

    stream: Stream
    alpha: float
    """Its share of the probability of a false alarm in a year."""

    @cached_property
    def course(self) -> Course:
        """The capital that bets against the promise."""
        stream = self.stream
        return course(stream.values, stream.days, stream.promised, above=stream.rises)

    @cached_property
    def alarm(self) -> Alarm | None:
        """The first alarm, if there is one."""
        return self.course.alarm(self.alpha)

    @property
    def now(self) -> float:
        """The mean since the change, without one of all observations; nan of none."""
        stream = self.stream
        counted = stream.values
        if self.alarm is not None:
            counted = stream.values[stream.days >= self.alarm.since]
        return float(counted.mean()) if len(counted) else float("nan")

    @property
    def evidence(self) -> float:
        """Logarithm (base 10) of the highest e-value so far, 0 where there is none."""
        return float(self.course.log_capital.max(initial=0.0) / np.log(10))

    def row(self) -> dict[str, Any]:
        """Figures for a table."""
        stream, alarm = self.stream, self.alarm
        return {
            "stream": stream.label,
            "kind": stream.kind,
            "subject": stream.subject,
            "source": stream.source,
            "observations": len(stream.values),
            "usual": stream.usual,
            "promised": stream.promised,
            "now": self.now,
            "log10_e": self.evidence,
            "log10_alarm": -float(np.log10(self.alpha)),
            "alarm": None if alarm is None else str(alarm.day),
            "since": None if alarm is None else str(alarm.since),
        }


def watched(streams: list[Stream], alpha: float) -> list[Watched]:
    """Give each stream an equal part of `alpha`: a false alarm of any is one of all."""
    return [Watched(stream=stream, alpha=alpha / len(streams)) for stream in streams]


def bounds(values: Floats) -> tuple[float, float]:
    """95 % interval of the mean of independent observations in [0, 1], by Clopper and Pearson.

    It is theirs for zeros and ones; other observations of the same mean vary less, so that the
    interval is too wide for them rather than too narrow. (0, 1) of no observation.
    """
    size, hits = len(values), float(values.sum())
    low = float(beta.ppf(0.025, hits, size - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(0.975, hits + 1, size - hits)) if hits < size else 1.0
    return low, high


def promise(kind: Kind, reference: Floats, tolerance: float) -> float | None:
    """Return what a stream's mean may be at most (or at least); None where nothing can break it."""
    low, high = bounds(reference)
    bound = high + tolerance if kind in RISES else low - tolerance
    return bound if len(reference) and 0 < bound < 1 else None


def per_test(values: Floats, test: Any) -> pd.Series:
    """Mean of N contents' values in each A/B test, by its label; nan does not count."""
    table = pd.Series(np.asarray(values, dtype=np.float64)).groupby(np.asarray(test, dtype=object))
    return table.mean().dropna()


def ranks(values: Any, among: Any) -> Floats:
    """Share of the numbers `among` [R] that are below each value [N]; of equal ones half."""
    ordered = np.sort(np.asarray(among, dtype=np.float64))
    below, up_to = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2 * len(ordered)), dtype=np.float64)


def rank_measures(rank: Floats) -> dict[tuple[Kind, str], Floats]:
    """What is watched of predictions' ranks [N]: their height, and how far they are spread."""
    spread = np.abs(2 * rank - 1)
    return {
        ("higher", ""): rank,
        ("lower", ""): rank,
        ("wider", ""): spread,
        ("narrower", ""): spread,
    }


def right_order(prediction: Any, observed: Observed) -> pd.Series:
    """Share of each A/B test's pairs in the right order, by its label.

    Pairs count whose observed rates and inputs differ, ties in the prediction half; tests without
    one are left out.
    """
    if not (np.asarray(observed.impressions) > 0).any():
        return pd.Series(dtype=np.float64)
    scored = ScoredContents.of(prediction, observed)
    counts = WithinTestCounts.of(scored, distinct=True)
    table = pd.DataFrame({"hits": counts.hits, "pairs": counts.pairs})
    sums = table.groupby(scored.ab_test).sum()
    sums = sums[sums["pairs"] > 0]
    return sums["hits"] / sums["pairs"]

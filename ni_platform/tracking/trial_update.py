"""What a sweep knows about its trials, on its way to MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlflow.entities import Metric

from ni_platform.tracking.limits import check_name, parameter_texts, tag_texts

NUMBER_TAG = "ni.trial"
"""The tag that holds a trial's number."""

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialMetric:
    """One point of a learning curve, or a final figure."""

    name: str
    value: float
    """May be nan or infinite."""
    step: int
    time: float
    """Unix seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialUpdate:
    """What is to stand in MLflow about one trial: all that is known of it, or what is new.

    Raises:
        TrackingError: A name that MLflow does not take.
        ValueError: `ended` is missing for a trial that ended, or given for a running one.
    """

    number: int
    """From zero, unique within the sweep."""
    started: float
    """Unix seconds."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """May be nested. Those that stand there already keep their value."""
    metrics: Sequence[TrialMetric] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    status: Status
    ended: float | None = None
    """Unix seconds; None while it runs."""

    def __post_init__(self) -> None:
        if (self.ended is None) != (self.status == "RUNNING"):
            raise ValueError(
                f"ended must be given just where a trial has ended, but trial {self.number} is"
                f" {self.status} with ended = {self.ended}"
            )
        for point in self.metrics:
            check_name(point.name)
        for name in self.tags:
            check_name(name)


@dataclass(kw_only=True, slots=True)
class Trial:
    """All updates of one trial that are written together, in MLflow's texts and milliseconds."""

    number: int
    started: int
    parameters: dict[str, str]
    metrics: list[Metric]
    """As they came; MLflow keeps equal points once."""
    tags: dict[str, str]
    status: Status
    ended: int | None

    @property
    def name(self) -> str:
        """The name of the trial's run."""
        return f"trial-{self.number:05d}"


def merge_updates(updates: Sequence[TrialUpdate]) -> list[Trial]:
    """Return one `Trial` for each number, in the order of the first update; later ones win."""
    trials: dict[int, Trial] = {}
    for update in updates:
        trial = trials.get(update.number)
        if trial is None:
            trial = trials[update.number] = Trial(
                number=update.number,
                started=_milliseconds(update.started),
                parameters={},
                metrics=[],
                tags={},
                status=update.status,
                ended=None,
            )
        if update.parameters:
            texts = parameter_texts(update.parameters)
            for name in texts:
                check_name(name)
            trial.parameters = texts | trial.parameters
        trial.metrics += [
            Metric(point.name, float(point.value), _milliseconds(point.time), point.step)
            for point in update.metrics
        ]
        trial.tags |= tag_texts(update.tags)
        trial.status = update.status
        trial.ended = None if update.ended is None else _milliseconds(update.ended)
    return list(trials.values())


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)

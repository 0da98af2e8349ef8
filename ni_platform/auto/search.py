"""`ni train auto`: candidates tried one after another, one chosen by validation, judged once.

No candidate has a test part: it is split off before any is opened. Only the chosen model meets it,
at the end, and its run is one like any other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ni_platform.auto.candidates import (
    Candidate,
    candidates_for,
    default_candidates,
    estimated_seconds,
    without_test,
)
from ni_platform.auto.outcome import AutoRun
from ni_platform.auto.verdict import Yardstick, concern_of_test, concerns, decision, luck
from ni_platform.data.dataset import Dataset
from ni_platform.errors import (
    ConfigError,
    DatasetError,
    NiError,
    TrainingError,
    WeightsError,
    clause,
)
from ni_platform.evaluation import outcome_table
from ni_platform.evaluation_record import record_metrics
from ni_platform.experiment import finish
from ni_platform.experiment_config import ExperimentConfig, record_config
from ni_platform.fitting import Fitted, OnEvent, fit_model
from ni_platform.metrics.best_of import BestOfMany, best_of_many
from ni_platform.metrics.choice import Choice, choose
from ni_platform.metrics.evaluation import evaluate
from ni_platform.metrics.intervals import Estimate
from ni_platform.metrics.scored import EvaluationError, Observed
from ni_platform.opened import OpenedExperiment
from ni_platform.run_start import record_data, run_parameters
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.state import state_folder
from ni_platform.tracking.store import Store
from ni_platform.training.worker_count import Workers

_OF_THE_MODEL = ("ni.experiment", "ni.config_fingerprint")
"""Tags of a run that are known once a model was chosen."""
_OF_ITS_TRAINING = ("ni.precision", "ni.device")
_OF_ONE_CANDIDATE = (ConfigError, DatasetError, EvaluationError, TrainingError, WeightsError)
"""Errors that stop one candidate and no other."""


@dataclass(frozen=True, kw_only=True)
class _Tried:
    experiment: OpenedExperiment
    """With its test part, which its training did not have."""
    run_id: str
    fitted: Fitted
    folder: Path
    rates: np.ndarray
    """Predictions of the validation part."""
    metrics: dict[str, Estimate]
    seconds: float


def train_auto(
    store: Store,
    data: str,
    *,
    budget: float = 1200.0,
    experiments: Sequence[ExperimentConfig] | None = None,
    workers: Workers | None = None,
    storage: str | None = None,
    name: str | None = None,
    allow_failed_checks: bool = False,
    on_event: OnEvent = lambda event: None,
    clock: Callable[[], float] = time.monotonic,
) -> AutoRun:
    """Try models from cheap to dear, choose one by validation, judge it on test, record all.

    The run is that of the chosen model; each candidate is a child run with its validation metrics.
    A dearer model is chosen only where it is better by more than one standard error of the paired
    difference (`metrics/choice.py`).

    Args:
        store: Where the run is recorded.
        data: Dataset folder.
        budget: Seconds to try candidates in. One that would clearly not fit in what is left is not
            begun; one that has begun is not stopped. The first one is always tried.
        experiments: What to try, the simplest first; `CANDIDATES` if None.
        workers: As `train` takes them, and so are the next four.
        storage: Folder for checkpoints.
        name: Of the run.
        allow_failed_checks: Recorded; the run cannot be promoted.
        on_event: Told what happens.
        clock: Seconds that have passed, since whenever.

    Raises:
        ConfigError: Nothing can be tried on the data.
        DatasetError: A part of the split has no content that was shown.
        ChecksFailedError: A data check failed.

    """
    deadline = clock() + budget
    dataset, workers = Dataset.open(data), workers or Workers()
    opened, left_out = candidates_for(
        dataset, default_candidates() if experiments is None else experiments
    )
    with _started(store, opened[0], name, budget, workers) as record:
        membership = record_data(record, opened[0], allow_failed_checks, on_event)
        validation = opened[0].splits.rows("validation")
        search = _Search(
            record=record,
            membership=membership,
            validated=outcome_table(dataset, membership.iloc[validation], validation),
            workspace=Path(storage or state_folder() / "training").absolute() / record.run_id,
            workers=workers,
            on_event=on_event,
            clock=clock,
            deadline=deadline,
        )
        tried, not_tried = search.try_all(opened)
        return search.end(tried, [*not_tried, *left_out])


def _started(
    store: Store, first: OpenedExperiment, name: str | None, budget: float, workers: Workers
) -> RunRecord:
    """Start the run, of which all is known but the model."""
    return RunRecord.start(
        store,
        "auto",
        run_name=name or f"auto {first.dataset.manifest.name}",
        parameters={"budget": budget},
        tags={k: v for k, v in first.tags().items() if k not in _OF_THE_MODEL} | workers.to_tags(),
    )


@dataclass(frozen=True, kw_only=True)
class _Search:
    """A search that goes on."""

    record: RunRecord
    membership: pd.DataFrame
    validated: pd.DataFrame
    """Outcomes of the validation part, as `outcome_table`."""
    workspace: Path
    workers: Workers
    on_event: OnEvent
    clock: Callable[[], float]
    deadline: float

    def try_all(self, opened: Sequence[OpenedExperiment]) -> tuple[list[_Tried], list[Candidate]]:
        """Try each candidate while there is time; return also what was not tried, and why."""
        tried: list[_Tried] = []
        left_out: list[Candidate] = []
        failed: NiError | None = None
        for number, experiment in enumerate(opened, start=1):
            name, left = experiment.config.name, self.deadline - self.clock()
            begun = self.clock()
            try:
                reason = self._too_long(experiment, left) if number > 1 else None
                if reason is None:
                    self.on_event(f"candidate {number} of {len(opened)}: {name}")
                    tried.append(self._try(experiment))
                    continue
                left_out.append(Candidate(name=name, outcome=f"left out: {reason}"))
            except _OF_ONE_CANDIDATE as error:
                failed, reason = error, clause(error)
                seconds = self.clock() - begun
                left_out.append(Candidate(name=name, outcome=f"failed: {reason}", seconds=seconds))
            self.on_event(f"{name}: {reason}")
        if not tried and failed is not None:
            raise failed
        return tried, left_out

    def _too_long(self, experiment: OpenedExperiment, left: float) -> str | None:
        """Say why a candidate would clearly not fit in the seconds that are left, if so."""
        if left <= 0:
            return "the time was up"
        needed = estimated_seconds(experiment, self.clock)
        if needed <= left:
            return None
        return f"it needs about {in_minutes(needed)}, and {in_minutes(left)} were left"

    def _try(self, experiment: OpenedExperiment) -> _Tried:
        """Train a candidate and judge it on the validation part, as a child run."""
        config, begun = experiment.config, self.clock()
        workspace = self.workspace / config.name
        parameters = run_parameters(experiment, self.workers)
        with self.record.child(config.name, parameters) as child:
            blind = without_test(experiment)
            fitted = fit_model(blind, child, workspace, self.workers, self.on_event)
            rates = fitted.predict(blind.evaluated_rows).rates
            metrics = evaluate(
                rates, Observed.of(self.validated), replicates=config.evaluation.replicates
            )
            seconds = self.clock() - begun
            record_metrics(child, {"validation": metrics} | fitted.figures)
            child.set_tags(fitted.tags)
            child.log_metrics({"seconds": seconds})
        if (over := self.clock() - self.deadline) > 0:
            self.on_event(f"the budget is exceeded by {in_minutes(over)}: what has begun goes on")
        return _Tried(
            experiment=experiment,
            run_id=child.run_id,
            fitted=fitted,
            folder=workspace / "model",
            rates=rates,
            metrics=metrics,
            seconds=seconds,
        )

    def end(self, tried: Sequence[_Tried], left_out: Sequence[Candidate]) -> AutoRun:
        """Choose a candidate, judge it on the test part, and make the run that of its model."""
        yardstick, observed = Yardstick.of(self.validated), Observed.of(self.validated)
        names = [each.experiment.config.name for each in tried]
        rates = [each.rates for each in tried]
        figures = [each.metrics[yardstick.metric] for each in tried]
        replicates = tried[0].experiment.config.evaluation.replicates
        choice = _choose(yardstick.metric, rates, observed, replicates)
        words = decision(choice, names, figures)
        self.on_event(words)
        chosen = tried[choice.chosen]
        record_config(self.record, chosen.experiment.config)
        self.record.log_parameters(run_parameters(chosen.experiment, self.workers))
        run = finish(
            self.record,
            chosen.experiment,
            self.membership,
            chosen.fitted,
            chosen.folder,
            self.on_event,
        )
        doubts = concerns(
            yardstick,
            dict(zip(names, figures)),
            names[choice.chosen],
            yardstick.ceiling(tried[0].metrics),
            [each.name for each in left_out],
        )
        found = AutoRun(
            run=run,
            yardstick=yardstick,
            candidates=(
                *(
                    Candidate(
                        name=name,
                        outcome="chosen" if place == choice.chosen else "tried",
                        seconds=each.seconds,
                        validation=figure,
                    )
                    for place, (name, each, figure) in enumerate(zip(names, tried, figures))
                ),
                *left_out,
            ),
            decision=words,
            concerns=(*doubts, *concern_of_test(yardstick, run.metrics)),
            luck=luck(self._optimism(yardstick.metric, rates, observed), names),
        )
        training = read_run(self.record.store, chosen.run_id).tags
        found.note(
            self.record,
            chosen.experiment.tags() | {name: training.get(name) for name in _OF_ITS_TRAINING},
        )
        return found

    def _optimism(
        self, metric: str, rates: Sequence[np.ndarray], observed: Observed
    ) -> BestOfMany | None:
        """Return how much the best looks better than it is; None on too few to tell."""
        try:
            best = best_of_many(metric, np.stack(rates), observed)
        except EvaluationError:
            return None
        self.record.log_metrics({"auto/corrected": best.corrected.value})
        return best


def _choose(
    metric: str, rates: Sequence[np.ndarray], observed: Observed, replicates: int
) -> Choice:
    """Choose as `choose` does, and the simplest where the metric is defined for none."""
    try:
        return choose(metric, rates, observed, replicates=replicates)
    except EvaluationError:
        unknown = (math.nan,) * len(rates)
        return Choice(metric=metric, chosen=0, best=0, behind=unknown, standard_errors=unknown)


def in_minutes(seconds: float) -> str:
    """Return a time as a person says it."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"

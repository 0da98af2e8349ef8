"""Training: from an experiment and a dataset to a recorded run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd

from ni_platform.api.data import Dataset, open_dataset
from ni_platform.api.definitions import (
    Changes,
    Experiment,
    experiment_config,
    source_of_experiment,
)
from ni_platform.api.display import Part, cell, figure
from ni_platform.api.progress import TrainingProgress, say
from ni_platform.api.runs import Run, finished
from ni_platform.errors import ConfigError, TrackingError
from ni_platform.experiment_config import of_run
from ni_platform.reporting.page import Table
from ni_platform.tracking.run_queries import find_runs
from ni_platform.tracking.store import Store, open_store
from ni_platform.training.worker_count import Workers

if TYPE_CHECKING:
    from ni_platform.auto.outcome import AutoRun


def train(
    experiment: Experiment,
    data: Dataset | str | Path,
    *,
    name: str | None = None,
    workers: int | None = None,
    cpus_per_worker: int | None = None,
    storage: str | None = None,
    allow_failed_checks: bool = False,
    **changes: Unpack[Changes],
) -> Run:
    """Check the data, train an experiment on it, evaluate, and record all of it as a run.

    Ctrl-C, or the stop button of a notebook, leaves a run that `resume` goes on with.

    Args:
        experiment: Name of `ni.experiments`, a config (such as an earlier run's `run.config`), or
            your own function that returns one, whose source is then kept in the run.
        data: Dataset, or its folder.
        name: Of the run; the experiment's if None.
        workers: Ray Train workers; one if None.
        cpus_per_worker: CPUs of each; all, divided, if None.
        storage: Folder for checkpoints, shared by a cluster's machines; `.ni/training` if None.
        allow_failed_checks: Train although data checks failed; the run cannot be promoted.
        **changes: What differs from the experiment, such as `training={"epochs": 3}`,
            `model={"wording": {}}` or `leave_out=["price"]`; see `Changes`.

    Raises:
        ConfigError: There is no such experiment, or a change does not fit; names the nearest.
        DatasetError: The dataset cannot be read, or a part of its split is empty.
        ChecksFailedError: A data check failed.
        WeightsError: Pretrained weights cannot be reached.
        TrackingError: The store does not answer.
        TrainingError: The training cannot go on, such as with a loss that is not finite.
    """
    config = experiment_config(experiment, changes)
    source = source_of_experiment(experiment)
    together = _together(workers, cpus_per_worker)
    # What trains takes seconds to import, and a mistyped name is told at once.
    from ni_platform.experiment import train as train_experiment
    from ni_platform.opened import open_experiment

    store = open_store()
    opened = open_experiment(config, open_dataset(data).stored)
    with _interruptible(), TrainingProgress() as progress:
        run = train_experiment(
            store,
            opened,
            workers=together,
            storage=storage,
            name=name,
            allow_failed_checks=allow_failed_checks,
            source=source,
            on_event=progress,
        )
    return finished(store, run)


def resume(
    run: Run | str | None = None,
    *,
    data: Dataset | str | Path | None = None,
    storage: str | None = None,
    allow_failed_checks: bool = False,
) -> Run:
    """Go on with a run that was interrupted or failed: finished stages and epochs stay.

    Args:
        run: The run or its id; the newest that was interrupted if None.
        data: Its dataset, if that is not where the run found it.
        storage: As the run was started with.
        allow_failed_checks: As `train` takes it.

    Raises:
        TrackingError: There is no such run, or none that was interrupted.
        BusyError: A living process works on it.
        ConfigError: It does not say which dataset it used.
    """
    store = open_store()
    named = run.run_id if isinstance(run, Run) else run
    run_id = _newest_interrupted(store) if named is None else named
    config, trained_on = of_run(store, run_id)
    place = data if data is not None else trained_on
    if place is None:
        raise ConfigError(f"run {run_id} does not say which dataset it used: name it by data=")
    from ni_platform.experiment import train as train_experiment
    from ni_platform.opened import open_experiment

    with _interruptible(), TrainingProgress() as progress:
        opened = open_experiment(config, open_dataset(place).stored)
        again = train_experiment(
            store,
            opened,
            storage=storage,
            allow_failed_checks=allow_failed_checks,
            resume=run_id,
            on_event=progress,
        )
    return finished(store, again)


@dataclass(frozen=True, kw_only=True, repr=False)
class AutoTraining:
    """What `train_auto` tried and chose."""

    found: AutoRun
    run: Run
    """Of the chosen model, judged on the test part."""

    @property
    def candidates(self) -> pd.DataFrame:
        """A row per candidate: name, value, low, high, seconds, outcome.

        value is that of the metric that decided, on the validation part, low and high its 95 %.
        """
        rows = []
        for each in self.found.candidates:
            known = each.validation
            bounds = (None,) * 3 if known is None else (known.value, known.low, known.high)
            rows.append((each.name, *bounds, each.seconds, each.outcome))
        columns = ["name", "value", "low", "high", "seconds", "outcome"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why this model was chosen, how lucky the best was, and where the data do not suffice."""
        return (self.found.decision, *filter(None, [self.found.luck]), *self.found.concerns)

    def __repr__(self) -> str:
        return "\n".join((repr(self.run), *self.reasons))

    def _repr_html_(self) -> str:
        rows = [[figure(value) for value in row] for row in self.candidates.to_numpy()]
        heads = ("candidate", self.found.yardstick.label, "95 % from", "to", "seconds", "")
        table = Part(table=Table.of(heads, rows))
        return cell("What was tried", table, *(Part(note=reason) for reason in self.reasons))


def train_auto(
    data: Dataset | str | Path,
    *,
    minutes: float = 20.0,
    name: str | None = None,
    workers: int | None = None,
    storage: str | None = None,
    allow_failed_checks: bool = False,
) -> AutoTraining:
    """Try models from cheap to dear within a time, choose by validation, judge on the test part.

    Args:
        data: Dataset, or its folder.
        minutes: The time to try models in.
        name: Of the run.
        workers: As `train` takes it.
        storage: As `train` takes it.
        allow_failed_checks: As `train` takes it.

    Raises:
        ConfigError: No candidate fits the data.
        ChecksFailedError: A data check failed.
    """
    from ni_platform.auto import search

    store = open_store()
    with _interruptible(), TrainingProgress() as progress:
        found = search.train_auto(
            store,
            open_dataset(data).folder,
            budget=60 * minutes,
            workers=_together(workers, None),
            storage=storage,
            name=name,
            allow_failed_checks=allow_failed_checks,
            on_event=progress,
        )
    return AutoTraining(found=found, run=finished(store, found.run))


def _together(workers: int | None, cpus_each: int | None) -> Workers | None:
    if workers is None and cpus_each is not None:
        raise ConfigError("cpus_per_worker needs workers: say how many")
    return None if workers is None else Workers(count=workers, cpus_each=cpus_each)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Say what can be done with an interrupted run, and let the interrupt pass."""
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted; resume() goes on with it, as the command `ni train --resume RUN_ID` does")
        raise


def _newest_interrupted(store: Store) -> str:
    tags = {"ni.level": "run", "ni.status": "interrupted"}
    found: Sequence[Any] = [run for run in find_runs(store, tags) if "ni.experiment" in run.tags]
    if not found:
        raise TrackingError(
            "no run was interrupted; `ni.runs()` lists all, name the one to go on with"
        )
    return str(found[0].run_id)

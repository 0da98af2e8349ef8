"""How far a sweep is: from its folder, or from MLflow where the folder is out of reach."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ni_platform.errors import ClusterError, ConfigError, DatasetError
from ni_platform.tracking.run_queries import find_runs
from ni_platform.tracking.store import Store
from ni_platform.tuning.cluster.submission import (
    JobState,
    Submission,
    find_submission,
    job_status,
    list_submissions,
)
from ni_platform.tuning.config import SweepConfig, SweepFolder, list_sweeps
from ni_platform.tuning.files.lease import driven_elsewhere
from ni_platform.tuning.files.locks import is_running
from ni_platform.tuning.files.trial_log import ranked, read_trials
from ni_platform.tuning.results.finding import find_sweep

ENDED = ("complete", "pruned", "failed")


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """How far a sweep is."""

    name: str
    state: str
    """running, stopped, finished, unreadable; of a submitted one also pending, failed, unknown."""
    trials: int | None
    """How many it shall have; None where nothing is known yet."""
    counts: Mapping[str, int]
    """Trials that are complete, pruned and failed."""
    best: float | None = None
    objective: str | None = None
    run_id: str | None = None
    """The sweep's run in MLflow; None before it began."""
    seconds_since_last_result: int | None = None
    note: str | None = None
    """What else the user should know, such as why the cluster's job failed."""

    @property
    def ended(self) -> int:
        """Trials that are over, however they ended."""
        return sum(self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "state": self.state,
            "trials": f"{self.ended}/{'?' if self.trials is None else self.trials}",
            **self.counts,
            "best": self.best,
            "objective": self.objective,
            "run_id": self.run_id,
            "seconds_since_last_result": self.seconds_since_last_result,
            "note": self.note,
        }


def sweep_tags(config: SweepConfig, folder: SweepFolder) -> dict[str, str]:
    """Return the tags by which a sweep's run is found, and what its metrics do not say."""
    return {
        "ni.level": "sweep",
        "ni.sweep": config.name,
        "ni.sweep_place": folder.place,
        "ni.sweep_trials": str(config.trials),
        "ni.sweep_objective": config.objective,
    }


def list_statuses(
    opened: Callable[[], Store], storage: str | Path | None = None
) -> list[SweepStatus]:
    """Tell how far all sweeps below `storage` are; without one also those that were sent.

    `opened` gives the store; it is asked where only MLflow can tell, which takes its time. One
    that cannot be read has the state `unreadable` and a note that says why.

    Raises:
        TrackingError: Only MLflow could tell, and it does not answer.
    """
    sent = list_submissions() if storage is None else []
    found = []
    for name in sorted({*list_sweeps(storage), *sent}):
        try:
            found.append(sweep_status(opened, name, storage))
        except ConfigError as error:
            counts = dict.fromkeys(ENDED, 0)
            found.append(
                SweepStatus(
                    name=name, state="unreadable", trials=None, counts=counts, note=str(error)
                )
            )
    return found


def sweep_status(
    opened: Callable[[], Store], name: str, storage: str | Path | None = None
) -> SweepStatus:
    """Tell how far a sweep is; `opened` as in `list_statuses`, `storage` as in `find_sweep`.

    Raises:
        ConfigError: There is no such sweep.
        TrackingError: Only MLflow could tell, and it does not answer.

    """
    submission = find_submission(name) if storage is None else None
    if submission is None:
        return _local(find_sweep(name, storage))
    return _submitted(opened, submission)


def _local(folder: SweepFolder) -> SweepStatus:
    config, run_id = folder.read()
    trials = read_trials(folder.log)
    counts = {status: sum(trial.status == status for trial in trials.values()) for status in ENDED}
    best = ranked(trials, config.lower_is_better)
    last = max((trial.ended or trial.started for trial in trials.values()), default=None)
    over = "finished" if sum(counts.values()) >= config.trials else "stopped"
    running = is_running(folder) or driven_elsewhere(folder) is not None
    return SweepStatus(
        name=config.name,
        state="running" if running else over,
        trials=config.trials,
        counts=counts,
        best=best[0].value if best else None,
        objective=config.objective,
        run_id=run_id,
        seconds_since_last_result=None if last is None else round(time.time() - last),
    )


def _submitted(opened: Callable[[], Store], submission: Submission) -> SweepStatus:
    try:
        found = _local(find_sweep(submission.job.name))
    except (ConfigError, DatasetError):
        found = _recorded(opened(), submission)
    try:
        job = job_status(submission)
    except ClusterError as error:
        return replace(found, state="unknown", note=str(error))
    note = job.message.strip() if job.status == "FAILED" else None
    return replace(found, state=_job_state(job, found), note=note)


def _job_state(job: JobState, found: SweepStatus) -> str:
    if job.status == "SUCCEEDED":
        whole = found.trials is not None and found.ended >= found.trials
        return "finished" if whole else "stopped"
    return job.status.lower()


def _recorded(store: Store, submission: Submission) -> SweepStatus:
    """What the sweep's run in MLflow says, where its driver puts it every few seconds."""
    name = submission.job.name
    place = SweepFolder.named(name, submission.job.storage).place
    runs = find_runs(store, {"ni.level": "sweep", "ni.sweep": name, "ni.sweep_place": place})
    if not runs:
        return SweepStatus(name=name, state="", trials=None, counts=dict.fromkeys(ENDED, 0))
    run = runs[0]
    return SweepStatus(
        name=name,
        state="",
        trials=int(run.tags["ni.sweep_trials"]),
        counts={status: int(run.metrics.get(f"trials/{status}", 0)) for status in ENDED},
        best=run.metrics.get("best/objective"),
        objective=run.tags["ni.sweep_objective"],
        run_id=run.run_id,
    )

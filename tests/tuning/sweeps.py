"""Sweeps as a driver leaves them: folder, log and run, without training anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from ni_platform.experiment_config import ExperimentConfig
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.files.trial_log import TrialLog, TrialRecord, read_trials

Event = dict[str, Any]
"""What happens to a trial at a time: `started`, `epoch` or `ended`."""


def write_sweep(
    experiment: ExperimentConfig,
    data: str,
    events: Sequence[Event],
    *,
    objective: str = "rmse",
    storage: Path | None = None,
) -> SweepFolder:
    """Write a finished sweep named `planted` with its run, and return its folder."""
    folder = SweepFolder.named("planted", storage)
    sweep = SweepConfig(
        name="planted",
        space="tests.planted",
        experiment=experiment,
        data=data,
        trials=max(1, len({event["trial"] for event in events})),
        objective=objective,
    )
    with RunRecord.start(
        open_store(), "sweeps", run_name="planted", tags={"ni.level": "sweep"}
    ) as record:
        folder.create(sweep, record.run_id)
    append(folder, events, lower_is_better=sweep.lower_is_better)
    return folder


def append(
    folder: SweepFolder, events: Sequence[Event], lower_is_better: bool = True
) -> list[TrialRecord]:
    """Let the log grow by events; returns what is known of its trial after each."""
    now = 0.0
    log = TrialLog(folder.log, name="planted", lower_is_better=lower_is_better, clock=lambda: now)
    records = []
    for event in events:
        number, now = event["trial"], event["time"]
        if event["event"] == "started":
            if number == len(log.study.trials):
                log.study.add_trial(
                    create_trial(
                        state=TrialState.RUNNING,
                        params=event["parameters"],
                        distributions=event["distributions"],
                        user_attrs={"ni.overrides": event["overrides"]},
                    )
                )
            records.append(log.begin(number))
        elif event["event"] == "epoch":
            records.append(log.epoch(number, *event["reached"]))
        else:
            records.append(log.end(number, event["status"], event["reason"]))
    log.close()
    return records


def _holding(value: Any) -> BaseDistribution:
    if isinstance(value, float):
        return FloatDistribution(-1e9, 1e9)
    return CategoricalDistribution([value])


def trial_events(
    number: int,
    values: Sequence[float],
    *,
    parameters: dict | None = None,
    distributions: dict[str, BaseDistribution] | None = None,
    overrides: dict | None = None,
    status: str = "complete",
    reason: str | None = None,
    lower_is_better: bool = True,
    objective: str = "rmse",
    seconds: float = 10.0,
    begun: float | None = None,
) -> list[Event]:
    """The life of a trial with these values of the objective after its epochs, ten seconds long."""
    begun = number * seconds if begun is None else begun
    drawn: dict[str, Any] = {"parameters": parameters or {}, "overrides": overrides or {}}
    drawn["distributions"] = {
        name: (distributions or {}).get(name, _holding(value))
        for name, value in drawn["parameters"].items()
    }
    events: list[Event] = [{"event": "started", "trial": number, "time": begun, **drawn}]
    better = min if lower_is_better else max
    for epoch, value in enumerate(values, start=1):
        best = better(values[:epoch])
        metrics = {"epoch": epoch, "train_loss": 1.0 / epoch, objective: value}
        reached = (metrics, best, values.index(best) + 1)
        events.append(
            {"event": "epoch", "trial": number, "time": begun + epoch, "reached": reached}
        )
    end = {"status": status, "reason": reason}
    return [*events, {"event": "ended", "trial": number, "time": begun + seconds, **end}]


def assert_each_trial_once(folder: SweepFolder, trials: int, epochs: int) -> None:
    """The log and MLflow agree, epoch by epoch; all trials ran to their end."""
    config, run_id = folder.read()
    logged = read_trials(folder.log)
    assert sorted(logged) == list(range(trials))
    backend = JournalStorage(JournalFileBackend(str(folder.log)))
    study = optuna.load_study(study_name=config.name, storage=backend)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * trials
    client = open_store().client
    parent = client.get_run(run_id)
    assert parent.info.status == "FINISHED"
    runs = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'"
    )
    assert sorted(int(run.data.tags["ni.trial"]) for run in runs) == list(range(trials))
    for run in runs:
        trial = logged[int(run.data.tags["ni.trial"])]
        points = client.get_metric_history(run.info.run_id, "epoch/objective")
        assert [point.step for point in points] == list(range(1, epochs + 1))
        assert [point.value for point in points] == trial.values
        assert float(run.data.params["rate"]) == trial.parameters["rate"]
        assert run.info.status == "FINISHED"

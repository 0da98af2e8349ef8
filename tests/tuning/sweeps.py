"""Sweeps as a driver leaves them: folder, journal and run, without training anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ni_platform.experiment_config import ExperimentConfig
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import connect
from ni_platform.tuning.definition import SweepConfig, SweepFolder
from ni_platform.tuning.files import journal
from ni_platform.tuning.files.journal import Event, Journal, read_trials


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
    with RunRecord.start("sweeps", run_name="planted", tags={"ni.level": "sweep"}) as record:
        folder.create(sweep, record.run_id)
    with Journal(folder.journal) as written:
        for event in events:
            written.append(event)
    return folder


def trial_events(
    number: int,
    values: Sequence[float],
    *,
    parameters: dict | None = None,
    overrides: dict | None = None,
    status: str = "complete",
    reason: str | None = None,
    lower_is_better: bool = True,
    objective: str = "rmse",
    seconds: float = 10.0,
) -> list[Event]:
    """The life of a trial with these values of the objective after its epochs, ten seconds long."""
    begun = number * seconds
    events = [journal.started(number, begun, parameters or {}, overrides or {})]
    better = min if lower_is_better else max
    for epoch, value in enumerate(values, start=1):
        best = better(values[:epoch])
        metrics = {"epoch": epoch, "train_loss": 1.0 / epoch, objective: value}
        events.append(
            journal.epoch_done(number, begun + epoch, metrics, best, values.index(best) + 1)
        )
    return [*events, journal.ended(number, begun + seconds, status, reason)]


def assert_each_trial_once(folder: SweepFolder, trials: int, epochs: int) -> None:
    """Journal, Optuna study and MLflow agree, epoch by epoch; all trials ran to their end."""
    config, run_id = folder.read()
    journal_trials = read_trials(folder.journal)
    assert sorted(journal_trials) == list(range(trials))
    backend = JournalStorage(JournalFileBackend(str(folder.study)))
    study = optuna.load_study(study_name=config.name, storage=backend)
    assert sorted(trial.user_attrs["trial"] for trial in study.trials) == list(range(trials))
    client = connect()
    parent = client.get_run(run_id)
    assert parent.info.status == "FINISHED"
    runs = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'"
    )
    assert sorted(int(run.data.tags["ni.trial"]) for run in runs) == list(range(trials))
    for run in runs:
        trial = journal_trials[int(run.data.tags["ni.trial"])]
        points = client.get_metric_history(run.info.run_id, "epoch/objective")
        assert [point.step for point in points] == list(range(1, epochs + 1))
        assert [point.value for point in points] == trial.values
        assert float(run.data.params["rate"]) == trial.parameters["rate"]
        assert run.info.status == "FINISHED"

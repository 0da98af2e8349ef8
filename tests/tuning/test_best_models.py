"""Models of the best trials, where somebody has deleted what they are recorded in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import TrackingError
from ni_platform.experiment_config import load_experiment
from ni_platform.opened import open_experiment
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.tracking.trial_records import TrialRecords
from ni_platform.tuning.engine.best_models import record_models
from ni_platform.tuning.engine.recorder import Recorder
from ni_platform.tuning.files.trial_log import ranked, read_trials
from tests.tuning.sweeps import trial_events, write_sweep


@pytest.fixture(autouse=True)
def home(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state folder of this test."""
    (tmp_path / "ni").mkdir()
    shutil.copy(empty_database, tmp_path / "ni/mlflow.db")
    monkeypatch.setenv("NI_HOME", str(tmp_path / "ni"))


def test_a_best_trial_whose_run_was_deleted_is_passed_over_and_said(tmp_path):
    """Its weights stay, and the sweep is resumed as often as one likes."""
    root = make_synthetic(tmp_path / "data", tests=8, image_size=32).root
    dataset = Dataset.open(root)
    experiment = load_experiment("neural_insights.quickstart")
    folder = write_sweep(experiment, root, [*trial_events(0, [0.5]), *trial_events(1, [0.4])])
    config, run_id = folder.read()
    recorder = Recorder(folder, run_id)
    for trial in read_trials(folder.log).values():
        recorder.note(trial)
    while recorder.write_batch():
        pass
    folder.weights(1).mkdir(parents=True)
    (folder.weights(1) / "state.safetensors").write_bytes(b"of trial 1")
    open_store().client.delete_run(TrialRecords.of(open_store(), run_id).run_ids()[1])

    best = ranked(read_trials(folder.log), lower_is_better=True)
    assert [trial.number for trial in best] == [1, 0]
    for _ in range(2):
        told: list[str] = []
        opened = open_experiment(experiment, dataset)
        record_models(open_store(), config, folder, run_id, best, opened, told.append)
        assert told == [
            "trial 1 has no run in MLflow, where somebody has deleted it: its model is not "
            f"recorded, its weights stay in {folder.weights(1)}"
        ]
    assert (folder.weights(1) / "state.safetensors").read_bytes() == b"of trial 1"


def test_a_deleted_run_takes_nothing_and_says_how_to_restore_it():
    """That of a sweep, of a stage, of a winner: whatever is to be gone on with."""
    run = RunRecord.start(open_store(), "file", run_name="lost", parameters={"a": 1})
    open_store().client.delete_run(run.run_id)
    words = f"{run.run_id} \\(lost\\) was deleted .* `mlflow runs restore --run-id {run.run_id}`"
    with pytest.raises(TrackingError, match=words):
        RunRecord.start(open_store(), "file", parameters={"a": 1}, resume=run.run_id)
    with pytest.raises(TrackingError, match=words):
        RunRecord.existing(open_store(), run.run_id)
    open_store().client.restore_run(run.run_id)
    assert RunRecord.existing(open_store(), run.run_id).run_name == "lost"


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 251])
def test_a_name_that_no_run_can_have_is_refused_before_the_run(name):
    """PostgreSQL has 250 characters for it."""
    with pytest.raises(TrackingError, match="A run's name is one line of 1 to 250 characters"):
        RunRecord.start(open_store(), "file", run_name=name)


def test_a_parameter_that_mlflow_refuses_is_told_by_its_rule():
    """In a run as in a trial."""
    with pytest.raises(TrackingError, match=r"MLflow takes names of .* but got 'a %'"):
        RunRecord.start(open_store(), "file", parameters={"a %": 1})

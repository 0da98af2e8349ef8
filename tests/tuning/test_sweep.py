"""Real sweeps on planted data, from the command line and from Python."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from ni_platform.cli.sweep.resume import command as resume_command
from ni_platform.cli.sweep.status import command as status_command
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import split_dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError
from ni_platform.experiment import train
from ni_platform.experiment_config import load_experiment
from ni_platform.opened import open_experiment
from ni_platform.overrides import set_values
from ni_platform.ray_cluster import start_ray
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.store import open_store
from ni_platform.tracking.trial_records import TrialRecords
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.engine.distributed_trial import DistributedTraining
from ni_platform.tuning.engine.lane import TrialEnded
from ni_platform.tuning.files.locks import driving
from ni_platform.tuning.files.trial_log import read_trials
from ni_platform.tuning.files.validation_predictions import ValidationPredictions, validated_rows
from ni_platform.tuning.search.spaces import trial_config
from ni_platform.tuning.sweep import FinishedSweep, run_sweep

SPACE = '''
import time
from pathlib import Path

LOG = Path(".ni/sweeps/tiny/study.log")


def small(trial):
    """Width and rate; in a live sweep the keeper is held up at trial 3 until there is `go`."""
    while trial.number == 3 and LOG.exists() and not Path("go").exists():
        time.sleep(0.05)
    return {
        "model.regression.hidden": [trial.suggest_int("width", 4, 32, log=True)],
        "training.learning_rate": trial.suggest_float("rate", 1e-4, 1e-2, log=True),
    }
'''

TINY = [
    "model.image=null",
    "pretraining.image=null",
    "pretraining.domain=null",
    "pretraining.attributes=null",
    "pretraining.text.epochs=1",
    'model.text.scratch={"vocabulary": 200, "layers": 1, "width": 16, "heads": 2}',
    "model.domain.mlp.hidden=[8]",
    "model.attributes.mlp.hidden=[8]",
    "training.epochs=2",
    'training.frozen=["text"]',
    "training.precision=float32",
    "training.loader_threads=1",
    "evaluation.replicates=20",
]
OPTIONS = ["--experiment=neural_insights.quickstart", "--data=data", "--name=tiny", "--keep=2"]
OPTIONS += ["--objective=rmse", "--scheduler=none", *(f"--set={change}" for change in TINY)]
OPTIONS += ["--concurrent=1"]  # two lanes at a time are test_lanes' subject


def config(trials: int, **changes: Any) -> SweepConfig:
    """What `OPTIONS` say."""
    settings = {"objective": "rmse", "scheduler": "none", "keep": 2, "concurrent": 1} | changes
    return SweepConfig(
        name="tiny",
        space="planted_sweep.small",
        experiment=set_values(load_experiment("neural_insights.quickstart"), TINY),
        data="data",
        trials=trials,
        **settings,
    )


@pytest.fixture(scope="module", autouse=True)
def project(
    without_ray: None, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A user's folder with data and a space, which is the current one; runs stand in its .ni."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".ni").mkdir()
    shutil.copy(empty_database, folder / ".ni/mlflow.db")
    make_synthetic(folder / "data", tests=60, image_size=32, domains=3)
    (folder / "tune_spaces").mkdir()
    (folder / "tune_spaces/planted_sweep.py").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NI_HOME", raising=False)
        patch.chdir(folder)
        yield folder


def wait_for(found: Any, process: subprocess.Popen, log: Path) -> None:
    """Wait until `found()`, for minutes on a busy machine."""
    deadline = time.monotonic() + 400
    while not found():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(log.read_text()[-3000:])
        time.sleep(0.1)


def status() -> dict[str, Any]:
    """What `ni sweep status tiny --json` prints."""
    result = CliRunner().invoke(status_command, ["tiny", "--json"], catch_exceptions=False)
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def stopped(project: Path) -> dict[str, Any]:
    """A sweep of five trials that was told to stop in the middle; its status, then and before."""
    log, study_log = project / "log", SweepFolder.named("tiny").log
    command = [str(Path(sys.executable).with_name("ni")), "sweep", "run", "planted_sweep.small"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--trials=5", *OPTIONS],
            stdout=output,
            stderr=output,
            env=os.environ | {"COLUMNS": "200"},
        )
    try:
        wait_for(lambda: study_log.exists() and b"ended" in study_log.read_bytes(), process, log)
        running = status()
        # Not by `run_sweep`, which would draw from the space here and wait as the keeper does.
        with (
            pytest.raises(ConfigError, match="'tiny' is running already"),
            driving(SweepFolder.named("tiny")),
        ):
            pass
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping: trials under way" in log.read_text(), process, log)
        (project / "go").touch()
        code = process.wait(400)
    finally:
        process.kill()
    after = status()
    run = read_run(open_store(), after["run_id"]).status
    return {"running": running, "code": code, "stopped": after, "run": run}


@pytest.fixture(scope="module")
def encoded_then(stopped: dict[str, Any], project: Path) -> dict[Path, int]:
    """The outputs of encoders that the stopped sweep left, and when they were written."""
    files = [path for path in (project / ".ni/encoded").rglob("*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def grown(encoded_then: dict[Path, int]) -> FinishedSweep:
    """The same sweep, gone on with, and with a trial more."""
    start_ray(cpus=2)
    return run_sweep(open_store(), config(6))


def test_a_sweep_that_is_told_to_stop_says_so(stopped):
    """The run is KILLED, the trials that ended are kept."""
    assert stopped["running"]["state"] == "running"
    assert stopped["code"] != 0
    after = stopped["stopped"]
    assert after["state"] == "stopped"
    ended, trials = map(int, after["trials"].split("/"))
    assert 1 <= ended == after["complete"] < trials == 5
    assert stopped["run"] == "KILLED"


def test_it_goes_on_to_its_end(stopped, grown):
    """In the same run, with the trials that had ended as they were; one more can be asked for."""
    assert grown.run_id == stopped["stopped"]["run_id"]
    assert list(grown.trials) == list(range(6))
    assert {trial.status for trial in grown.trials.values()} == {"complete"}
    assert not grown.unwritten
    client = open_store().client
    runs = client.search_runs(
        [client.get_run(grown.run_id).info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{grown.run_id}' AND tags.`ni.level` = 'trial'",
    )
    objectives = {int(r.data.tags["ni.trial"]): r.data.metrics["objective"] for r in runs}
    assert len(runs) == 6
    assert objectives == {number: trial.value for number, trial in grown.trials.items()}
    assert client.get_run(grown.run_id).info.status == "FINISHED"
    assert status()["state"] == "finished"


def test_resuming_a_finished_sweep_changes_nothing(grown):
    """`ni sweep resume` finds config and run by the name alone."""
    result = CliRunner().invoke(resume_command, ["tiny", "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    told = json.loads(result.stdout.strip().splitlines()[-1])
    assert (told["run_id"], told["trials"]) == (grown.run_id, 6)
    assert read_trials(grown.folder.log) == grown.trials


def test_texts_are_encoded_once(encoded_then, grown, project):
    """Neither resuming nor growing writes the outputs of encoders again."""
    assert encoded_then
    now = [path for path in (project / ".ni/encoded").rglob("*") if path.is_file()]
    assert {path: path.stat().st_mtime_ns for path in now} == encoded_then


def test_recorded_models_predict_what_their_trials_did(grown):
    """Those of the best two; no other trial's weights are kept."""
    dataset = Dataset.open("data")
    rows = validated_rows(grown.config.experiment, dataset)
    numbers, predictions = ValidationPredictions(path=grown.folder.predictions).read()
    assert numbers.tolist() == list(range(6))
    run_ids = TrialRecords.of(open_store(), grown.run_id).run_ids()
    best = grown.best[:2]
    for trial in best:
        uri = read_run(open_store(), run_ids[trial.number]).model_uri
        found = mlflow.pyfunc.load_model(uri).predict(dataset.inputs(rows))
        stored = predictions[trial.number]
        np.testing.assert_allclose(np.asarray(found, dtype=float).ravel(), stored, rtol=1e-4)
        rmse = np.sqrt(np.mean((stored - dataset.success_rate[rows]) ** 2))
        assert rmse == pytest.approx(trial.value, rel=1e-4)
    kept = {int(path.name) for path in (grown.folder.path / "trials").iterdir()}
    assert kept == {trial.number for trial in best}


@pytest.mark.slow
def test_a_trial_is_what_ni_train_makes_of_its_config(grown):
    """Same pretraining, same seed: the same curve, though texts were not encoded before."""
    winner = grown.best[0]
    run = train(
        open_store(),
        open_experiment(trial_config(grown.config.experiment, winner.overrides), "data"),
    )
    fused = run.stages["fused"]
    for name in ("train_loss", "loss", "rmse"):
        assert fused[name] == pytest.approx(winner.metrics[name], rel=1e-3), name


def test_a_finished_sweep_says_so(grown):
    """`ni sweep resume` of a sweep that has all its trials says that it was finished already."""
    result = CliRunner().invoke(resume_command, ["tiny"], catch_exceptions=False)
    assert f"was finished already: its {grown.config.trials} trials have ended" in result.output


def test_another_sweep_of_the_same_name_is_refused(grown):
    """Other settings, fewer trials, another driver, other data."""
    for other in (config(6, keep=3), config(6, seed=1), config(5)):
        with pytest.raises(ConfigError, match="a sweep 'tiny' with other settings"):
            run_sweep(open_store(), other)
    with driving(grown.folder), pytest.raises(ConfigError, match="ni sweep stop tiny"):
        run_sweep(open_store(), config(6))
    table = Path("data") / Dataset.open("data").manifest.contents
    before = table.read_bytes()
    Dataset.open("data").contents.assign(clicks=1).to_parquet(table)
    try:
        with pytest.raises(ConfigError, match="data has changed since 'tiny' began"):
            run_sweep(open_store(), config(6))
    finally:
        table.write_bytes(before)


@pytest.mark.slow
def test_a_trial_of_two_workers_is_the_trial_of_one(grown):
    """Its curve, its predictions; and it ends where it is stopped."""
    dataset = Dataset.open("data")
    rows = validated_rows(grown.config.experiment, dataset)
    trainer = DistributedTraining(
        config=replace(grown.config, workers_per_trial=2),
        train_rows=split_dataset(dataset, grown.config.experiment.splits).rows("train"),
        validation_rows=rows,
        states={"text": grown.folder.encoders / "stages/text/state.safetensors"},
        folder=grown.folder.path / "distributed",
    )
    trial = grown.best[0]
    told: list[tuple[float, int, bool]] = []
    done = trainer(trial.overrides, lambda metrics, *rest: told.append(rest))
    assert [last for _, _, last in told] == [False, True]
    assert done.value == told[-1][0] == pytest.approx(trial.value, rel=0.02)
    _, predictions = ValidationPredictions(path=grown.folder.predictions).read()
    np.testing.assert_allclose(done.predictions, predictions[trial.number], rtol=0.2)

    def stop(metrics: Any, value: float, best: int, last: bool) -> None:
        raise TrialEnded("stop")

    with pytest.raises(TrialEnded):
        trainer(trial.overrides, stop)
    assert not list((grown.folder.path / "distributed").iterdir())
    assert read_trials(grown.folder.log) == grown.trials

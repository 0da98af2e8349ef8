"""A whole sweep in S3 whose driver's machine is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweeps import assert_each_trial_once

from ni_platform.data import storage
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import load_experiment
from ni_platform.tracking.run_queries import leaderboard
from ni_platform.tracking.store import open_store
from ni_platform.tuning.config import SweepConfig
from ni_platform.tuning.files.trial_log import ranked, read_trials
from ni_platform.tuning.results.finding import find_sweep
from ni_platform.tuning.results.status import sweep_status
from ni_platform.tuning.sweep import run_sweep

pytestmark = pytest.mark.slow

TRIALS, EPOCHS, KEPT = 6, 40, 2
TINY = [
    *(f"--set=model.{name}=null" for name in ("image", "text")),
    *(f"--set=pretraining.{name}=null" for name in ("image", "text", "domain", "attributes")),
    "--set=model.regression.hidden=[8]",
    f"--set=training.epochs={EPOCHS}",
]
SPACE = '''
def rates(trial):
    """The learning rate."""
    return {"training.learning_rate": trial.suggest_float("rate", 1e-4, 1e-2, log=True)}
'''


def ni(folder: Path, machine: Path, *arguments: str) -> subprocess.Popen:
    """Start `ni sweep ...` in a project, on a machine of its own."""
    command = [sys.executable, "-c", "from ni_platform.cli.main import main; main()", "sweep"]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env=os.environ | {"NI_HOME": str(machine)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_sweep_outlives_its_machine(place, tmp_path, monkeypatch):
    """Its driver is killed and its disk is gone; another machine goes on, nothing is twice."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("NI_HOME", str(tmp_path / "onlooker"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "tune_spaces").mkdir()
    (tmp_path / "tune_spaces" / "only_here.py").write_text(SPACE)
    data = make_synthetic(tmp_path / "data", tests=40, image_size=32).root
    options = ["--experiment", "neural_insights.quickstart", "--data", str(data), "--name", "s"]
    options += ["--trials", str(TRIALS), "--scheduler", "none", "--concurrent", "1", *TINY]
    options += ["--keep", str(KEPT), "--storage", place]

    first = ni(tmp_path, tmp_path / "first", "run", "only_here.rates", *options)
    until = time.monotonic() + 300
    while first.poll() is None and ended(place) < 1:
        assert time.monotonic() < until
        time.sleep(0.3)
    first.kill()
    first.communicate()
    shutil.rmtree(tmp_path / "first", ignore_errors=True)
    before = ended(place)
    assert before >= 1

    # The same command once more, as the job of a sweep that is sent again.
    second = ni(tmp_path, tmp_path / "second", "run", "only_here.rates", *options)
    printed, _ = second.communicate(timeout=300)
    assert second.returncode == 0, printed
    status = sweep_status(open_store, "s", place)
    assert (status.state, status.ended) == ("finished", TRIALS)
    folder = find_sweep("s", place)
    assert_each_trial_once(folder, TRIALS, EPOCHS)
    config, run_id = folder.read()
    best = ranked(read_trials(folder.log), config.lower_is_better)[:KEPT]
    kept = sorted(f"trials/{trial.number:05d}/state.safetensors" for trial in best)
    names = storage.list_files(f"{place}/s")
    assert [name for name in names if name.startswith("trials/")] == kept
    assert "lease.json" not in names
    shown = leaderboard(
        open_store(), run_id, "objective", lower_is_better=config.lower_is_better, limit=TRIALS
    )
    recorded = {int(run.tags["ni.trial"]) for run in shown if run.model_uri}
    assert recorded == {trial.number for trial in best}


def ended(place: str) -> int:
    """Trials that are over, as a machine sees it that has only S3."""
    try:
        return sweep_status(open_store, "s", place).ended
    except ConfigError:  # it did not begin yet
        return 0


def test_workers_that_exchange_files_need_a_disk(place, tmp_path, monkeypatch):
    """Before anything is read or started."""
    monkeypatch.setenv("NI_HOME", str(tmp_path / "home"))
    data = make_synthetic(tmp_path / "data", tests=8, image_size=32).root
    config = SweepConfig(
        name="s",
        space="fusion.neural_insights",
        experiment=load_experiment("neural_insights.quickstart"),
        data=str(data),
        trials=2,
        objective="loss",
        workers_per_trial=2,
    )
    with pytest.raises(ConfigError, match=r"per-trial is 2 and --storage s3://.*/s: name"):
        run_sweep(open_store(), config, storage=place)

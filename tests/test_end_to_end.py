"""The journey through the command line, on small planted data: real Ray, real MLflow store."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import url2pathname

import mlflow
import numpy as np
import pandas as pd
import pytest
import ray
import yaml

from ni_platform.data.dataset import Dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.tracking.store import open_store
from ni_platform.training.config import TrainingConfig
from ni_platform.training.workers import WorkerGroup, precision_name, precision_on
from tests.command import Ended, in_project, ni
from tests.figures import figures
from tests.metrics.columns import evaluate

SMALL = [
    "--set=model.image.input.size=32",
    "--set=training.epochs=2",
    *(
        f"--set=pretraining.{modality}.epochs=1"
        for modality in ("image", "text", "domain", "attributes")
    ),
    "--set=evaluation.replicates=50",
]


@pytest.fixture(scope="module")
def home(
    two_cpus: None, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder with a planted dataset, as a user's project; it is the current one."""
    folder = tmp_path_factory.mktemp("a project")
    make_synthetic(folder / "data", tests=60, image_size=32, seed=3)
    with in_project(folder, empty_database):
        yield folder


@pytest.fixture(scope="module")
def trained(home: Path) -> Ended:
    """`ni train` in stages by two workers."""
    words = ("train", "neural_insights.quickstart", "--data=data", "--workers=2", "--json")
    return ni(*words, *SMALL)


@pytest.fixture(scope="module")
def run(trained: Ended) -> dict:
    """The run that it recorded."""
    return trained.json


def test_a_run_reports_metrics_that_follow_from_its_predictions(run, home):
    """Metrics are recomputed from the recorded predictions, which `ni predict` makes again."""
    assert ni("predict", run["run_id"], "--data=data", "--output=out/scores.parquet").code == 0
    scores = pd.read_parquet(home / "out/scores.parquet")
    dataset = Dataset.open(home / "data")
    assert scores.columns.tolist() == ["content_id", "prediction"]
    assert scores["content_id"].tolist() == dataset.content_id.tolist()
    assert scores["prediction"].between(0, 1).all()

    recorded = pd.read_parquet(_artifact(home, run["run_id"], "predictions/test.parquet"))
    again = scores.set_index(scores["content_id"].astype(str))["prediction"]
    # Workers predict in bfloat16 where the processor gains from it, the scorer in float32.
    np.testing.assert_allclose(
        recorded["prediction"], again[recorded["content_id"].astype(str)], rtol=0.1
    )
    expected = evaluate(
        recorded["prediction"],
        recorded["clicks"],
        recorded["impressions"],
        ab_test=recorded["ab_test"],
        replicates=0,
    )
    for name in ("rmse", "spearman", "pairwise_within"):
        metric = run["metrics"][f"test/{name}"]
        assert metric["value"] == pytest.approx(expected[name].value)
        assert metric["low"] <= metric["value"] <= metric["high"]


def test_what_the_processor_decides_is_said(trained, run, home):
    """Precision and device stand in the progress, in the run and in each stage's run."""
    here = precision_name(precision_on(WorkerGroup().device, TrainingConfig()))
    assert f"2 worker(s) on cpu in {here}" in trained.stderr
    tagged = _query(
        home,
        "SELECT r.name, t.value FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
        "WHERE t.key = 'ni.precision' AND r.run_uuid IN (SELECT run_uuid FROM tags "
        "WHERE key = 'mlflow.parentRunId' AND value = ?)",
        run["run_id"],
    )
    assert sorted(tagged) == sorted((stage, here) for stage in run["stages"])
    tags = dict(_query(home, "SELECT key, value FROM tags WHERE run_uuid = ?", run["run_id"]))
    assert (tags["ni.precision"], tags["ni.device"]) == (here, "cpu")


def test_a_run_is_explained_and_its_insights_stand_in_it(run, home):
    """`ni explain` writes a table; `ni insights` adds metrics and the report to the run."""
    words = ["--methods=feature_ablation,grad_cam", "--contents=24"]
    table = home / "out/attributions.parquet"
    result = ni("explain", run["run_id"], "--data=data", *words, f"--output={table}")
    assert result.code == 0, result.stderr
    found = pd.read_parquet(table)
    assert set(found["modality"]) == {"image", "text", "domain", "attributes"}
    assert set(found["method"]) == {"feature_ablation", "grad_cam"}
    assert found["content_id"].nunique() == 24

    result = ni("insights", run["run_id"], "--data=data", *words, "--json")
    assert result.json["run_id"] == run["run_id"]
    assert _artifact(home, run["run_id"], "insights/report.html").exists()
    found = figures(open_store(), run["run_id"])
    assert {"insight/text/grad_cam", "insight/image/feature_ablation"} <= found.keys()
    status = _query(home, "SELECT status FROM runs WHERE run_uuid = ?", run["run_id"])
    assert status == [("FINISHED",)]


def test_every_stage_and_the_glm_are_child_runs(run, home):
    """The four encoders, the fused model and the GLM can be compared under their run."""
    assert set(run["stages"]) == {"image", "text", "domain", "attributes", "fused"}
    children = _query(
        home,
        "SELECT r.name FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
        "WHERE t.key = 'mlflow.parentRunId' AND t.value = ?",
        run["run_id"],
    )
    assert {name for (name,) in children} == {*run["stages"], "glm"}


def test_the_run_holds_what_it_was_made_from(run, home):
    """Config, checks, splits, predictions and plots are artifacts; where it came from is tags."""
    for path in (
        "config.yaml",
        "metrics.parquet",
        "checks/summary.json",
        "checks/index.html",
        "predictions/test.parquet",
        "tables/by_domain.csv",
        "plots/calibration.png",
    ):
        assert _artifact(home, run["run_id"], path).exists(), path
    tags = dict(_query(home, "SELECT key, value FROM tags WHERE run_uuid = ?", run["run_id"]))
    assert tags["ni.dataset_fingerprint"] == Dataset.open(home / "data").fingerprint()
    assert tags["ni.checks"] == "passed"
    assert "torch==" in tags["ni.versions"]


def test_a_run_is_repeated_from_its_record(run, home):
    """--from-run prints the same config that the run was trained with."""
    config = ni("train", "--from-run", run["run_id"], "--print-config").json

    recorded = yaml.safe_load(_artifact(home, run["run_id"], "config.yaml").read_text())
    assert config == recorded
    assert config["training"]["epochs"] == 2


def test_a_fitted_rival_is_a_run_like_any_other(home):
    """XGBoost is trained, judged, registered, and served from the registry by plain MLflow."""
    run = ni("train", "baselines.xgboost", "--data=data", "--json").json
    assert run["metrics"]["test/pairwise_accuracy"]["value"] > 0.5
    assert run["stages"] == {}
    assert ni("promote", run["run_id"], "--model=rival", "--json").json["version"] == "1"

    result = ni("predict", "models:/rival/1", "--data=data", "--output=out/r.csv")
    assert result.code == 0, result.stderr
    mlflow.set_tracking_uri(f"sqlite:///{home}/.ni/mlflow.db")
    model = mlflow.pyfunc.load_model("models:/rival/1")
    rates = model.predict(Dataset.open(home / "data").inputs())
    np.testing.assert_allclose(rates, pd.read_csv("out/r.csv")["prediction"], atol=1e-6)


def test_distributions_are_judged_by_their_deviations(home):
    """M2FN with ten buckets records the correlations of means and of deviations."""
    run = ni(
        "train",
        "m2fn.small",
        "--data=data",
        "--json",
        "--set=model.output=distribution",
        "--set=training.loss.binomial=0",
        "--set=training.loss.kl_divergence=1",
        "--set=model.image.input.size=32",
        "--set=training.epochs=1",
        "--set=training.precision=float32",
        "--set=evaluation.replicates=50",
    ).json
    assert {"test/spearman", "test/spearman_std", "test/pearson_std"} <= set(run["metrics"])
    judged = ni("evaluate", run["run_id"], "--data=data", "--json").json
    # Not the rank correlations beside them: near ties fall either way by rounding.
    for name in ("test/rmse", "test/pearson_std"):
        one, other = run["metrics"][name]["value"], judged["metrics"][name]["value"]
        assert one == pytest.approx(other, abs=1e-3)


def test_compare_evaluate_promote_and_roll_back(run, home):
    """The run is listed, evaluated on its unseen part, promoted, and cannot be rolled back."""
    listed = ni("compare", "--json").json
    assert run["run_id"] in [row["run_id"] for row in listed["runs"]]

    promoted = ni("promote", run["run_id"], "--model=planted", "--json").json
    assert promoted["promoted"]
    assert [gate["passed"] for gate in promoted["gates"]] == [True, True, True]

    evaluated = ni("evaluate", "models:/planted@champion", "--data=data", "--json").json
    test = run["metrics"]["test/n_contents"]["value"]
    assert evaluated["metrics"]["test/n_contents"]["value"] == test

    back = ni("rollback", "planted")
    assert back.code == 1
    assert "first champion" in back.stderr


def test_a_run_told_to_stop_is_marked_and_goes_on(home):
    """SIGTERM in training leaves a KILLED run; --resume finishes the same run."""
    words = ["train", "neural_insights.quickstart", "--data=data", *SMALL]
    words += ["--set=training.epochs=1000", "--set=training.early_stopping=1"]
    for modality in ("image", "text", "domain", "attributes"):
        words += [f"--set=pretraining.{modality}=null"]
    words += ["--set=model.image=null", "--set=model.text=null"]
    address = ray.get_runtime_context().gcs_address
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("ni")), *words],
        env=os.environ | {"RAY_ADDRESS": address},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        for line in process.stderr:
            if "epoch 1/" in line:
                process.send_signal(signal.SIGTERM)
                break
        process.communicate(timeout=300)
    newest = "SELECT run_uuid, status FROM runs WHERE name = ? ORDER BY start_time DESC"
    run_id, status = _query(home, newest, "neural_insights.quickstart")[0]
    assert (process.returncode, status) == (143, "KILLED")

    assert ni("train", "--resume", run_id, "--json").json["run_id"] == run_id
    assert _query(home, "SELECT status FROM runs WHERE run_uuid = ?", run_id) == [("FINISHED",)]


def test_failed_checks_stop_training_unless_allowed(home, tmp_path):
    """Clicks above impressions end with exit code 2 and name the row; allowing bars promotion."""
    broken = tmp_path / "broken"
    dataset = Dataset.open(home / "data")
    shutil.copytree(dataset.root, broken)
    table = pd.read_parquet(broken / "contents.parquet")
    target = dataset.manifest.target
    table.loc[7, target.clicks] = table.loc[7, target.impressions] + 1
    table.to_parquet(broken / "contents.parquet")

    stopped = ni("train", "neural_insights.quickstart", f"--data={broken}", *SMALL)
    assert stopped.code == 2
    assert str(dataset.content_id[7]) in stopped.stderr
    assert "Traceback" not in stopped.stderr

    allowed = ni(
        "train", "baselines.glm", f"--data={broken}", "--allow-failed-checks", "--json",
        "--set=evaluation.replicates=50",
    ).json  # fmt: skip
    refused = ni("promote", allowed["run_id"], "--model=other")
    assert refused.code == 1
    assert "--allow-failed-checks" in refused.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "neural_insights.quikstart", "--data=data"], "neural_insights.quickstart"),
        (
            ["train", "neural_insights.quickstart", "--data=data", "--set=training.epoch=1"],
            "did you mean training.epochs",
        ),
        (["train", "neural_insights.quickstart", "--data=nowhere"], "not a dataset folder"),
        (["train", "neural_insights.quickstart"], "--data"),
        (["predict", "0" * 32, "--data=data", "--output=x.parquet"], "no run"),
        (["predict", "models:/nothing@champion", "--data=data", "--output=x.txt"], ".parquet"),
        (["promote", "0" * 32, "--model=planted"], "no run"),
    ],
)
def test_a_users_mistake_is_one_message(words, message, home):
    """A wrong name, path, override or id ends with exit code 1 and no traceback."""
    result = ni(*words)

    assert result.code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (home / "x.parquet").exists()


def test_a_mistake_ends_the_process_as_well(home):
    """The installed command gives exit code and message, and nothing on standard output."""
    result = subprocess.run(
        [str(Path(sys.executable).with_name("ni")), "train", "neural_insights.quikstart"],
        capture_output=True,
        text=True,
    )

    assert (result.returncode, result.stdout) == (1, "")
    assert "neural_insights.quickstart" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unreachable_tracking_server_stops_before_training(home, monkeypatch):
    """Nothing is trained for a run that could not be recorded."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    result = ni("train", "neural_insights.quickstart", "--data=data")

    assert result.code == 1
    assert "127.0.0.1:9" in result.stderr
    assert "stage" not in result.stderr


def _artifact(home: Path, run_id: str, path: str) -> Path:
    (uri,) = _query(home, "SELECT artifact_uri FROM runs WHERE run_uuid = ?", run_id)[0]
    return Path(url2pathname(uri.removeprefix("file://"))) / path


def _query(home: Path, statement: str, *values: str) -> list[tuple]:
    with sqlite3.connect(home / ".ni/mlflow.db") as connection:
        return connection.execute(statement, values).fetchall()

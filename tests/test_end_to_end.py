"""The journey through the command line, on small planted data: real Ray, real MLflow store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.metrics.evaluation import evaluate

SMALL = [
    "--set=model.image.input.size=32",
    "--set=training.epochs=2",
    *(
        f"--set=pretraining.{modality}.epochs=1"
        for modality in ("image", "text", "domain", "attributes")
    ),
    "--set=evaluation.replicates=50",
]


def ni(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("ni")), *words],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def last_json(result: subprocess.CompletedProcess[str]) -> dict:
    """The JSON object that --json makes of the last line of standard output."""
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a planted dataset, as a user's project."""
    folder = tmp_path_factory.mktemp("project")
    make_synthetic(folder / "data", tests=60, image_size=48, seed=3)
    return folder


@pytest.fixture(scope="module")
def run(home):
    """A run trained in stages by two workers."""
    result = ni(
        "train",
        "neural_insights.quickstart",
        "--data=data",
        "--workers=2",
        "--json",
        *SMALL,
        cwd=home,
    )
    return last_json(result)


def test_a_run_reports_metrics_that_follow_from_its_predictions(run, home):
    """Recorded metrics are recomputed from the predictions that `ni predict` writes."""
    result = ni("predict", run["run_id"], "--data=data", "--output=out/scores.parquet", cwd=home)
    assert result.returncode == 0, result.stderr
    scores = pd.read_parquet(home / "out/scores.parquet")
    dataset = Dataset.open(home / "data")
    assert scores.columns.tolist() == ["content_id", "prediction"]
    assert scores["content_id"].tolist() == dataset.content_id.tolist()
    assert scores["prediction"].between(0, 1).all()

    splits = pd.read_parquet(_artifact(home, run["run_id"], "splits.parquet"))
    test = splits["part"].isin(["in_domain", "out_of_domain"]).to_numpy()
    again = evaluate(
        scores["prediction"][test],
        dataset.clicks[test],
        dataset.impressions[test],
        ab_test=dataset.ab_test[test],
        replicates=0,
    )
    for name in ("rmse", "spearman", "pairwise_accuracy_within_tests"):
        recorded = run["metrics"][f"test/{name}"]
        # Workers predict in bfloat16 where the processor gains from it, the scorer in float32.
        assert recorded["value"] == pytest.approx(again[name].value, abs=0.03)
        assert recorded["low"] <= recorded["value"] <= recorded["high"]


def test_a_run_is_explained_and_its_insights_stand_in_it(run, home):
    """`ni explain` writes a table; `ni insights` adds metrics and the report to the run."""
    words = ["--methods=feature_ablation,grad_cam", "--contents=24"]
    table = home / "out/attributions.parquet"
    result = ni("explain", run["run_id"], "--data=data", *words, f"--output={table}", cwd=home)
    assert result.returncode == 0, result.stderr
    found = pd.read_parquet(table)
    assert set(found["modality"]) == {"image", "text", "domain", "attributes"}
    assert set(found["method"]) == {"feature_ablation", "grad_cam"}
    assert found["content_id"].nunique() == 24

    result = ni("insights", run["run_id"], "--data=data", *words, "--json", cwd=home)
    assert last_json(result)["run_id"] == run["run_id"]
    assert _artifact(home, run["run_id"], "insights/report.html").exists()
    keys = {
        key for (key,) in _query(home, "SELECT key FROM metrics WHERE run_uuid = ?", run["run_id"])
    }
    assert {"insight/text/grad_cam", "insight/image/feature_ablation"} <= keys
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
        "config.json",
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
    config = last_json(ni("train", "--from-run", run["run_id"], "--print-config", cwd=home))

    recorded = json.loads(_artifact(home, run["run_id"], "config.json").read_text())
    assert config == recorded
    assert config["training"]["epochs"] == 2


def test_a_fitted_rival_is_a_run_like_any_other(home):
    """XGBoost is trained, judged, registered, and served from the registry by plain MLflow."""
    run = last_json(ni("train", "baselines.xgboost", "--data=data", "--json", cwd=home))
    assert run["metrics"]["test/pairwise_accuracy"]["value"] > 0.5
    assert run["stages"] == {}
    result = ni("promote", run["run_id"], "--model=rival", "--json", cwd=home)
    promoted = json.loads(result.stdout.strip().splitlines()[-1])
    assert promoted["version"] == "1"

    result = ni("predict", "models:/rival/1", "--data=data", "--output=out/r.csv", cwd=home)
    assert result.returncode == 0, result.stderr
    script = (
        "import mlflow, pandas as pd\n"
        "from ni_platform.data.dataset import Dataset\n"
        "model = mlflow.pyfunc.load_model('models:/rival/1')\n"
        "rates = model.predict(Dataset.open('data').inputs())\n"
        "scores = pd.read_csv('out/r.csv')['prediction']\n"
        "assert (abs(rates - scores) < 1e-6).all()\n"
    )
    served = subprocess.run(
        [sys.executable, "-c", script],
        cwd=home,
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/.ni/mlflow.db"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert served.returncode == 0, served.stderr


def test_distributions_are_judged_by_their_deviations(home):
    """M2FN with ten buckets records the correlations of means and of deviations."""
    run = last_json(
        ni(
            "train",
            "m2fn.small",
            "--data=data",
            "--json",
            "--set=model.output=distribution",
            "--set=training.loss.binomial=0",
            "--set=training.loss.kl_divergence=1",
            "--set=model.image.input.size=32",
            "--set=training.epochs=1",
            "--set=evaluation.replicates=50",
            cwd=home,
        )
    )
    assert {"test/spearman", "test/spearman_std", "test/pearson_std"} <= set(run["metrics"])
    judged = last_json(ni("evaluate", run["run_id"], "--data=data", "--json", cwd=home))
    for name in ("test/spearman", "test/spearman_std"):
        one, other = run["metrics"][name]["value"], judged["metrics"][name]["value"]
        assert one == pytest.approx(other, abs=0.05)


def test_compare_evaluate_promote_and_roll_back(run, home):
    """The run is listed, evaluated on its unseen part, promoted, and cannot be rolled back."""
    listed = last_json(ni("compare", "--json", cwd=home))
    assert run["run_id"] in [row["run_id"] for row in listed["runs"]]

    promoted = last_json(ni("promote", run["run_id"], "--model=planted", "--json", cwd=home))
    assert promoted["promoted"]
    assert [gate["passed"] for gate in promoted["gates"]] == [True, True, True]

    evaluated = last_json(
        ni("evaluate", "models:/planted@champion", "--data=data", "--json", cwd=home)
    )
    test = run["metrics"]["test/n_contents"]["value"]
    assert evaluated["metrics"]["test/n_contents"]["value"] == test

    back = ni("rollback", "planted", cwd=home)
    assert back.returncode == 1
    assert "first champion" in back.stderr


def test_a_run_told_to_stop_is_marked_and_goes_on(run, home):
    """SIGTERM in training leaves a KILLED run; --resume finishes the same run."""
    words = ("train", "neural_insights.quickstart", "--data=data", *SMALL, "--json")
    words += ("--set=training.epochs=1000", "--set=training.early_stopping=1")
    for modality in ("image", "domain", "attributes"):
        words += (f"--set=model.{modality}=null", f"--set=pretraining.{modality}=null")
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("ni")), *words],
        cwd=home,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        for line in process.stderr:
            if "epoch 1/" in line:
                process.send_signal(signal.SIGTERM)
                break
        process.communicate(timeout=120)
    newest = "SELECT run_uuid, status FROM runs WHERE name = ? ORDER BY start_time DESC"
    run_id, status = _query(home, newest, "neural_insights.quickstart")[0]
    assert run_id != run["run_id"]
    assert (process.returncode != 0, status) == (True, "KILLED")

    resumed = last_json(ni("train", "--resume", run_id, "--json", cwd=home))
    assert resumed["run_id"] == run_id
    assert _query(home, "SELECT status FROM runs WHERE run_uuid = ?", run_id) == [("FINISHED",)]


def test_failed_checks_stop_training_unless_allowed(run, home, tmp_path):
    """Clicks above impressions end with exit code 2 and name the row; allowing bars promotion."""
    broken = tmp_path / "broken"
    dataset = Dataset.open(home / "data")
    _copy(dataset, broken)
    table = pd.read_parquet(broken / "contents.parquet")
    target = dataset.manifest.target
    table.loc[7, target.clicks] = table.loc[7, target.impressions] + 1
    table.to_parquet(broken / "contents.parquet")
    words = ("train", "neural_insights.quickstart", f"--data={broken}", *SMALL)
    environment = {"NI_HOME": str(home / ".ni")}

    stopped = ni(*words, cwd=tmp_path, **environment)
    assert stopped.returncode == 2
    assert str(dataset.content_id[7]) in stopped.stderr
    assert "Traceback" not in stopped.stderr

    allowed = last_json(
        ni("train", "baselines.glm", words[2], "--allow-failed-checks", "--json",
           "--set=evaluation.replicates=50", cwd=tmp_path, **environment)
    )  # fmt: skip
    refused = ni("promote", allowed["run_id"], "--model=other", cwd=tmp_path, **environment)
    assert refused.returncode == 1
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
    result = ni(*words, cwd=home)

    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (home / "x.parquet").exists()


def test_an_unreachable_tracking_server_stops_before_training(home):
    """Nothing is trained for a run that could not be recorded."""
    result = ni(
        "train",
        "neural_insights.quickstart",
        "--data=data",
        cwd=home,
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
    )

    assert result.returncode == 1
    assert "127.0.0.1:9" in result.stderr
    assert "stage" not in result.stderr


def _artifact(home: Path, run_id: str, path: str) -> Path:
    (uri,) = _query(home, "SELECT artifact_uri FROM runs WHERE run_uuid = ?", run_id)[0]
    return Path(uri.removeprefix("file://")) / path


def _query(home: Path, statement: str, *values: str) -> list[tuple]:
    with sqlite3.connect(home / ".ni/mlflow.db") as connection:
        return connection.execute(statement, values).fetchall()


def _copy(dataset: Dataset, folder: Path) -> None:
    shutil.copytree(dataset.root, folder)

"""Plans as runs: what is kept of the drafts, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ni_platform as ni
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.regressor import Regressor
from ni_platform.models.uncertainty import joint_logits
from ni_platform.narrowing import of_kind
from ni_platform.plans.drafts import read_drafts
from ni_platform.plans.record import PLANNED, recorded_plan, recorded_plans
from ni_platform.prediction_log.keys import prediction_keys
from ni_platform.prediction_log.table import SCHEMA
from ni_platform.tracking.run_queries import get_run, read_artifact, read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store, open_store
from tests.command import ni as command

_WORDS = ("--drafts=drafts.csv", "--data=data", "--control=old", "--arms=3", "--json")


@pytest.fixture
def store(ranker: Regressor, ranker_project: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """That of the ranker, whose folder is the current one."""
    monkeypatch.chdir(ranker_project)
    return open_store()


@pytest.fixture
def run(ranker_project: Path) -> str:
    """The run that trained the ranker."""
    return (ranker_project / "run").read_text()


def test_a_plan_is_a_run_of_its_predictions(
    store: Store, ranker: Regressor, ranker_project: Path, run: str
) -> None:
    """Every judged draft is a row, in the plan's order, with all that the log asks for."""
    ended = command("plan", run, *_WORDS)
    run_id = ended.json["run_id"]
    assert f"Recorded as run {run_id}." in ended.stdout
    rows = recorded_plan(store, run_id)
    assert list(rows) == SCHEMA.names
    shown = pd.DataFrame(ended.json["drafts"]).set_index("id")
    ids = [name for name in shown.index if name != "alien"]
    assert rows["content_id"].tolist() == ids
    for name in ("prediction", "low", "high", "share"):
        np.testing.assert_allclose(rows[name], shown.loc[ids, name].astype(float))
    drafts = read_drafts(ranker_project / "drafts.csv", ranker).loc[ids]
    assert rows["input_key"].tolist() == prediction_keys(drafts, ranker.roles).tolist()
    assert set(rows["source"]) == {"plan"}
    assert set(rows["request"]) == {run_id}
    assert set(rows["model_run"]) == {run}
    assert set(rows["model"]) == {read_run(store, run).model_uri}
    assert not rows["shadow"].any()
    _, of_test = joint_logits(ranker, drafts.reset_index(drop=True), np.zeros(4, dtype=np.int64))
    own = float(of_kind(ranker.model, GaussianProcess).residual)
    assert own > 0
    np.testing.assert_allclose(np.stack(rows["covariance"]), of_test[0] + own * np.eye(4))
    record = read_run(store, run_id)
    assert record.experiment_name == "plans"
    assert record.tags[PLANNED] in ended.stdout.replace("\n", " ")
    assert record.tags["ni.dataset"] == str(ranker_project / "data")
    assert record.tags["ni.dataset_fingerprint"] == ni.open_dataset("data").stored.fingerprint()
    assert json.loads(read_artifact(store, run_id, "plan.json"))["against"][1] == "old"


def test_a_run_holds_no_word_of_a_draft(store: Store, ranker_project: Path, run: str) -> None:
    """Nor any name beyond those that every run has."""
    run_id = command("plan", run, *_WORDS).json["run_id"]
    entity = get_run(store, run_id)
    told = json.dumps([entity.data.tags, entity.data.params])
    files = [file.path for file in store.client.list_artifacts(run_id)]
    assert sorted(files) == ["plan.json", "predictions.parquet"]
    told += read_artifact(store, run_id, "plan.json").decode()
    told += recorded_plan(store, run_id).to_json(orient="records", default_handler=str)
    assert '"content_id":"free"' in told
    for word in ("garden", "weekend", "shoes", "jacket"):
        assert word in (ranker_project / "drafts.csv").read_text()
        assert word not in told
    of_training = get_run(store, run).data.tags
    assert entity.data.tags.get("mlflow.user") == of_training.get("mlflow.user")
    added = {name for name in entity.data.tags if name not in of_training}
    assert added == {"ni.recorded", "ni.planned", "ni.planned_with"}


def test_a_caution_is_not_recorded(store: Store, run: str) -> None:
    """It may repeat a level of a draft; that the draft is not judged stays."""
    run_id = command("plan", run, *_WORDS).json["run_id"]
    plan = json.loads(read_artifact(store, run_id, "plan.json"))
    assert [row["id"] for row in plan["drafts"] if not row["judged"]] == ["alien"]
    assert {row["caution"] for row in plan["drafts"]} == {None}
    assert "alien" not in get_run(store, run_id).data.tags["mlflow.note.content"]


def test_whoever_wants_no_record_gets_none(store: Store, run: str) -> None:
    """By the command and in Python; a record is the default of both."""
    before = recorded_plans(store)
    assert command("plan", run, *_WORDS, "--no-record").json["run_id"] is None
    model = ni.open_run(run).model
    assert model.plan("drafts.csv", "data", record=False).run_id is None
    assert len(recorded_plans(store)) == len(before)
    run_id = model.plan("drafts.csv", "data").run_id
    assert set(recorded_plans(store)["request"]) == {*before["request"], run_id}
    ended = command("plan", run, *_WORDS, "--no-record", f"--shadow={run}")
    assert ended.code == 1
    assert "leave out --shadow or --no-record" in ended.stderr


def test_runs_that_are_deleted_or_unfinished_are_no_plans(store: Store, run: str) -> None:
    """Nobody acted on them."""
    run_id = command("plan", run, *_WORDS).json["run_id"]
    RunRecord.start(store, "plans", tags={"ni.recorded": "plan"})  # and cut off
    assert run_id in set(recorded_plans(store)["request"])
    store.client.delete_run(run_id)
    assert run_id not in set(recorded_plans(store)["request"])


def test_a_registered_model_is_named_by_its_version(store: Store, run: str) -> None:
    """An alias may move; a challenger's predictions are kept beside, in shadow."""
    uri = read_run(store, run).model_uri
    store.client.create_registered_model("subjects")
    for _ in range(2):
        store.client.create_model_version(
            "subjects", uri, run, model_id=uri.removeprefix("models:/")
        )
    store.client.set_registered_model_alias("subjects", "champion", "2")
    model = ni.open_model("models:/subjects@champion")
    assert model.regressor
    store.client.set_registered_model_alias("subjects", "champion", "1")
    planned = recorded_plan(store, model.plan("drafts.csv", "data").run_id)
    assert set(planned["model"]) == {"models:/subjects/2"}
    words = ("models:/subjects@champion", *_WORDS, "--shadow=models:/subjects/2")
    rows = recorded_plan(store, command("plan", *words).json["run_id"])
    seen, shadow = rows[~rows["shadow"]], rows[rows["shadow"]]
    assert set(seen["model"]) == {"models:/subjects/1"}
    assert set(shadow["model"]) == {"models:/subjects/2"}
    assert shadow["content_id"].tolist() == seen["content_id"].tolist()
    np.testing.assert_allclose(shadow["prediction"], seen["prediction"], rtol=1e-6)
    assert shadow[["low", "share", "covariance"]].isna().all(axis=None)


def test_a_shadow_reads_columns_that_the_model_does_not(
    store: Store, run: str, tmp_path: Path
) -> None:
    """Else it would score less than the drafts say, and outcomes would never find its key."""
    table = pd.DataFrame(
        {
            "id": [f"c{i}" for i in range(80)],
            "test": [f"t{i // 2}" for i in range(80)],
            "subject": [f"{'Free' if i % 2 else 'Plain'} garden {i // 2}" for i in range(80)],
            "place": ["top", "bottom"] * 40,
            "shown": 1000,
            "clicked": [30 + 30 * (i % 2) for i in range(80)],
        }
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    placed = ni.import_table(
        tmp_path / "table.csv", tmp_path / "placed", content_id="id", ab_test="test",
        assignment="randomised", text=["subject"], categorical=["place"], impressions="shown",
        clicks="clicked",
    )  # fmt: skip
    shadow = ni.train("baselines.glm", placed).model
    assert shadow.regressor.roles.keys() == {"subject", "place"}
    drafts = pd.read_csv("drafts.csv").assign(place="top")
    drafts.to_csv(tmp_path / "drafts.csv", index=False)
    words = ("plan", run, f"--drafts={tmp_path / 'drafts.csv'}", "--data=data", "--json")
    rows = recorded_plan(store, command(*words, f"--shadow={shadow.uri}").json["run_id"])
    seen = rows[rows["shadow"]]
    own = drafts.set_index("id").loc[seen["content_id"]]
    assert seen["input_key"].tolist() == prediction_keys(own, shadow.regressor.roles).tolist()

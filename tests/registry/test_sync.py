"""Runs that were made offline, on a real tracking server: everything of them, each once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, Run
from mlflow.exceptions import MlflowException

from ni_platform.data.dataset import Dataset
from ni_platform.errors import TrackingError
from ni_platform.models.scorer import Scorer
from ni_platform.registry.promotion import promote, rollback
from ni_platform.registry.sync import SyncReport, sync
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store, open_store
from tests.command import ni

Record = Callable[..., str]

RIGHT = np.tile([0.1, 0.2, 0.3], 40)
HALF = np.tile([0.1, 0.3, 0.2], 40)
SENDING = (
    "create_run",
    "log_batch",
    "log_artifact",
    "create_logged_model",
    "log_model_artifact",
    "finalize_logged_model",
    "log_outputs",
    "log_inputs",
    "set_terminated",
    "set_tag",
    "create_registered_model",
    "create_model_version",
    "set_model_version_tag",
    "update_model_version",
    "set_registered_model_tag",
    "set_registered_model_alias",
)
"""Calls by which a copy is written, in the order in which they are first made."""


@pytest.fixture
def stores(tracking_server: str, state: Path) -> SimpleNamespace:
    """The local store `here` of this test, and the server `there` that all tests share."""
    there = open_store(tracking_server)
    return SimpleNamespace(there=there, here=open_store())


@pytest.fixture
def journey(finished_run: Record, stores: SimpleNamespace) -> str:
    """A finished run of model, figures with a history, a dataset, artifacts and two children."""
    run_id = finished_run(RIGHT)
    client = stores.here.client
    record = RunRecord.existing(stores.here, run_id)
    record.log_parameters({"training": {"epochs": 3}, "texts": "ä" * 400})
    for step in range(3):
        record.log_metrics({"fused/loss": 1 / (step + 1), "fused/nan": float("nan")}, step)
    record.log_text("<p>insights</p>", "insights/deep er/report.html")
    source = MlflowDataset("planted", "abc123", "local", '{"uri": "planted"}', profile='{"n": 120}')
    context = [InputTag("mlflow.data.context", "train")]
    client.log_inputs(run_id, [DatasetInput(source, context)])
    model_id = client.get_run(run_id).outputs.model_outputs[0].model_id
    client.log_metric(
        run_id, "test/rmse", 0.5, model_id=model_id, dataset_name="planted", dataset_digest="abc123"
    )
    for name in ("text", "fused"):
        child = record.child(name, {"epochs": 2})
        child.log_metrics({"validation/rmse": 0.25}, 1)
        client.set_terminated(child.run_id, "FINISHED")
    record.set_tags({"mlflow.note.content": f"Made by run {run_id}."})
    return run_id


def copies(store: Store) -> list[Run]:
    """All runs of a store."""
    found = store.client.search_experiments()
    return list(store.client.search_runs([one.experiment_id for one in found], max_results=1000))


def copy_of(stores: SimpleNamespace, run_id: str) -> Run:
    """The one run of the server that was copied from this one."""
    tagged = [
        run for run in copies(stores.there) if run.data.tags["ni.synced_from"].startswith(run_id)
    ]
    assert len(tagged) == 1
    return tagged[0]


def curves(store: Store, run: Run) -> dict[str, list[tuple]]:
    """Every point of a run's metrics."""
    return {
        key: sorted(
            (p.step, p.timestamp, repr(p.value))
            for p in store.client.get_metric_history(run.info.run_id, key)
        )
        for key in run.data.metrics
    }


def files(store: Store, run_id: str, scratch: Path) -> dict[str, bytes]:
    """Every artifact of a run."""
    scratch.mkdir(parents=True)
    folder = Path(store.client.download_artifacts(run_id, "", str(scratch)))
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def children(store: Store, run: Run) -> list[Run]:
    """The children of a run, by name."""
    condition = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    found = store.client.search_runs([run.info.experiment_id], condition)
    return sorted(found, key=lambda child: child.info.run_name)


def assert_same(stores: SimpleNamespace, one: Run, scratch: Path) -> None:
    """The copy of a run, and those of its children, say what their originals do."""
    other = copy_of(stores, one.info.run_id)
    for field in ("run_name", "status", "start_time", "end_time"):
        assert getattr(other.info, field) == getattr(one.info, field)
    assert other.data.params == one.data.params
    assert curves(stores.there, other) == curves(stores.here, one)
    assert files(stores.there, other.info.run_id, scratch / "there") == files(
        stores.here, one.info.run_id, scratch / "here"
    )
    assert [i.to_dictionary() for i in other.inputs.dataset_inputs] == [
        i.to_dictionary() for i in one.inputs.dataset_inputs
    ]
    assert len(other.outputs.model_outputs) == len(one.outputs.model_outputs)
    below = children(stores.here, one)
    assert len(children(stores.there, other)) == len(below)
    for child in below:
        assert_same(stores, child, scratch / child.info.run_name)


def test_a_copy_is_the_same(
    journey: str, stores: SimpleNamespace, dataset: Dataset, scorer: Scorer, tmp_path: Path
) -> None:
    """Parameters, curves, datasets, artifacts byte for byte, children, and a model that answers."""
    before = stores.here.client.get_run(journey)
    report = sync(stores.here, stores.there, [journey])
    assert [run.run_id for run in report.runs] == [journey]
    assert_same(stores, before, tmp_path / "files")
    copy = copy_of(stores, journey)
    assert copy.data.tags["mlflow.note.content"] == f"Made by run {copy.info.run_id}."
    assert copy.data.tags["ni.level"] == "run"
    assert repr(stores.here.client.get_run(journey).to_dictionary()) == repr(before.to_dictionary())

    model_id = copy.outputs.model_outputs[0].model_id
    assert copy.data.tags["ni.model_uri"] == f"models:/{model_id}"
    linked = stores.there.client.get_logged_model(model_id).metrics
    assert [(m.key, m.value, m.dataset_digest) for m in linked] == [("test/rmse", 0.5, "abc123")]
    open_store(stores.there.uri)
    frame = dataset.inputs([0, 50, 100])
    rates = mlflow.pyfunc.load_model(f"models:/{model_id}").predict(frame)
    np.testing.assert_allclose(rates, scorer.predict(frame), rtol=1e-6)


def test_nothing_is_copied_twice(journey: str, stores: SimpleNamespace) -> None:
    """A second time there is nothing to do; a later promotion brings its version alone."""
    sync(stores.here, stores.there, [journey])
    count = len(copies(stores.there))
    again = sync(stores.here, stores.there, [journey])
    assert (again.runs, again.present, again.versions) == ((), 1, ())
    promote(stores.here, journey, "later")
    later = sync(stores.here, stores.there, [journey])
    assert [(v.model_name, v.version, v.copy) for v in later.versions] == [("later", "1", "1")]
    assert len(copies(stores.there)) == count
    assert sync(stores.here, stores.there, [journey]).versions == ()


def test_an_interrupted_copy_is_gone_on_with(
    journey: str, stores: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off before each call and after it, its answer lost, it ends as if never cut off."""
    promote(stores.here, journey, "cut-off")
    for call in SENDING:
        for sent in (False, True):
            with monkeypatch.context() as patch:
                cut_off(patch, call, sent=sent)
                with pytest.raises(TrackingError, match=f"cut off at {call}"):
                    sync(stores.here, stores.there, [journey])
    sync(stores.here, stores.there, [journey])
    assert_same(stores, stores.here.client.get_run(journey), tmp_path / "files")
    found = stores.there.client.search_model_versions("name = 'cut-off'")
    copy = copy_of(stores, journey)
    assert [(one.run_id, one.source) for one in found] == [
        (copy.info.run_id, copy.data.tags["ni.model_uri"])
    ]
    model = stores.there.client.get_registered_model("cut-off")
    assert model.aliases == {"champion": "1"}
    assert model.tags["ni.champion_history"] == '["1"]'
    assert found[0].description.startswith("## Model card\n")


def cut_off(patch: pytest.MonkeyPatch, call: str, *, sent: bool) -> None:
    """Let the line break at the first use of a method of MLflow's client."""
    method = getattr(MlflowClient, call)

    def breaking(self: MlflowClient, *args: object, **how: object) -> None:
        if sent:
            method(self, *args, **how)
        raise MlflowException(f"cut off at {call}")

    patch.setattr(MlflowClient, call, breaking)


def test_versions_with_what_is_known_of_them(finished_run: Record, stores: SimpleNamespace) -> None:
    """Aliases, tags, cards and history name versions and runs as they are on the server."""
    runs = [finished_run(HALF), finished_run(RIGHT)]
    promote(stores.here, finished_run(HALF), "shop")
    stores.here.client.delete_model_version("shop", "1")
    for run_id in runs:
        promote(stores.here, run_id, "shop", force="numbers begin at 2 here")
    assert not promote(stores.here, runs[0], "shop").promoted
    sync(stores.here, stores.there, runs)
    model = stores.there.client.get_registered_model("shop")
    assert model.aliases == {"champion": "2", "previous": "1", "challenger": "1"}
    assert model.tags["ni.champion_history"] == '["1", "2"]'
    first, second = (stores.there.client.get_model_version("shop", n) for n in "12")
    assert first.tags["ni.replaced_by"] == "2"
    assert second.tags["ni.previous_champion"] == "1"
    assert second.tags["ni.run_id"] == copy_of(stores, runs[1]).info.run_id
    assert "ni predict models:/shop/2 " in second.description
    assert "| 2 (champion) | " + copy_of(stores, runs[1]).info.run_id in model.description
    assert rollback(stores.there, "shop").version == "1"


def test_a_champion_of_the_server_keeps_its_place(
    finished_run: Record, stores: SimpleNamespace
) -> None:
    """Where the server's model has a champion, a copied version gets no alias, and that is said."""
    first, second = finished_run(HALF), finished_run(RIGHT)
    promote(stores.here, first, "kept")
    sync(stores.here, stores.there, [first])
    promote(stores.here, second, "kept")
    report = sync(stores.here, stores.there)
    assert stores.there.client.get_registered_model("kept").aliases == {"champion": "1"}
    assert [(v.version, v.copy) for v in report.versions] == [("2", "2")]
    assert any("kept: version 1 stays champion on the server" in note for note in report.notes)


def test_a_run_that_is_worked_on_waits(journey: str, stores: SimpleNamespace) -> None:
    """A run that goes on, or that another command adds to, is left for the next time, in words."""
    with RunRecord.start(stores.here, "planted", run_name="still going") as running:
        with RunRecord.existing(stores.here, journey).alone():
            report = sync(stores.here, stores.there, [journey, running.run_id])
        assert report.runs == ()
        assert any("still going) is RUNNING and was not copied" in note for note in report.notes)
        assert any(f"run {journey}" in note and "held by" in note for note in report.notes)
    assert len(sync(stores.here, stores.there).runs) == 2


def test_what_cannot_be_copied_is_one_message(journey: str, stores: SimpleNamespace) -> None:
    """A child alone, an unknown run, the same place twice and a dead server are told."""
    child = children(stores.here, stores.here.client.get_run(journey))[0].info.run_id
    for words, message in (
        ([stores.there.uri, child], f"is part of run {journey}"),
        ([stores.there.uri, "0" * 32], "There is no run"),
        ([stores.here.uri], "from one place to another"),
        (["http://127.0.0.1:9"], "does not answer"),
    ):
        refused = ni("sync", *words)
        assert (refused.code, message in refused.stderr) == (1, True), refused.stderr
        assert "Traceback" not in refused.stderr


def test_the_command(journey: str, stores: SimpleNamespace) -> None:
    """`ni sync URI` copies all finished runs, says what it does, and gives JSON."""
    done = ni("sync", stores.there.uri, "--json")
    copy = copy_of(stores, journey).info.run_id
    assert done.json["runs"][0] | {"name": ""} == {"run_id": journey, "name": "", "copy": copy}
    assert f"{stores.there.uri}: 1 runs copied, 0 were there before" in done.stdout
    assert "run 1 of 1" in done.stderr


def test_a_run_of_another_run_names_its_copy(
    journey: str, stores: SimpleNamespace, tmp_path: Path
) -> None:
    """A tag that names a run copied earlier names the copy."""
    sync(stores.here, stores.there, [journey])
    with RunRecord.start(
        stores.here, "evaluations", tags={"ni.evaluated_run": journey}
    ) as evaluation:
        evaluation.log_table(pd.DataFrame({"a": [1]}), "tables/a.csv")
    report: SyncReport = sync(stores.here, stores.there, [evaluation.run_id])
    copy = stores.there.client.get_run(report.runs[0].copy)
    assert copy.data.tags["ni.evaluated_run"] == copy_of(stores, journey).info.run_id
    assert_same(stores, stores.here.client.get_run(evaluation.run_id), tmp_path / "files")

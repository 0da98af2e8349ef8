"""`ni ensemble`: several runs become one recorded and registered model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from pictured import TEXT, write_pictured

from ni_platform.dashboard.opening import open_studio
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import SplitConfig
from ni_platform.evaluation import EvaluationConfig
from ni_platform.experiment import train
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.mixing import fit_weights
from ni_platform.models.modalities.attributes import OneHotAttributes
from ni_platform.models.modalities.domain import HashedDomain
from ni_platform.opened import open_experiment
from ni_platform.tracking.run_queries import read_run, read_table_artifact
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from tests.command import in_project, ni
from tests.figures import figures

BASE = ExperimentConfig(
    name="tests.ranker",
    model=GaussianProcessConfig(text=TEXT, attributes=OneHotAttributes()),
    splits=SplitConfig(near_duplicate_similarity=1.0),  # ten words make titles alike
    evaluation=EvaluationConfig(replicates=20, glm=False),
)
RUNS = {
    "ranker": BASE,
    "domain": replace(BASE, model=GaussianProcessConfig(domain=HashedDomain())),
    "linear": replace(BASE, model=TabularConfig(estimator="linear", text=None)),
    "seed": replace(BASE, model=TabularConfig(), splits=replace(BASE.splits, seed=5)),
    "validation": replace(BASE, model=TabularConfig(), train_on_validation=True),
    "half": replace(BASE, model=TabularConfig(), train_share=0.5),
    "half linear": replace(BASE, model=TabularConfig(estimator="linear"), train_share=0.5),
}
"""The first three may be mixed, and the last two."""


@pytest.fixture(scope="module")
def home(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a dataset and a state folder; it is the current one."""
    folder = tmp_path_factory.mktemp("mixing")
    write_pictured(folder / "data")
    write_pictured(folder / "other", price=1.0)
    with in_project(folder, empty_database):
        yield folder


@pytest.fixture(scope="module")
def runs(home: Path) -> dict[str, str]:
    """Run ids; 9 A/B tests are too few for the data checks."""
    store = open_store()

    def trained(config: ExperimentConfig, data: str) -> str:
        opened = open_experiment(config, str(home / data / "dataset"))
        return train(store, opened, allow_failed_checks=True).run_id

    found = {name: trained(config, "data") for name, config in RUNS.items()}
    found["data"] = trained(RUNS["linear"], "other")
    with RunRecord.start(store, "empty", tags={"ni.dataset": "data"}) as record:
        found["empty"] = record.run_id
    return found


@pytest.fixture(scope="module")
def ensemble(runs: dict[str, str]) -> dict:
    """What `ni ensemble` of the three says."""
    words = [runs[name] for name in ("ranker", "domain", "linear")]
    return ni("ensemble", *words, "--name=mix", "--allow-failed-checks", "--json").json


@pytest.fixture(scope="module")
def explained(runs: dict[str, str]) -> str:
    """The run of an ensemble of networks."""
    words = (runs["ranker"], runs["domain"], "--name=networks", "--allow-failed-checks", "--json")
    return ni("ensemble", *words).json["run_id"]


def recorded(run_id: str, part: str) -> pd.DataFrame:
    """A run's predictions, by content."""
    table = read_table_artifact(open_store(), run_id, f"predictions/{part}.parquet")
    return table.set_index("content_id").sort_index()


def test_the_weights_are_those_of_validation(ensemble, runs):
    """They follow from what the members recorded, and stand in the run by name."""
    members = [runs[name] for name in ("ranker", "domain", "linear")]
    tables = [recorded(run, "validation") for run in members]
    outcomes = tables[0]
    expected = fit_weights(
        [table["prediction"].to_numpy() for table in tables],
        outcomes["clicks"].to_numpy(),
        outcomes["impressions"].to_numpy(),
        outcomes["ab_test"].to_numpy(),
    )
    assert list(ensemble["weights"]) == members
    np.testing.assert_allclose(list(ensemble["weights"].values()), expected, atol=1e-6)
    run = read_run(open_store(), ensemble["run_id"])
    assert json.loads(run.tags["ni.ensemble_weights"]) == ensemble["weights"]
    assert all(member in run.parameters["model.members"] for member in members)


def test_it_predicts_the_mean_of_its_members(ensemble, runs, home):
    """What it recorded of the test part follows from what they did, and `ni predict` agrees."""
    odds = 1.0
    for run, weight in ensemble["weights"].items():
        rates = recorded(run, "test")["prediction"]
        odds = odds * (rates / (1 - rates)) ** weight
    own = recorded(ensemble["run_id"], "test")["prediction"]
    np.testing.assert_allclose(own, odds / (1 + odds), rtol=1e-4)
    data = str(home / "data/dataset")
    assert ni("predict", ensemble["run_id"], f"--data={data}", "--output=p.csv").code == 0
    again = pd.read_csv("p.csv").set_index("content_id")["prediction"]
    np.testing.assert_allclose(again[own.index], own, rtol=1e-4)


def test_it_is_a_run_like_any_other(ensemble, runs, home):
    """Same data and split as its members, compared beside them, evaluated as they are."""
    run, member = (read_run(open_store(), r) for r in (ensemble["run_id"], runs["ranker"]))
    for tag in ("ni.dataset_fingerprint", "ni.splits_fingerprint", "ni.checks"):
        assert run.tags[tag] == member.tags[tag]
    assert (run.run_name, run.tags["ni.experiment"]) == ("mix", "ensemble.mix")
    assert {"validation/rmse", "test/rmse"} <= set(run.metrics)
    assert run.run_id in [row["run_id"] for row in ni("compare", "--json").json["runs"]]
    data = str(home / "data/dataset")
    again = ni("evaluate", run.run_id, f"--data={data}", "--json").json["metrics"]["test/rmse"]
    assert again["value"] == pytest.approx(run.metrics["test/rmse"], rel=1e-4)
    config = ni("train", "--from-run", run.run_id, "--print-config").json
    assert config["model"]["members"] == list(ensemble["weights"])


def test_runs_on_a_share_of_the_training_rows_are_mixed(runs, home):
    """Their ensemble has their split, and so do not runs on all of them."""
    words = (runs["half"], runs["half linear"], "--name=half", "--allow-failed-checks", "--json")
    run, member = (
        read_run(open_store(), r) for r in (ni("ensemble", *words).json["run_id"], runs["half"])
    )
    assert run.tags["ni.splits_fingerprint"] == member.tags["ni.splits_fingerprint"]
    refused = ni("ensemble", runs["half"], runs["linear"], "--name=bad")
    assert (refused.code, "the split of run" in refused.stderr) == (1, True)


def test_it_is_registered_and_promoted_by_the_gates(ensemble, home):
    """A version without an alias; `ni promote` judges that same version, and MLflow serves it."""
    client = open_store().client
    assert client.get_registered_model("mix").aliases == {}
    assert ensemble["version"] == "1"
    refused = ni("promote", ensemble["run_id"], "--model=mix")
    assert refused.code == 1
    assert "data_checks_passed" in refused.stderr
    forced = ni("promote", ensemble["run_id"], "--model=mix", "--force=few tests", "--json").json
    assert (forced["version"], forced["promoted"]) == ("1", True)
    model = mlflow.pyfunc.load_model("models:/mix@champion")
    own = recorded(ensemble["run_id"], "test")["prediction"]
    dataset = Dataset.open(str(home / "data/dataset"))
    rates = pd.Series(model.predict(dataset.inputs()), index=dataset.content_id)
    np.testing.assert_allclose(rates[own.index], own, rtol=1e-4)


def test_an_ensemble_of_networks_is_explained(explained, home):
    """`ni explain` divides its predictions; what the words and attributes give adds up."""
    data = str(home / "data/dataset")
    words = (explained, f"--data={data}", "--methods=kernel_shap")
    assert ni("explain", *words, "--contents=12", "--output=a.parquet").code == 0
    assert ni("predict", explained, f"--data={data}", "--output=e.csv").code == 0
    table = pd.read_parquet("a.parquet")
    rates = pd.read_csv("e.csv").set_index("content_id")["prediction"]
    assert set(table["modality"]) == {"text", "attributes", "domain"}
    np.testing.assert_allclose(table["prediction"], rates[table["content_id"]], rtol=1e-5)
    sums = [contributions.sum() for contributions in table["contributions"]]
    np.testing.assert_allclose(sums, table["prediction"] - table["baseline"], atol=1e-9)


def test_its_insights_stand_in_its_run(explained, home):
    """As those of any network, judged on the tests that its members did not learn from."""
    data = str(home / "data/dataset")
    words = (explained, f"--data={data}", "--methods=feature_ablation", "--contents=30", "--json")
    assert ni("insights", *words).json["run_id"] == explained
    metrics = figures(open_store(), explained)
    assert "insight/text/feature_ablation" in metrics
    studio = open_studio(open_store(), explained, data)
    assert studio.insights is not None
    assert set(studio.explainer.modalities) == {"text", "attributes", "domain"}


def test_a_tabular_member_is_not_explained(runs, home):
    """One message, which names the member."""
    words = (runs["linear"], runs["domain"], "--name=t", "--allow-failed-checks", "--json")
    ensemble = ni("ensemble", *words).json
    assert ensemble["weights"][runs["linear"]] > 0
    data = str(home / "data/dataset")
    result = ni("explain", ensemble["run_id"], f"--data={data}", "--output=a.parquet")
    assert result.code == 1
    assert f"member {runs['linear']} is of kind tabular" in result.stderr


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (None, "two runs or more"),
        ("ranker", "each named once"),
        ("seed", "the split of run"),
        ("data", "the dataset of run"),
        ("validation", "train_on_validation"),
        ("empty", "logged no model"),
        ("mix", "is an ensemble itself"),
        ("0" * 32, "There is no run"),
    ],
)
def test_what_cannot_be_mixed_is_one_message(second, message, runs, ensemble, home):
    """Each names the run and the remedy, and no run is started."""
    before = len(ni("compare", "--json").json["runs"])
    known = runs | {"mix": ensemble["run_id"]}
    words = [runs["ranker"]] + ([] if second is None else [known.get(second, second)])
    result = ni("ensemble", *words, "--name=bad")
    assert result.code == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert len(ni("compare", "--json").json["runs"]) == before


def test_other_data_than_the_members_saw(runs, home):
    """--data is where their dataset is, not another one."""
    words = (runs["ranker"], runs["linear"], "--name=bad", f"--data={home / 'other/dataset'}")
    result = ni("ensemble", *words)
    assert (result.code, "the dataset of run" in result.stderr) == (1, True)


def test_a_name_that_no_model_can_have(runs):
    """It is told before anything is read."""
    result = ni("ensemble", runs["ranker"], runs["linear"], "--name=a/b")
    assert (result.code, "cannot name a model" in result.stderr) == (1, True)

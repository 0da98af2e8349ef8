"""The journey in Python, on a small table: real Ray, real MLflow store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ni_platform as ni
from ni_platform.api import progress as api_progress
from ni_platform.errors import (
    ChecksFailedError,
    ConfigError,
    DatasetError,
    PromotionRefusedError,
    TrackingError,
)
from ni_platform.experiment_config import load_experiment
from ni_platform.tracking.run_queries import read_artifact, read_run
from ni_platform.tracking.store import open_store
from ni_platform.training.events import EpochDone
from tests.api.tables import HEADLINES, import_headlines
from tests.command import in_project

QUICK = {"evaluation": {"replicates": 50}}


def words_alone() -> ni.ExperimentConfig:
    """A network of one's own: the texts of the quickstart, without pretraining."""
    config = load_experiment("neural_insights.quickstart")
    model = replace(config.model, image=None, domain=None, attributes=None)
    return replace(
        config, name="notebook.words", model=model, pretraining=type(config.pretraining)()
    )


@pytest.fixture(scope="module")
def ads(
    two_cpus: None, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ni.Dataset]:
    """A dataset in a user's folder, which is the current one."""
    with in_project(tmp_path_factory.mktemp("a project"), empty_database) as folder:
        yield import_headlines(HEADLINES, folder / "data/ads", categorical="device")


@pytest.fixture(scope="module")
def run(ads) -> ni.Run:
    """A network, by a function of a cell and changes by keyword."""
    return ni.train(words_alone, ads, training={"epochs": 4}, name="words", **QUICK)


@pytest.fixture(scope="module")
def glm(ads) -> ni.Run:
    """A second run."""
    return ni.train("baselines.glm", ads, **QUICK)


def test_a_run_holds_the_changed_config_and_the_source_of_its_function(run):
    """So that it can be repeated, and read."""
    assert run.status == "FINISHED"
    assert run.name == "words"
    assert run.config.training.epochs == 4
    source = read_artifact(run.store, run.run_id, "experiment.py").decode()
    assert source.startswith("def words_alone() -> ni.ExperimentConfig:")
    assert ni.open_run(run.run_id).config == run.config


def test_metrics_are_all_figures_headline_of_the_test_part_first(run):
    """With their intervals and counts."""
    metrics = run.metrics
    assert list(metrics.columns) == ["slice", "metric", "value", "low", "high", "n"]
    assert metrics.iloc[0][["slice", "metric"]].tolist() == ["test", "rmse"]
    shown = read_run(run.store, run.run_id).metrics
    found = metrics.set_index(["slice", "metric"])
    row = found.loc[("test", "pairwise_within")]
    assert row["value"] == shown["test/pairwise_within"]
    assert row["low"] <= row["value"] <= row["high"]
    assert row["n"] > 0


def test_curves_hold_every_epoch_of_every_stage(run, glm):
    """What is fitted at once has none."""
    curves = run.curves
    assert set(curves["stage"]) == {"fused"}
    loss = curves[curves["metric"] == "train_loss"]
    assert loss["epoch"].tolist() == [1, 2, 3, 4]
    assert "validation/loss" in set(curves["metric"])
    assert glm.curves.empty


def test_predictions_are_of_contents_that_were_not_trained_on(run, ads):
    """Beside what happened."""
    predictions = run.predictions
    assert set(predictions["part"]) == {"in_domain", "validation"}
    observed = ads.frame["clicked"] / ads.frame["shown"]
    rates = observed.loc[predictions["content_id"]].to_numpy()
    np.testing.assert_allclose(predictions["success_rate"], rates)


def test_a_run_is_shown_with_figures_and_curves(run):
    """In one piece of HTML that loads nothing."""
    shown = run._repr_html_()
    assert "pairwise, within tests" in shown
    assert "data:image/png;base64," in shown
    assert "http" not in shown.split("base64,")[0]


def test_a_model_predicts_tables_of_any_library_with_their_index(run):
    """What is no input is not read."""
    import polars as pl

    drafts = pd.DataFrame({"headline": ["free red new", "paid red new"]}, index=["a", "b"])
    predicted = run.predict(drafts)
    assert predicted.index.tolist() == ["a", "b"]
    assert predicted["prediction"].between(0, 1).all()
    of_polars = run.predict(pl.from_pandas(drafts))
    np.testing.assert_array_equal(of_polars["prediction"], predicted["prediction"])
    with pytest.raises(DatasetError, match="headline"):
        run.predict(drafts.rename(columns={"headline": "title"}))


def test_explanations_name_words_and_add_up(run, ads, capsys):
    """Kernel SHAP: contributions and baseline make the prediction."""
    sample = ads.sample(3)
    explained = run.explain(sample, samples=32)
    frame = explained.frame
    assert frame["content_id"].unique().tolist() == sample.index.tolist()
    assert explained.methods == ("kernel_shap",)
    sums = frame["contributions"].map(np.sum) + frame["baseline"] + frame["gap"]
    np.testing.assert_allclose(sums, frame["prediction"], rtol=1e-5)
    assert "raise the prediction" in explained._repr_html_()
    explained.show()
    assert "Explanations of 3 contents" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="'pca' was not computed"):
        explained.show("pca")
    with pytest.raises(ConfigError, match="no 'sample'; did you mean samples"):
        run.explain(sample, sample=3)


def test_insights_are_made_once_and_read_again(run):
    """Words with their support; the report is a page."""
    settings = {
        "contents": 40,
        "attribution": {"methods": ["kernel_shap"], "samples": 16},
        "shuffles": 0,
        "replicates": 20,
        "permutations": 20,
    }
    made = run.insights(**settings)
    again = run.insights()
    pd.testing.assert_frame_equal(made.words, again.words)
    words = again.words
    assert {"feature", "score", "low", "high", "contents", "tests", "supported"} <= set(words)
    together = words[words["domain"].isna()]
    assert together["supported"].is_monotonic_decreasing
    assert together.loc[~together["supported"], "score"].is_monotonic_decreasing
    assert again.trust["modality"].tolist() == ["text"]
    assert "<h1>Insights of words</h1>" in again.report().html
    assert "trust (0 to 100)" in again._repr_html_()


def test_runs_are_compared_with_intervals_and_an_experiment_without_run_is_a_row(run, glm):
    """In the order that they are named in."""
    compared = ni.compare([run, glm.run_id, "neural_insights.demo"])
    assert compared["run_id"].tolist()[:2] == [run.run_id, glm.run_id]
    assert compared["status"].tolist() == ["FINISHED", "FINISHED", "NO RUN"]
    low, value, high = (
        compared.loc[:1, f"test/pairwise_within{end}"].astype(float)
        for end in ("_low", "", "_high")
    )
    assert (low <= value).all()
    assert (value <= high).all()
    assert pd.isna(compared["test/rmse"].iloc[2])
    assert ni.compare([run], metrics=["test/mae"])["test/mae"].notna().all()
    with pytest.raises(TrackingError, match="There is no run 'nothing'"):
        ni.compare(["nothing"])
    assert set(ni.runs()["run_id"]) >= {run.run_id, glm.run_id}


def test_a_promoted_model_says_what_the_gates_said(run):
    """And predicts."""
    model = run.promote("words")
    assert model.gates["passed"].all()
    assert model.gates["gate"].tolist()[0] == "data_checks_passed"
    assert "words version 1 is champion" in model._repr_html_()
    drafts = pd.DataFrame({"headline": ["free red new"]})
    champion = ni.open_model("models:/words@champion").predict(drafts)
    np.testing.assert_array_equal(champion, run.predict(drafts))
    assert champion.columns.tolist() == ["prediction"]


def test_a_refused_promotion_raises_with_the_reason(run, glm):
    """The same model is not better than itself, a worse one neither."""
    run.promote("refused")
    worse = ni.train("baselines.glm", run.dataset, leave_out=["headline"], **QUICK)
    with pytest.raises(PromotionRefusedError, match="better_than_champion"):
        worse.promote("refused")
    assert worse.promote("refused", force="for this test").promotion.forced_reason


def test_the_reference_reads_what_a_run_leaves_out(tmp_path):
    """Beside a GLM that does not read the word that decides, the reference GLM does."""
    words = HEADLINES["headline"].str.split(n=1)
    table = HEADLINES.assign(site="a", word=words.str[0], headline=words.str[1])
    # Every modality is there, so that the config is the reference's but for what it leaves out.
    ads = import_headlines(table, tmp_path / "ads", categorical=["device", "word"], domain="site")
    run = ni.train("baselines.glm", ads, leave_out=["word"], **QUICK)
    figures = run.metrics.set_index(["slice", "metric"])["value"]
    assert figures["test", "rmse_vs_glm"] > 5


def test_data_that_fail_their_checks_are_not_trained_on(tmp_path):
    """The first line of the error says how many rules failed, and where."""
    broken = HEADLINES.astype({"clicked": float})
    broken.loc[0, "clicked"] = 0.5
    ads = import_headlines(broken, tmp_path / "broken")
    with pytest.raises(ChecksFailedError) as error:
        ni.train("baselines.glm", ads, **QUICK)
    assert "data checks failed on" in str(error.value).splitlines()[0]


def test_an_interrupted_run_is_resumed(ads, monkeypatch):
    """As by the stop button of a notebook; what was trained is not trained again."""

    def stop(self, event):
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(api_progress.TrainingProgress, "__call__", stop)
        with pytest.raises(KeyboardInterrupt):
            ni.train(words_alone, ads, training={"epochs": 2}, **QUICK)
    interrupted = ni.runs(limit=1).iloc[0]
    assert interrupted["status"] == "KILLED"
    resumed = ni.resume()
    assert resumed.run_id == interrupted["run_id"]
    assert resumed.status == "FINISHED"
    assert set(resumed.curves["epoch"]) == {1, 2}
    with pytest.raises(TrackingError, match="no run was interrupted"):
        ni.resume()


def test_a_run_that_is_not_there_is_told():
    """When it is opened."""
    with pytest.raises(TrackingError, match="There is no run"):
        ni.open_run("0" * 32)
    assert open_store().uri


def test_auto_tells_what_it_tried_and_why(ads):
    """The run is that of the chosen model."""
    chosen = ni.train_auto(ads, minutes=0.02)
    assert chosen.run.status == "FINISHED"
    assert "baselines.glm" in chosen.candidates["name"].tolist()
    assert chosen.reasons
    assert "What was tried" in chosen._repr_html_()

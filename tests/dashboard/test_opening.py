"""A recorded run with insights, opened as the dashboard does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from pictured import write_pictured

from ni_platform.attribution.config import AttributionConfig
from ni_platform.attribution.explain import explain
from ni_platform.dashboard.explaining import Explainer
from ni_platform.dashboard.opening import open_studio
from ni_platform.errors import ConfigError
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.insights import make_insights
from ni_platform.insights.judging import ModalityInsights
from ni_platform.insights.record import StoredInsights, record_insights
from ni_platform.insights.trust import Trust
from ni_platform.models.scorer import Scorer
from ni_platform.registry.logged_model import log_model
from ni_platform.registry.run_evaluation import PREDICTIONS, SPLITS
from ni_platform.scoring import explain_model
from ni_platform.tracking.run_queries import read_table_artifact
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store

CONFIG = InsightsConfig(
    attribution=AttributionConfig(methods=("feature_ablation",)),
    contents=30, replicates=20, permutations=0, shuffles=0,
)  # fmt: skip


@pytest.fixture
def run(ni_home, pictured, model_folder) -> str:
    """Id of a run with the model, its insights, and a split whose first 40 contents are learned."""
    ids = pictured.content_id.astype(str)
    parts = np.where(np.arange(70) < 40, "train", "in_domain")
    splits = pd.DataFrame({"content_id": ids, "content_key": ids, "part": parts})
    test = splits.assign(
        ab_test=pictured.ab_test, group=0, impressions=1, clicks=0, success_rate=0.0, prediction=0.1
    )
    tags = {"ni.dataset_fingerprint": pictured.fingerprint()}
    with RunRecord.start(
        open_store(), "dashboard", run_name="small", parameters={}, tags=tags
    ) as record:
        record.log_table(splits, SPLITS)
        record.log_table(test, PREDICTIONS)
        log_model(record, model_folder, pictured.inputs([0, 1]))
        chosen = pd.DataFrame({"row": np.arange(70), "part": parts})
        insights = make_insights(Scorer.load(model_folder), pictured, chosen, CONFIG)
        record_insights(record, insights, pictured, CONFIG)
    return record.run_id


def test_a_run_brings_its_insights_patches_and_what_it_learned_from(run, pictured):
    """Intervals then rest on contents that the model did not learn from."""
    told = []

    studio = open_studio(
        open_store(), run, pictured.root, on_scored=lambda done, total: told.append(done)
    )

    assert sum(told) == 70
    assert studio.past.learned.tolist() == [row < 40 for row in range(70)]
    assert studio.score(studio.draft(0)).interval.unseen
    assert set(studio.insights.modalities) == {"image", "text", "domain", "attributes"}
    assert studio.patches.best == []  # so few contents support none
    assert studio.explain(studio.draft(0), "text").method == "feature ablation"


def test_contents_left_out_are_no_past(run, pictured):
    """What `min_impressions` left out stands in no interval: rates of few impressions are noise."""
    splits = read_table_artifact(open_store(), run, SPLITS)
    splits.loc[60:, "part"] = "left_out"
    RunRecord.existing(open_store(), run).log_table(splits, SPLITS)

    studio = open_studio(open_store(), run, pictured.root)

    assert studio.past.rows.tolist() == list(range(60))
    assert int((~studio.past.learned).sum()) == 20


def test_on_another_dataset_the_insights_made_there_are_shown(run, pictured, tmp_path):
    """Those of `ni insights` on that dataset are in a run of their own."""
    other = write_pictured(tmp_path / "other", price=1.0)
    assert (
        open_studio(open_store(), run, other.root).insights.config.seed == 0
    )  # of the model's own dataset
    config = dataclasses.replace(CONFIG, seed=7)
    explain_model(open_store(), run, other.root, config)

    assert open_studio(open_store(), run, other.root).insights.config.seed == 7
    assert open_studio(open_store(), run, pictured.root).insights.config.seed == 0


def test_the_consensus_of_one_content_is_the_recorded_one(model_folder, pictured, tmp_path):
    """The page explains content 3 as the insights did, by their component and their settings."""
    scorer = Scorer.load(model_folder)
    attribution = AttributionConfig(grid=3, samples=16, steps=3)
    found = explain(scorer, pictured.inputs(np.arange(12)), attribution).modalities["text"]
    stored = StoredInsights(
        config=InsightsConfig(attribution=attribution),
        modalities={
            "text": ModalityInsights(
                all_pairs={}, control_against_best={}, method="pca", component=found.component,
                trust=Trust(score=None, correlation=0, direction=0, transfer=None, sanity=None,
                            tests=0),
            )
        },
        scores=pd.DataFrame(),
        patches=None,
    )  # fmt: skip
    page = Explainer(scorer, stored).explain("text", "3", pictured.inputs([3]), None)

    words = [word.text for word in found.words[3]]
    expected = sorted(zip(words, found.by_method["pca"][3].raw), key=lambda one: -abs(one[1]))
    assert [word for word, _ in page.features] == [word for word, _ in expected]
    np.testing.assert_allclose(
        [value for _, value in page.features], [value for _, value in expected], rtol=1e-3,
        atol=1e-7,
    )  # fmt: skip


def test_models_of_an_ensemble_read_the_same(model_folder, pictured, tmp_path):
    """One that reads a column more is refused at once."""
    scorer = Scorer.load(model_folder)
    narrow = Scorer.load(model_folder)
    text = dataclasses.replace(scorer.inputs.readers["text"], columns=("title",))
    narrow.inputs.readers["text"] = text
    narrow.save(tmp_path / "narrow")

    with pytest.raises(ConfigError, match="subtitle"):
        open_studio(open_store(), str(tmp_path / "narrow"), pictured.root, ensemble=[model_folder])

"""From a network to a run's insights, and back from the run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from pictured import NI, write_pictured

from ni_platform.attribution.config import AttributionConfig
from ni_platform.data.dataset import Dataset
from ni_platform.insights.config import InsightsConfig, SupportConfig
from ni_platform.insights.insights import make_insights
from ni_platform.insights.pairs import Arms
from ni_platform.insights.record import (
    REPORT,
    StoredInsights,
    explain_and_record,
    has_insights,
    labelled_pairs,
    recorded_pairs,
)
from ni_platform.insights.report import Subject, insights_report
from ni_platform.insights.sanity import shuffled_scorer
from ni_platform.models.scorer import build_scorer
from ni_platform.tracking.run_queries import read_artifact, read_table_artifact
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from tests.figures import figures

CONFIG = InsightsConfig(
    attribution=AttributionConfig(grid=2, samples=8, steps=2),
    replicates=20,
    permutations=19,
    shuffles=2,
    support=SupportConfig(contents=2, tests=2),
)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """A dataset, an untrained network, and parts of which tests 0 to 7 are held out."""
    dataset = write_pictured(tmp_path_factory.mktemp("insights") / "pictured")
    scorer = build_scorer(NI, dataset, np.arange(40), seed=0)
    test = dataset.ab_test.str[1:].astype(int)
    part = np.select([test < 6, test < 8, test < 12], ["in_domain", "out_of_domain", "validation"],
                     "train")  # fmt: skip
    return dataset, scorer, pd.DataFrame({"row": np.arange(len(dataset)), "part": part})


def test_held_out_tests_are_explained_first_and_whole(subject):
    """Of 70 contents in tests of three, 38 are asked for: 12 held-out tests, no part of another."""
    dataset, scorer, parts = subject
    config = dataclasses.replace(CONFIG, contents=38, shuffles=0)
    methods = dataclasses.replace(CONFIG.attribution, methods=("feature_ablation",))
    config = dataclasses.replace(config, attribution=methods)
    found = make_insights(scorer, dataset, parts, config)
    assert len(found.rows) == 36
    assert set(found.parts) == {"in_domain", "out_of_domain", "validation"}
    assert dataset.ab_test.iloc[found.rows].value_counts().eq(3).all()


def test_contents_left_out_are_not_explained(subject):
    """Of a run with `min_impressions`, those below it are in no insight, whatever their number."""
    dataset, scorer, parts = subject
    few = parts.assign(part=parts["part"].where(parts["row"] % 3 > 0, "left_out"))
    methods = dataclasses.replace(CONFIG.attribution, methods=("feature_ablation",))
    config = dataclasses.replace(CONFIG, attribution=methods, shuffles=0)
    found = make_insights(scorer, dataset, few, config)
    assert len(found.rows) == 46  # 24 of 70 rows are divisible by three
    assert (found.rows % 3 > 0).all()


def test_only_held_out_pairs_are_judged(subject):
    """Eight held-out tests; in each modality those pairs that differ in it."""
    dataset, scorer, parts = subject
    found = make_insights(scorer, dataset, parts, dataclasses.replace(CONFIG, shuffles=0))
    assert set(found.modalities) == {"image", "text", "domain", "attributes"}
    for modality in found.modalities.values():
        for agreed in modality.all_pairs.values():
            assert 0 < agreed.tests <= 8
            assert agreed.pairs <= 24
        assert modality.control_against_best == {}
        assert modality.trust.score is None  # eight tests are too few
    assert set(found.scores) == {"word", "phrase", "attribute"}


def test_the_report_advises_within_a_domain_what_does_not_hold_over_all(subject):
    """A word that wins in one domain and loses in others is the advice of that domain alone."""
    dataset, scorer, parts = subject
    methods = dataclasses.replace(CONFIG.attribution, methods=("feature_ablation",))
    config = dataclasses.replace(CONFIG, attribution=methods, shuffles=0, contents=12)
    found = make_insights(scorer, dataset, parts, config)
    scores = pd.DataFrame(
        {
            "domain": [None, "shop"], "feature": ["bargain", "bargain"], "score": [0.01, 0.04],
            "low": [-0.02, 0.02], "high": [0.04, 0.06], "contents": [40, 20], "tests": [20, 10],
            "agreed": [0.5, 1.0], "of": [20, 10], "agreed_tests": [20, 10],
            "evidence": "randomised",
        }
    )  # fmt: skip
    found = dataclasses.replace(found, scores={"word": scores}, patches=None)
    page = insights_report(Subject(run_name="r", run_id="1", dataset=dataset), found, config)
    (_, within) = page.split("<summary>shop</summary>")
    assert "bargain" in within
    assert "bargain" not in page.partition("<summary>shop</summary>")[0]
    assert "is not measured yet: <code>ni value</code>" in page
    worth = Subject(run_name="r", run_id="1", dataset=dataset, worth="It got +1.20 clicks.")
    assert "It got +1.20 clicks." in insights_report(worth, found, config)


def test_what_a_platform_delivered_lifts_no_trust(subject):
    """Its pairs are compared in a slice of their own, and the page says what they prove."""
    dataset, scorer, parts = subject
    delivered = dataclasses.replace(dataset.manifest, assignment="platform")
    methods = dataclasses.replace(CONFIG.attribution, methods=("feature_ablation",))
    config = dataclasses.replace(CONFIG, attribution=methods, shuffles=0)
    other = Dataset(dataset.root, delivered, dataset.contents)
    found = make_insights(scorer, other, parts, config)
    randomised = make_insights(scorer, dataset, parts, config)
    for name, judged in found.modalities.items():
        assert judged.trust.tests == 0
        assert judged.trust.score is None
        known = randomised.modalities[name]
        assert (known.platform, known.all_pairs["feature_ablation"].tests > 0) == ({}, True)
        # The very same pairs and figures, under another name.
        assert str(judged.platform) == str(known.all_pairs)
    assert found.pairs.empty
    assert found.ranked_right == (0.0, 0)
    for scores in found.scores.values():
        assert set(scores["evidence"]) == {"platform"}
    page = insights_report(Subject(run_name="r", run_id="1", dataset=other), found, config)
    assert "what was delivered together with success, not what works" in page
    assert "<td>platform delivery</td>" in page
    assert "randomised A/B tests</td>" not in page


def test_controls_outside_of_all_tests_are_in_no_pair():
    """A dataset may declare arms, and none of its A/B tests count."""
    arm = pd.Series(["control", "treatment"])
    arms = Arms.of(np.array([0.1, 0.2]), pd.Series([None, None]), arm)
    assert (len(arms.first), arms.control.any()) == (0, False)


def test_a_mismatched_test_is_no_evidence(subject):
    """Pairs of an A/B test whose arms do not have the planned shares are not compared."""
    dataset, scorer, parts = subject
    methods = dataclasses.replace(CONFIG.attribution, methods=("feature_ablation",))
    config = dataclasses.replace(CONFIG, attribution=methods, shuffles=0)
    contents = dataset.contents.copy()
    first = dataset.ab_test[0]
    contents.loc[0, "impressions"] = 4000
    other = Dataset(dataset.root, dataset.manifest, contents)
    found, every = (
        set(labelled_pairs(make_insights(scorer, data, parts, config), data)["ab_test"])
        for data in (other, dataset)
    )
    assert every - found == {first}
    assert other.evidence[dataset.ab_test == first].eq("mismatched").all()


def test_domains_are_named_as_the_page_names_them(subject):
    """Numbers are text, and contents of no known domain are in no domain's scores."""
    dataset, scorer, parts = subject
    column = str(dataset.manifest.columns.domain)
    numbers = pd.Series([None if row % 5 == 0 else float(row % 2) for row in range(len(dataset))])
    other = Dataset(dataset.root, dataset.manifest, dataset.contents.assign(**{column: numbers}))
    methods = dataclasses.replace(CONFIG.attribution, methods=("feature_ablation",))
    config = dataclasses.replace(CONFIG, attribution=methods, shuffles=0, contents=24)
    found = make_insights(scorer, other, parts, config)
    for scores in found.scores.values():
        assert set(scores["domain"].dropna()) == {"0", "1"}
        together = scores[scores["domain"].isna()]
        assert not together["feature"].duplicated().any()


def test_a_run_carries_its_insights(subject, ni_home):
    """Metrics by modality and method, the report, and everything read back as it was."""
    dataset, scorer, parts = subject
    said: list[str] = []
    with RunRecord.start(open_store(), "insights", run_name="<b>run</b>") as record:
        insights = explain_and_record(record, scorer, dataset, parts, CONFIG, said.append)
    metrics = figures(open_store(), record.run_id)
    for name, modality in insights.modalities.items():
        for method, agreed in modality.all_pairs.items():
            if np.isfinite(agreed.correlation.value):
                assert metrics[f"insight/{name}/{method}"] == agreed.correlation.value
                assert metrics[f"insight/{name}/{method}_p"] == agreed.p_value
    pairs = recorded_pairs(open_store(), record.run_id)
    for (name, method), own in pairs.groupby(["modality", "method"]):
        improvement = own["rate_difference"]
        rho = np.corrcoef(
            np.sign(improvement) * own["attribution_difference"], improvement.abs()
        )[0, 1]  # fmt: skip
        found = insights.modalities[name].all_pairs[method]
        assert (len(own), own["ab_test"].nunique()) == (found.pairs, found.tests)
        assert rho == pytest.approx(found.correlation.value, nan_ok=True)
    assert has_insights(open_store(), record.run_id, CONFIG)
    assert not has_insights(open_store(), record.run_id, dataclasses.replace(CONFIG, seed=1))
    stored = StoredInsights.load(open_store(), record.run_id)
    assert stored is not None
    assert repr(stored.modalities) == repr(insights.modalities)
    assert len(stored.scores) == sum(len(table) for table in insights.scores.values())
    page = read_artifact(open_store(), record.run_id, REPORT).decode()
    assert "&lt;b&gt;run&lt;/b&gt;" in page
    assert "<b>run" not in page
    assert "not enough evidence" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing is loaded from elsewhere
    table = read_table_artifact(open_store(), record.run_id, "insights/attributions.parquet")
    first = table[(table["modality"] == "text") & (table["method"] == "kernel_shap")].iloc[0]
    assert first["contributions"].sum() == pytest.approx(first["prediction"] - first["baseline"])
    assert said[0].startswith("explained 64 of 70")


def test_a_run_without_insights_has_none(ni_home):
    """Absent, not an error."""
    with RunRecord.start(open_store(), "insights") as record:
        pass
    assert StoredInsights.load(open_store(), record.run_id) is None


def test_shuffling_keeps_each_weights_numbers_and_leaves_the_network_alone(subject):
    """What was learned is gone, sizes are not."""
    _, scorer, _ = subject
    before = {name: w.detach().clone() for name, w in scorer.model.named_parameters()}
    shuffled = dict(shuffled_scorer(scorer, 0).model.named_parameters())
    moved = 0
    for name, weight in scorer.model.named_parameters():
        assert weight.equal(before[name])
        assert shuffled[name].flatten().sort().values.equal(weight.flatten().sort().values)
        moved += not shuffled[name].equal(weight)
    assert moved > 20

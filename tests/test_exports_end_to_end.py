"""Every export, from its files to insights: what it proves is said with every figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pictured import TEXT

import ni_platform as ni
from ni_platform.attribution.config import AttributionConfig
from ni_platform.data.importers.exports.importing import import_export
from ni_platform.data.importers.exports.profile import profiles
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.data.splits import SplitConfig
from ni_platform.evaluation import EvaluationConfig
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.insights.config import InsightsConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.tracking.store import open_store
from tests.data.importers.exports.test_profiles import CASES, creatives_of

TESTS = 60
_QUICK = ("klaviyo_campaigns", "meta_ads", "mailchimp_campaigns")
"""One export of each class of evidence; the others are slow tests."""
_TEXT = replace(TEXT, scratch=replace(TEXT.scratch, width=64, heads=4))
CONFIG = ExperimentConfig(
    name="tests.export",
    model=GaussianProcessConfig(text=_TEXT),
    splits=SplitConfig(near_duplicate_similarity=1.0),
    evaluation=EvaluationConfig(replicates=20, glm=False),
    insights=InsightsConfig(
        attribution=AttributionConfig(methods=("feature_ablation",)),
        contents=40, shuffles=1, replicates=20, permutations=20,
    ),
)  # fmt: skip


@pytest.mark.usefixtures("ni_home")
@pytest.mark.parametrize(
    "name",
    [name if name in _QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_an_export_is_imported_checked_learned_and_explained(name: str, tmp_path: Path) -> None:
    """The planted word is found in each; only randomised tests can make it trusted."""
    make, wishes, kind = CASES[name]
    files = make(tmp_path, tests=TESTS)
    asked: Any = None if profiles()[name].assignment else "randomised"
    import_export(
        files, tmp_path / "data", wishes=Wishes(**wishes), assignment=asked,
        creatives=creatives_of(name, tmp_path),
    )  # fmt: skip
    dataset = ni.open_dataset(tmp_path / "data")
    dataset.check().require()
    run = ni.train(CONFIG, dataset)
    figures = run.metrics.set_index(["slice", "metric"])["value"]
    every = run.insights().words
    words = every[every["domain"].isna()].set_index("feature").to_dict("index")
    assert words["free"]["score"] > words["plain"]["score"]
    note = open_store().client.get_run(run.run_id).data.tags["mlflow.note.content"]
    if kind == "randomised":
        assert figures["test", "pairwise_within"] > 0.6
        assert ("platform", "pairwise_within") not in figures
        assert words["free"]["evidence"] == "randomised"
        # Ids decide the split, and on some splits 24 pairs do not support a word.
        assert name not in _QUICK or words["free"]["supported"]
        assert "no randomised A/B test judges it" not in note
        return
    assert figures["test", "n_pairs_within"] == 0
    assert run.insights().trust["trust"].isna().all()
    assert "**no randomised A/B test judges it**" in note
    assert set(every["evidence"]) == {kind or "observational"}
    if kind == "platform":
        assert figures["platform", "pairwise_within"] > 0.6
        assert "what was delivered together with success, not what works" in note

"""What drafts say, held against the past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.correlation import Agreement
from ni_platform.insights.judging import ModalityInsights
from ni_platform.insights.record import StoredInsights
from ni_platform.insights.said import said_by
from ni_platform.insights.trust import Trust
from ni_platform.metrics.intervals import Estimate

_ROWS = [
    # kind, domain, feature, score, low, high, contents, tests, agreed, of, agreed_tests, evidence
    ("word", None, "free", 0.02, 0.01, 0.03, 40, 20, 0.8, 10, 9, "randomised"),
    ("phrase", None, "last chance", 0.012, 0.006, 0.018, 40, 18, 0.75, 12, 9, "randomised"),
    ("word", None, "chance", 0.011, 0.006, 0.018, 40, 18, 0.75, 12, 9, "randomised"),
    ("word", None, "today", 0.010, 0.005, 0.02, 40, 18, np.nan, 0, 0, "platform"),
    ("word", None, "maybe", 0.03, -0.01, 0.07, 12, 6, np.nan, 0, 0, "randomised"),
    ("word", "site1", "local", 0.05, 0.01, 0.07, 30, 16, 1.0, 5, 5, "randomised"),
    ("word", None, "old", -0.02, -0.03, -0.01, 40, 20, 0.9, 10, 9, "randomised"),
]


def _insights() -> StoredInsights:
    agreed = Agreement(
        correlation=Estimate(0.3, 0.2, 0.4), p_value=0.001, pairwise=Estimate(0.65, 0.6, 0.7),
        pairs=120, tests=60,
    )  # fmt: skip
    trust = Trust(score=34.0, correlation=0.2, direction=0.2, transfer=None, sanity=0.9, tests=60)
    text = ModalityInsights(
        method="feature_ablation", trust=trust, all_pairs={"feature_ablation": agreed},
        control_against_best={},
    )  # fmt: skip
    columns = ["kind", "domain", "feature", "score", "low", "high", "contents", "tests", "agreed",
               "of", "agreed_tests", "evidence"]  # fmt: skip
    scores = pd.DataFrame(_ROWS, columns=columns)
    return StoredInsights(
        config=InsightsConfig(), modalities={"text": text}, scores=scores, patches=None
    )


def test_what_raises_and_is_said_nowhere() -> None:
    """Whole words, of all domains, with enough support; of a phrase and its word the better."""
    found = said_by(_insights(), {"a": "Freedom for all", "b": "An song"}).opportunities
    assert [each.feature for each in found] == ["free", "last chance", "today"]
    assert str(found[0]) == (
        "“free” (+2 points in 20 A/B tests; randomised A/B tests; trust 34 of 100)"
    )
    assert "not what works" in str(found[2])
    said = said_by(_insights(), {"a": "FREE today", "b": "your last chance!"})
    assert said.opportunities == []


def test_what_speaks_for_a_draft_and_against_it() -> None:
    """The stronger first, of a phrase and its word one; of a draft that says neither nothing."""
    texts = {"a": "The OLD and free way", "b": "last chance, today", "c": "nothing"}
    said = said_by(_insights(), texts)
    spoken = {draft: [each.feature for each in own] for draft, own in said.speaks.items()}
    assert spoken == {"a": ["free", "old"], "b": ["last chance", "today"]}
    first, second, third = said.sentences()
    assert first.startswith("What speaks for a: “free” (+2 points in 20 A/B tests;")
    assert second.startswith("What speaks against a: “old” (-2 points")
    assert third.startswith("What speaks for b: “last chance” (")


def test_a_model_without_skill_has_none() -> None:
    """As it gives no advice."""
    said = said_by(replace(_insights(), withheld="not shown to be better"), {"a": "x free"})
    assert (said.speaks, said.opportunities, said.sentences()) == ({}, (), [])

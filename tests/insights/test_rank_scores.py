"""Rank scores (NI Eq. 6), their support and their past, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from ni_platform.attribution.attribution import Attribution
from ni_platform.attribution.words import words_of
from ni_platform.insights.config import SupportConfig
from ni_platform.insights.pairs import Arms
from ni_platform.insights.phrases import noun_phrases
from ni_platform.insights.rank_scores import (
    phrase_occurrences,
    rank_scores,
    supported,
    top_and_bottom,
    with_past_agreement,
    word_occurrences,
)


def said(text: str, *contributions: float) -> tuple[list, Attribution]:
    """A text and what its words contribute."""
    return words_of(text, "title"), Attribution(np.array(contributions), 0.2, 0.1)


def phrases(text: str) -> list[str]:
    """The noun phrases of a text."""
    words = words_of(text, "title")
    return [" ".join(word.text for word in words[a:b]) for a, b in noun_phrases(words)]


def test_noun_phrases_are_phrasemachines():
    """Adjectives and nouns that end in a noun, joined by prepositions; spans inside spans too."""
    assert phrases("Get unlimited access to songs today") == [
        "unlimited access",
        "unlimited access to songs",
        "access to songs",
    ]
    assert phrases("Free trial") == ["Free trial"]
    assert phrases("Try it now") == []


def test_a_phrase_lies_in_one_column_and_holds_no_mark():
    """Neither another column's words nor marks continue a phrase."""
    words = words_of("free", "title") + words_of("trial", "subtitle")
    assert noun_phrases(words) == []
    assert phrases("Free, trial") == []


def test_words_count_once_per_content_and_case_does_not_matter():
    """Two occurrences in one content are averaged; phrases average their words."""
    texts, attributions = zip(said("Win win now", 0.1, 0.3, 0.0), said("now", 0.5), strict=True)
    table = word_occurrences(texts, attributions)
    assert table.to_dict("records") == [
        {"row": 0, "feature": "now", "contribution": 0.0},
        {"row": 0, "feature": "win", "contribution": pytest.approx(0.2)},
        {"row": 1, "feature": "now", "contribution": 0.5},
    ]
    texts, attributions = zip(said("Free trial today", 0.1, 0.3, 0.9), strict=True)
    assert phrase_occurrences(texts, attributions).to_dict("records") == [
        {"row": 0, "feature": "free trial", "contribution": pytest.approx(0.2)}
    ]


def occurrences(**of: dict[int, float]) -> pd.DataFrame:
    """Contributions by feature and row."""
    return pd.DataFrame(
        [
            {"row": row, "feature": feature, "contribution": value}
            for feature, rows in of.items()
            for row, value in rows.items()
        ]
    )


def test_the_score_is_the_mean_with_an_interval_over_tests():
    """Three tests with 2, 1 and 1 contents: mean 0.25, residual sums 0.1, -0.05, -0.05."""
    table = occurrences(free={0: 0.3, 1: 0.3, 2: 0.2, 3: 0.2})
    found = rank_scores(table, np.array([0, 0, 1, 2])).iloc[0]
    assert found["score"] == pytest.approx(0.25)
    assert (found["contents"], found["tests"]) == (4, 3)
    deviation = np.sqrt((0.1**2 + 0.05**2 + 0.05**2) * 3 / 2) / 4
    assert found["high"] - found["score"] == pytest.approx(t.ppf(0.975, 2) * deviation)
    assert found["score"] - found["low"] == pytest.approx(t.ppf(0.975, 2) * deviation)


def test_the_interval_covers_the_truth():
    """Tests with a level of their own: 95 % of 400 intervals hold the mean, by binomial bounds."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        cluster = np.repeat(np.arange(12), 5)
        values = 1 + rng.normal(size=12)[cluster] + rng.normal(size=60)
        table = occurrences(x=dict(enumerate(values)))
        found = rank_scores(table, cluster).iloc[0]
        held += found["low"] <= 1 <= found["high"]
    assert 0.91 <= held / 400 <= 0.98


def test_features_are_scored_within_domains():
    """The best of each domain first."""
    table = occurrences(free={0: 0.3, 1: -0.1}, new={1: 0.2})
    found = rank_scores(table, np.arange(2), np.array(["de", "fr"], dtype=object))
    assert found[["domain", "feature", "score"]].to_numpy().tolist() == [
        ["de", "free", 0.3],
        ["fr", "new", 0.2],
        ["fr", "free", -0.1],
    ]
    assert found["low"].isna().all()  # of one test no interval


def test_past_agreement_counts_pairs_of_which_one_has_the_feature():
    """Rates of test t: 0.1, 0.2, 0.3 and of test u, which was learned from: 0.2, 0.1."""
    arms = Arms.of(np.array([0.1, 0.2, 0.3, 0.2, 0.1]), pd.Series(["t", "t", "t", "u", "u"]), None)
    table = occurrences(
        good={1: 0.1, 2: 0.1, 4: 0.1},  # wins 2 of 2 in t; both 1 and 2 have it; u does not count
        bad={2: -0.1},  # wins 2 of 2, though its score is negative
        everywhere={0: 0.1, 1: 0.1, 2: 0.1},
    )
    scores = rank_scores(table, np.array([0, 0, 0, 1, 1]))
    judged = np.array([True, True, True, False, False])
    found = with_past_agreement(scores, table, arms, judged).set_index("feature")
    assert found.loc["good", ["agreed", "of", "agreed_tests"]].tolist() == [1.0, 2, 1]
    assert found.loc["bad", ["agreed", "of", "agreed_tests"]].tolist() == [0.0, 2, 1]
    assert found.loc["everywhere", ["of", "agreed_tests"]].tolist() == [0, 0]


def test_past_agreement_within_a_domain_counts_its_own_pairs():
    """The word wins three tests in de and loses two in fr; one test has an arm in each of both."""
    rate = [0.2, 0.1] * 3 + [0.1, 0.2] * 2 + [0.1, 0.2, 0.1, 0.2]
    arms = Arms.of(np.array(rate), pd.Series(list("aabbccddeeffgg")), None)
    domains = np.array(["de"] * 6 + ["fr"] * 4 + ["de", "fr", None, None], dtype=object)
    table = occurrences(free=dict.fromkeys([0, 2, 4, 6, 8, 10, 12], 0.1))
    scores = pd.concat(
        [rank_scores(table, arms.test), rank_scores(table, arms.test, domains)], ignore_index=True
    )
    assert scores["domain"].isna().sum() == 1  # contents of no known domain are not scored again
    found = with_past_agreement(scores, table, arms, np.ones(14, dtype=bool), domains)
    figures = found[["domain", "agreed", "of", "agreed_tests"]].to_numpy().tolist()
    assert figures[0][1:] == [pytest.approx(3 / 7), 7, 7]  # over all domains
    assert figures[1:] == [["de", 1.0, 3, 3], ["fr", 0.0, 2, 2]]
    support = SupportConfig(contents=2, tests=2)
    scored = found.assign(low=0.05)  # contributions without any spread
    assert supported(scored, support)["domain"].tolist() == ["de"]


def test_past_agreement_where_no_pair_is_of_one_domain():
    """A test between two domains is evidence over all, and for neither."""
    arms = Arms.of(np.array([0.2, 0.1]), pd.Series(["a", "a"]), None)
    domains = np.array(["de", "fr"], dtype=object)
    table = occurrences(free={0: 0.1})
    scores = pd.concat(
        [rank_scores(table, arms.test), rank_scores(table, arms.test, domains)], ignore_index=True
    )
    found = with_past_agreement(scores, table, arms, np.ones(2, dtype=bool), domains)
    assert found["of"].tolist() == [1, 0]
    assert np.isnan(found["agreed"][1])


def test_what_rests_on_too_little_is_left_out():
    """Too few contents, an interval that holds zero, or most past pairs against it."""
    scores = pd.DataFrame(
        {
            "feature": ["few", "unsure", "up", "refuted", "down"],
            "score": [0.5, 0.4, 0.3, 0.25, -0.2],
            "low": [0.4, -0.1, 0.2, 0.2, -0.3],
            "high": [0.6, 0.9, 0.4, 0.3, -0.1],
            "contents": [9, 10, 10, 10, 10],
            "tests": [5, 5, 5, 5, 5],
            "agreed": [1.0, 1.0, 0.5, 0.49, np.nan],
            "of": [4, 4, 4, 100, 0],
        }
    )
    left = supported(scores, SupportConfig())
    best, worst = top_and_bottom(left)
    assert best["feature"].tolist() == ["up"]
    assert worst["feature"].tolist() == ["down"]


def test_the_lowest_come_first_among_the_worst():
    """Positive features are no bad ones."""
    scores = pd.DataFrame({"feature": list("abcd"), "score": [-0.1, -0.4, 0.2, -0.3]})
    best, worst = top_and_bottom(scores, 2)
    assert best["feature"].tolist() == ["c"]
    assert worst["feature"].tolist() == ["b", "d"]

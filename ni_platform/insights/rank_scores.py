"""Rank scores (NI Eq. 6): the mean attribution of words and phrases, with what supports them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ni_platform.attribution.attribution import Attribution
from ni_platform.attribution.words import Word
from ni_platform.insights.config import SupportConfig
from ni_platform.insights.pairs import Arms
from ni_platform.insights.phrases import noun_phrases
from ni_platform.metrics.intervals import COVERAGE

MODALITY_OF = {"word": "text", "phrase": "text", "attribute": "attributes", "wording": "wording"}
"""Kinds of features that are scored, and the modality of each."""


def word_occurrences(
    words: Sequence[Sequence[Word]], attributions: Sequence[Attribution]
) -> pd.DataFrame:
    """The mean contribution of each word in each content that has it: row, feature, contribution.

    Marks such as "?" count as words; case does not matter. Contributions are raw ones, changes of
    the success rate: what `Attribution.values` adds to reach Definition 2's sum is the same for
    all words of a content, so it tells contents apart, not words.
    """
    return _means(
        (row, word.key, value)
        for row, (found, attribution) in enumerate(zip(words, attributions))
        for word, value in zip(found, attribution.raw)
    )


def phrase_occurrences(
    words: Sequence[Sequence[Word]], attributions: Sequence[Attribution]
) -> pd.DataFrame:
    """The same of noun phrases, whose contribution is the mean of their words' (NI Section 4.3)."""
    return _means(
        (row, " ".join(word.key for word in found[start:stop]), attribution.raw[start:stop].mean())
        for row, (found, attribution) in enumerate(zip(words, attributions))
        for start, stop in noun_phrases(found)
    )


def level_occurrences(
    elements: Sequence[Sequence[tuple[str, str]]], attributions: Sequence[Attribution]
) -> pd.DataFrame:
    """The same of named features with their level, such as columns of attributes."""
    return _means(
        (row, f"{name} = {level}", value)
        for row, (levels, attribution) in enumerate(zip(elements, attributions))
        for (name, level), value in zip(levels, attribution.raw)
    )


def _means(occurrences: Iterator[tuple[int, str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(list(occurrences), columns=["row", "feature", "contribution"])
    means: pd.DataFrame = table.groupby(["row", "feature"])[["contribution"]].mean()
    return means.reset_index()


def rank_scores(
    occurrences: pd.DataFrame,
    clusters: np.ndarray,
    domains: np.ndarray | None = None,
) -> pd.DataFrame:
    """Score each feature by its mean contribution over the contents that have it.

    Args:
        occurrences: as `word_occurrences` gives them.
        clusters: number of what each content belongs to [N], such as its A/B test: contents of
            one are not independent.
        domains: domain of each content [N], None where unknown; features are then scored within
            each, and contents of no known domain count in none.

    Returns:
        A row per domain (None for all together) and feature, the highest score first: domain,
        feature, score, low, high (95 % by Student's t over clusters; NaN of one cluster),
        contents, tests.
    """
    if domains is not None:
        occurrences = occurrences[pd.notna(domains)[occurrences["row"]]]
    table = occurrences.assign(
        cluster=clusters[occurrences["row"]],
        domain=None if domains is None else domains[occurrences["row"]],
    )
    keys = ["domain", "feature"]
    per_cluster = table.groupby([*keys, "cluster"], as_index=False, dropna=False)[
        "contribution"
    ].agg(["sum", "count"])
    grouped = per_cluster.groupby(keys, dropna=False)
    scores = grouped.agg(
        contents=("count", "sum"), tests=("cluster", "nunique"), total=("sum", "sum")
    )
    scores["score"] = scores["total"] / scores["contents"]
    joined = per_cluster.join(scores[["score"]], on=keys)
    joined["square"] = (joined["sum"] - joined["score"] * joined["count"]) ** 2
    squares = joined.groupby(keys, dropna=False)["square"].sum()
    tests = scores["tests"].to_numpy(dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.sqrt(squares * tests / (tests - 1)) / scores["contents"]
        width = -stdtrit(tests - 1, (1 - COVERAGE) / 2) * deviation
    scores["low"], scores["high"] = scores["score"] - width, scores["score"] + width
    ordered = scores.reset_index().sort_values(
        ["domain", "score", "feature"], ascending=[True, False, True], kind="stable"
    )
    return ordered[[*keys, "score", "low", "high", "contents", "tests"]].reset_index(drop=True)


def with_past_agreement(
    scores: pd.DataFrame,
    occurrences: pd.DataFrame,
    arms: Arms,
    judged: np.ndarray,
    domains: np.ndarray | None = None,
) -> pd.DataFrame:
    """Add how often a feature's direction held in past A/B tests: agreed, of, agreed_tests.

    Of the pairs of arms of which one has the feature and the other has not, those count in which
    the arm with it did better where its score is positive, or worse where it is negative. For a
    score within a domain only pairs of two arms of that domain count: what holds elsewhere is no
    evidence, and between arms of two domains the domain itself makes a difference.

    Args:
        scores: as `rank_scores` gives them, of all domains together (domain None) or within each.
        occurrences: what they were computed from.
        arms: contents, outcomes and pairs.
        judged: contents that the model did not learn from, bool [N]; only their pairs count.
        domains: as `rank_scores` was given them; None if no score is within one.
    """
    usable = judged[arms.first] & judged[arms.second]
    first, second = arms.first[usable], arms.second[usable]
    lift = np.sign(arms.rate[second] - arms.rate[first])
    pairs = pd.DataFrame({"first": first, "second": second, "lift": lift})
    pairs = pairs[pairs["lift"] != 0]
    has = occurrences[["row", "feature"]]
    # Each pair once for every feature of either arm; features of both come twice and drop out.
    of_second = pairs.merge(has, left_on="second", right_on="row").assign(direction=1)
    of_first = pairs.merge(has, left_on="first", right_on="row").assign(direction=-1)
    each = pd.concat([of_first, of_second], ignore_index=True)
    each = each[~each.duplicated(["first", "second", "feature"], keep=False)]
    each["up"] = (each["lift"] * each["direction"] > 0).astype(float)
    each["test"] = arms.test[each["first"]]
    together = scores["domain"].isna()
    joined = _joined(scores[together], each, ["feature"])
    if domains is not None and not together.all():
        each["domain"] = domains[each["first"]]
        within = each[each["domain"] == domains[each["second"]]]
        own = _joined(scores[~together], within, ["domain", "feature"])
        joined = pd.concat([joined, own]).sort_index()
    joined["agreed"] = np.where(joined["score"] > 0, joined["up"], 1 - joined["up"])
    joined[["of", "agreed_tests"]] = joined[["of", "agreed_tests"]].fillna(0).astype(int)
    return joined.drop(columns="up")


def _joined(scores: pd.DataFrame, pairs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    found = pairs.groupby(keys).agg(
        up=("up", "mean"), of=("up", "size"), agreed_tests=("test", "nunique")
    )
    return scores.join(found, on=keys)


def supported(scores: pd.DataFrame, config: SupportConfig) -> pd.DataFrame:
    """Those that rest on enough, whose interval does not hold zero and whose past does not object.

    `scores` are those of `with_past_agreement`; a feature that no past pair bears on stays.
    """
    enough = (scores["contents"] >= config.contents) & (scores["tests"] >= config.tests)
    contradicted = (scores["of"] > 0) & (scores["agreed"] < config.agreement)
    return scores[enough & ~contradicted & ((scores["low"] > 0) | (scores["high"] < 0))]


def top_and_bottom(scores: pd.DataFrame, count: int = 10) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The positive features with the highest scores and the negative ones with the lowest."""
    ordered = scores.sort_values(["score", "feature"], ascending=[False, True], kind="stable")
    best = ordered[ordered["score"] > 0].head(count)
    worst = ordered[ordered["score"] < 0].iloc[::-1].head(count)
    return best, worst

"""What drafts say, held against the past: what speaks for each, against it, and is in none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ni_platform.data.assignment import EVIDENCE
from ni_platform.insights.rank_scores import MODALITY_OF, supported
from ni_platform.insights.record import StoredInsights
from ni_platform.registry.model_source import run_of_model
from ni_platform.tracking.store import Store

_MOST_OPPORTUNITIES = 5
_MOST_REASONS = 3
"""For a draft, and as many against it."""


@dataclass(frozen=True, kw_only=True)
class PastFeature:
    """A word or phrase, and what it did to predictions in the past."""

    feature: str
    score: float
    """Mean contribution over past contents that have it."""
    in_points: bool
    """Whether the score is a change of the success rate; else it has its method's unit."""
    tests: int
    evidence: str
    """One of `data.assignment.KINDS`."""
    trust: float | None
    """Of its modality, 0 to 100; None where there is not enough evidence."""

    def __str__(self) -> str:
        size = f"{100 * self.score:+.2g} points" if self.in_points else f"{self.score:+.2g}"
        trust = "no trust score yet" if self.trust is None else f"trust {self.trust:.0f} of 100"
        seen = f"{size} in {self.tests} A/B tests"
        return f"“{self.feature}” ({seen}; {EVIDENCE[self.evidence]}; {trust})"


@dataclass(frozen=True, kw_only=True)
class Said:
    """What some drafts say, held against the past."""

    speaks: Mapping[str, Sequence[PastFeature]] = field(default_factory=dict)
    """By draft, the features of its text: those that raised predictions most, and those that
    lowered them most."""
    opportunities: Sequence[PastFeature] = ()
    """Features that raised predictions and are in none of the drafts, the best first."""

    def sentences(self) -> list[str]:
        """What a marketer is told."""
        told = []
        for draft, features in self.speaks.items():
            for words, sign in (("for", 1), ("against", -1)):
                own = [str(each) for each in features if sign * each.score > 0]
                if own:
                    told.append(f"What speaks {words} {draft}: {'; '.join(own)}.")
        if self.opportunities:
            found = "; ".join(map(str, self.opportunities))
            told.append(f"In none of the drafts, and with higher predictions: {found}.")
        return told


def said_by(insights: StoredInsights, texts: Mapping[str, str]) -> Said:
    """Hold drafts against the words and phrases of past contents.

    Those with enough support (`supported`) count, over all domains; of a phrase and a word in it
    the stronger one. Nothing is said by a model that is hardly better than guessing.

    Args:
        insights: Of the model.
        texts: Of each draft, all texts together.
    """
    if insights.withheld is not None:
        return Said()
    features = sorted(_features(insights), key=lambda each: -abs(each.score))
    everywhere = " \n ".join(texts.values())
    good = [each for each in features if each.score > 0]
    bad = [each for each in features if each.score < 0]
    speaks = {}
    for draft, text in texts.items():
        own = [
            each
            for side in (good, bad)
            for each in _apart(one for one in side if _is_in(one, text))[:_MOST_REASONS]
        ]
        if own:
            speaks[draft] = own
    unsaid = _apart(each for each in good if not _is_in(each, everywhere))
    return Said(speaks=speaks, opportunities=unsaid[:_MOST_OPPORTUNITIES])


def recorded_said(store: Store | None, uri: str, texts: Mapping[str, str]) -> Said:
    """As `said_by`, by the insights of the run that made a model; nothing if it has none.

    Raises:
        TrackingError: There is no such model, or the store does not answer.
    """
    run_id = None if store is None else run_of_model(store, uri)
    insights = None if run_id is None or store is None else StoredInsights.load(store, run_id)
    return Said() if insights is None else said_by(insights, texts)


def _features(insights: StoredInsights) -> Iterator[PastFeature]:
    """Words and phrases with enough support, over all domains."""
    scores = supported(insights.scores, insights.config.support)
    kinds = scores["kind"].isin(("word", "phrase"))
    for row in scores[kinds & scores["domain"].isna()].to_dict("records"):
        judged = insights.modalities[MODALITY_OF[row["kind"]]]
        yield PastFeature(
            feature=str(row["feature"]),
            score=float(row["score"]),
            in_points=judged.in_points,
            tests=int(row["tests"]),
            evidence=str(row["evidence"]),
            trust=judged.trust.score,
        )


def _is_in(feature: PastFeature, text: str) -> bool:
    """Whether a text has the feature, as whole words in any case."""
    return re.search(rf"\b{re.escape(feature.feature)}\b", text.casefold()) is not None


def _apart(features: Iterator[PastFeature]) -> list[PastFeature]:
    """Features without those that share a word with an earlier one."""
    found: list[PastFeature] = []
    for each in features:
        if not any(set(each.feature.split()) & set(one.feature.split()) for one in found):
            found.append(each)
    return found

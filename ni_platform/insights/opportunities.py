"""What has raised predictions in the past, and no draft says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ni_platform.data.assignment import EVIDENCE
from ni_platform.insights.rank_scores import MODALITY_OF, supported
from ni_platform.insights.record import StoredInsights
from ni_platform.registry.model_source import run_of_model
from ni_platform.tracking.store import Store


@dataclass(frozen=True, kw_only=True)
class Opportunity:
    """A word or phrase that is in none of the drafts."""

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


def opportunities(
    insights: StoredInsights, texts: Iterable[str], *, count: int = 5
) -> list[Opportunity]:
    """Return the words and phrases with the highest scores that no text has, the best first.

    Those with enough support (`supported`), over all domains; of a phrase and a word in it the
    better one. None of a model that is hardly better than guessing.

    Args:
        insights: Of the model.
        texts: Of the drafts.
        count: At most so many.
    """
    if insights.withheld is not None:
        return []
    said = " \n ".join(texts).casefold()
    scores = supported(insights.scores, insights.config.support)
    kinds = scores["kind"].isin(("word", "phrase"))
    best = scores[kinds & scores["domain"].isna() & (scores["score"] > 0)]
    found: list[Opportunity] = []
    for row in best.sort_values("score", ascending=False, kind="stable").to_dict("records"):
        name = str(row["feature"])
        known = re.search(rf"\b{re.escape(name)}\b", said) is not None
        own = set(name.split())
        if known or any(own & set(other.feature.split()) for other in found):
            continue
        judged = insights.modalities[MODALITY_OF[row["kind"]]]
        found.append(
            Opportunity(
                feature=name,
                score=float(row["score"]),
                in_points=judged.in_points,
                tests=int(row["tests"]),
                evidence=str(row["evidence"]),
                trust=judged.trust.score,
            )
        )
    return found[:count]


def recorded_opportunities(
    store: Store | None, uri: str, texts: Iterable[str]
) -> list[Opportunity]:
    """As `opportunities`, by the insights of the run that made a model; none if it has none.

    Raises:
        TrackingError: There is no such model, or the store does not answer.
    """
    run_id = None if store is None else run_of_model(store, uri)
    insights = None if run_id is None or store is None else StoredInsights.load(store, run_id)
    return [] if insights is None else opportunities(insights, texts)


def sentence_of(found: list[Opportunity]) -> str | None:
    """What a marketer is told; None where there is nothing."""
    if not found:
        return None
    return "In none of the drafts, and with higher predictions: " + "; ".join(map(str, found)) + "."

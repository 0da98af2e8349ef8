"""What past insights recommend, and how often that held in past A/B tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ni_platform.data.assignment import EVIDENCE
from ni_platform.insights.config import SupportConfig
from ni_platform.insights.rank_scores import MODALITY_OF, supported, top_and_bottom
from ni_platform.insights.record import StoredInsights

_KINDS = {
    "phrase": "Phrases",
    "word": "Words",
    "wording": "Wording",
    "attribute": "Attributes",
}


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """A feature with its rank score and its past."""

    kind: str
    feature: str
    in_points: bool
    """Whether the score is a change of the success rate; else it has its method's unit."""
    score: float
    """Mean contribution."""
    low: float
    high: float
    contents: int
    tests: int
    agreed: float
    """Share of past pairs in which the direction held; NaN where there were none."""
    of: int
    """Pairs of arms of which one has the feature."""
    agreed_tests: int
    """A/B tests that they are from."""
    evidence: str
    """What stands behind it, in words."""

    @property
    def held(self) -> int:
        """Pairs in which it held."""
        return round(self.agreed * self.of) if self.of else 0


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The best and worst features of one kind."""

    heading: str
    domain: str | None
    """Where they were scored; None: over all domains."""
    in_points: bool
    best: list[Recommendation]
    worst: list[Recommendation]


def advice(
    insights: StoredInsights, domain: str, *, support: SupportConfig | None = None, count: int = 5
) -> list[Advice]:
    """Features with enough support, by kind: of the domain where it has any, else of all.

    None of a model that is hardly better than guessing (`StoredInsights.withheld`).

    Of those of all domains, none is advised against which most past pairs of this domain speak.
    """
    found, support = [], support or SupportConfig()
    if insights.withheld is not None:
        return []
    for kind, heading in _KINDS.items():
        scores = insights.scores[insights.scores["kind"] == kind]
        if scores.empty:
            continue
        enough = supported(scores, support)
        chosen = enough[enough["domain"] == domain]
        where = domain if len(chosen) else None
        if where is None:
            own = scores[scores["domain"] == domain]
            chosen = _not_refuted(enough[enough["domain"].isna()], own, support)
        best, worst = top_and_bottom(chosen, count)
        if len(best) or len(worst):
            points = in_points(insights, MODALITY_OF[kind])
            found.append(
                Advice(
                    heading=heading,
                    domain=where,
                    in_points=points,
                    best=listed(best, points),
                    worst=listed(worst, points),
                )
            )
    return found


def _not_refuted(scores: pd.DataFrame, own: pd.DataFrame, support: SupportConfig) -> pd.DataFrame:
    """Scores over all domains whose direction held in the past pairs of one, or which it lacks."""
    here = own.set_index("feature")[["score", "agreed", "of"]].reindex(scores["feature"])
    alike = np.sign(here["score"].to_numpy()) == np.sign(scores["score"].to_numpy())
    agreed = np.where(alike, here["agreed"], 1 - here["agreed"])
    return scores[~((here["of"] > 0).to_numpy() & (agreed < support.agreement))]


def past_of(insights: StoredInsights | None, feature: str) -> Recommendation | None:
    """What is known of one phrase or word over all domains, whatever its support."""
    if insights is None or insights.scores.empty:
        return None
    key = " ".join(feature.lower().split())
    scores = insights.scores
    rows = scores[
        (scores["feature"] == key)
        & scores["kind"].isin(("phrase", "word"))
        & scores["domain"].isna()
    ]
    return listed(rows.head(1), in_points(insights, "text"))[0] if len(rows) else None


def in_points(insights: StoredInsights, modality: str) -> bool:
    """Whether the method that insights prefer for a modality gives changes of the success rate."""
    summary = insights.modalities.get(modality)
    return summary is None or summary.in_points


def listed(rows: pd.DataFrame, in_points: bool) -> list[Recommendation]:
    """Rows of rank scores, one by one."""
    return [
        Recommendation(
            kind=str(row["kind"]),
            feature=str(row["feature"]),
            in_points=in_points,
            score=float(row["score"]),
            low=float(row["low"]),
            high=float(row["high"]),
            agreed=float(row["agreed"]),
            contents=int(row["contents"]),
            tests=int(row["tests"]),
            of=int(row["of"]),
            agreed_tests=int(row["agreed_tests"]),
            evidence=EVIDENCE[row["evidence"]],
        )
        for row in rows.to_dict("records")
    ]

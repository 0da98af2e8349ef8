"""Plans of the next A/B test, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ni_platform.api.display import Part, cell, figure, interval
from ni_platform.insights.said import PastFeature, Said
from ni_platform.plans.plan import Plan
from ni_platform.reporting.page import Table


@dataclass(frozen=True, kw_only=True, repr=False)
class TestPlan:
    """Which drafts to test, with how much traffic, and what that is expected to bring."""

    __test__ = False
    """Nothing for pytest."""

    plan: Plan
    said: Said
    """Words and phrases of the past that speak for and against drafts, and that none of them has;
    empty where the model's run has no insights."""
    run_id: str | None
    """The run that it is recorded in; None if it is not."""

    @property
    def drafts(self) -> pd.DataFrame:
        """A row per draft, indexed by id, the likely best first.

        Columns: prediction, low and high (95 % interval of the rate), chance_best, place (share of
        past contents that got a lower rate), tested, share (of the traffic), nearest (past
        content), nearest_rate, similarity, judged, caution (why not, or what is missing; null where
        nothing is).
        """
        return self.plan.drafts

    @property
    def speaks(self) -> Mapping[str, Sequence[PastFeature]]:
        """By draft, words and phrases of its text that raised or lowered past predictions."""
        return self.said.speaks

    @property
    def opportunities(self) -> Sequence[PastFeature]:
        """Words and phrases that raised past predictions and are in none of the drafts."""
        return self.said.opportunities

    @property
    def impressions_needed(self) -> float:
        """Impressions of the test that find the predicted difference of the leading two."""
        return self.plan.needed

    @property
    def clicks_per_1000(self) -> pd.Series:
        """Expected of what is shown afterwards: planned, without_model, without_test.

        Nulls without `traffic`.
        """
        names = ("planned", "without_model", "without_test")
        gain = self.plan.gain
        return pd.Series({name: getattr(gain, name, None) for name in names}, dtype=float)

    def __repr__(self) -> str:
        return "\n".join(self.sentences())

    def sentences(self) -> list[str]:
        """Return what a marketer should know, a sentence each."""
        return [*self.plan.sentences(), *self.said.sentences()]

    def _repr_html_(self) -> str:
        rows = [
            (
                str(name),
                *(
                    (
                        figure(row["prediction"]),
                        interval(row["low"], row["high"]),
                        f"{row['place']:.0%}",
                        f"{row['chance_best']:.0%}",
                    )
                    if row["prediction"] == row["prediction"]
                    else ("–", "–", "–", "–")
                ),
                f"{row['share']:.0%}" if row["tested"] else "",
                row["nearest"] or "",
            )
            for name, row in self.drafts.to_dict("index").items()
        ]
        heads = (
            "draft", "rate", "95 %", "above past", "is the best", "share", "nearest past content"
        )  # fmt: skip
        notes = " ".join(self.sentences())
        return cell("Plan of a test", Part(table=Table.of(heads, rows), note=notes))

"""What a model has learned, as advice, and how far past A/B tests bear it out."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ni_platform.api.display import Page, Part, cell, figure, interval
from ni_platform.api.progress import EventLog
from ni_platform.data.assignment import EVIDENCE
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.rank_scores import supported
from ni_platform.insights.record import REPORT, StoredInsights, recorded_pairs
from ni_platform.overrides import merged
from ni_platform.reporting.page import Table
from ni_platform.scoring import explain_model
from ni_platform.tracking.run_queries import read_artifact, read_run
from ni_platform.tracking.store import Store

_SHOWN = 5


@dataclass(frozen=True, kw_only=True, repr=False)
class Insights:
    """A run's insights. Frames of words, phrases, attributes and wording share their columns.

    domain (null: all together), feature, score (mean contribution), low, high (95 %), contents and
    tests that have it, in how many pairs of arms (of) of past tests its direction held (agreed, a
    share; agreed_tests), evidence (randomised, platform or observational) and supported: whether
    that is enough to be recommended. All domains together stand first, what is supported before the
    rest, the highest score first.
    """

    stored: StoredInsights
    run_id: str
    store: Store

    @property
    def withheld(self) -> str | None:
        """Why nothing is supported: a model that is hardly better than guessing; None if it is."""
        return self.stored.withheld

    @property
    def words(self) -> pd.DataFrame:
        """Words of the texts."""
        return self._of("word")

    @property
    def phrases(self) -> pd.DataFrame:
        """Noun phrases of the texts."""
        return self._of("phrase")

    @property
    def attributes(self) -> pd.DataFrame:
        """Levels of attributes and domains."""
        return self._of("attribute")

    @property
    def wording(self) -> pd.DataFrame:
        """Features of a text that people would name, such as a question."""
        return self._of("wording")

    @property
    def patches(self) -> pd.DataFrame | None:
        """Recommended patches of pictures, see `StoredInsights.patches`; None without pictures."""
        return self.stored.patches

    @property
    def pairs(self) -> pd.DataFrame:
        """The compared pairs of arms: by modality and method, differences and A/B test."""
        return recorded_pairs(self.store, self.run_id)

    @property
    def trust(self) -> pd.DataFrame:
        """A row per modality, with the method that recommendations follow.

        Columns: modality, method, trust (0 to 100, null where there is not enough evidence), and of
        the insight correlation correlation, low, high (95 %), p_value, tests.
        """
        rows = []
        for name, found in self.stored.modalities.items():
            agreed = found.all_pairs[found.method]
            rows.append(
                {
                    "modality": name,
                    "method": found.method,
                    "trust": found.trust.score,
                    "correlation": agreed.correlation.value,
                    "low": agreed.correlation.low,
                    "high": agreed.correlation.high,
                    "p_value": agreed.p_value,
                    "tests": agreed.tests,
                }
            )
        return pd.DataFrame(rows)

    def report(self) -> Page:
        """Return the whole report; a notebook shows it, `.save(PATH)` writes it."""
        page = read_artifact(self.store, self.run_id, REPORT)
        return Page(html=page.decode("utf-8"), height=800)

    def _of(self, kind: str) -> pd.DataFrame:
        scores = self.stored.scores
        own = scores[scores["kind"] == kind].drop(columns="kind")
        shown = len(own) > 0 and self.withheld is None
        enough = supported(own, self.stored.config.support).index if shown else own.index[:0]
        own = own.assign(supported=own.index.isin(enough))
        return own.sort_values(
            ["domain", "supported", "score"],
            ascending=[True, False, False],
            na_position="first",
            kind="stable",
        ).reset_index(drop=True)

    def __repr__(self) -> str:
        trust = "; ".join(f"{n} {found.trust}" for n, found in self.stored.modalities.items())
        return f"Insights of run {self.run_id}: trust in {trust}"

    def _repr_html_(self) -> str:
        rows = [
            (
                row["modality"],
                row["method"].replace("_", " "),
                "not enough evidence" if pd.isna(row["trust"]) else f"{row['trust']:.0f}",
                figure(row["correlation"]),
                interval(row["low"], row["high"]),
                row["tests"],
            )
            for row in self.trust.to_dict("records")
        ]
        heads = ("modality", "method", "trust (0 to 100)", "correlation", "95 %", "held-out tests")
        parts = [Part(table=Table.of(heads, rows))]
        if self.withheld is not None:
            parts.append(Part(note=f"No advice: within A/B tests the model is {self.withheld}."))
        for kind, table in (("Words", self.words), ("Phrases", self.phrases)):
            best = table[table["supported"] & table["domain"].isna()]
            if len(best):
                ends = pd.concat([best.head(_SHOWN), best.tail(_SHOWN)]).drop_duplicates("feature")
                told = [
                    (
                        row["feature"],
                        figure(row["score"]),
                        interval(row["low"], row["high"]),
                        EVIDENCE[row["evidence"]],
                    )
                    for row in ends.to_dict("records")
                ]
                table_shown = Table.of(("", "score", "95 %", "evidence"), told)
                parts.append(Part(heading=f"{kind} that raise and lower", table=table_shown))
        return cell("Insights", *parts, Part(note=".words, .phrases, .attributes, .report()"))


def recorded_insights(store: Store, run_id: str) -> Insights | None:
    """Return the insights that a run holds, if it does.

    Raises:
        TrackingError: There is no such run.
    """
    stored = StoredInsights.load(store, run_id)
    return None if stored is None else Insights(stored=stored, run_id=run_id, store=store)


def make_insights(store: Store, uri: str, data: str | None, settings: dict) -> Insights:
    """Explain a model on a dataset and record it; see `Run.insights`."""
    config = merged(InsightsConfig(), settings)
    place = data or read_run(store, uri).tags["ni.dataset"]
    with EventLog() as log:
        run_id, _ = explain_model(store, uri, place, config, on_event=log)
    stored = StoredInsights.load(store, run_id)
    if stored is None:
        raise RuntimeError(f"run {run_id} lost its insights")
    return Insights(stored=stored, run_id=run_id, store=store)

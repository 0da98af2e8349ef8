"""What a model is worth in clicks, on A/B tests that happened."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from ni_platform.api.display import Part, cell, figure, interval
from ni_platform.api.progress import ScoringProgress
from ni_platform.reporting.page import Picture, Table
from ni_platform.tracking.store import Store, open_store
from ni_platform.value.plot import LABELS, value_figure
from ni_platform.value.record import Valued
from ni_platform.value.replay import ReplayConfig
from ni_platform.value.valuing import value_model


@dataclass(frozen=True, kw_only=True, repr=False)
class Value:
    """What replays of held-out A/B tests say; recorded in the run `run_id`."""

    run_id: str
    valued: Valued = field(repr=False)

    @property
    def by_traffic(self) -> pd.DataFrame:
        """A row per traffic and policy: traffic, policy, value, low, high (95 %), tests.

        Traffic are the impressions of a test in all its arms, 0 for what needs none. Values are
        clicks per 1,000 impressions of the arm that is shown after the test, less those of all arms
        alike (`uniform` is these themselves). `model` is the model's first choice, `winner` that of
        a uniform test, `combined` that of the same test with the model's prior, `thompson` and
        `thompson_prior` those of Thompson sampling (`_during`: what its own viewers got; `_ran_out`
        the share of replays in which an arm had no more viewers), `best_at_least` and
        `best_at_most` bounds of knowing the best arm, `combined_less_winner` what the prior adds.
        """
        return self.valued.figures.by_traffic

    @property
    def saved(self) -> pd.DataFrame:
        """A row per traffic of a test with the prior: what a test without it needs to do as well.

        Columns: traffic, tests, needed (impressions), saved (needed less traffic), low, high
        (95 %), most. A value of `most` says: at least.
        """
        return self.valued.figures.saved

    @property
    def top(self) -> pd.DataFrame:
        """A row per k: what a test of the model's first k arms alone keeps and gives away.

        Columns: k, tests (of more than k arms), share (of tests whose winner is among them),
        share_low, share_high, by_chance, lost (clicks per 1,000 impressions), lost_low, lost_high.
        """
        return self.valued.figures.top

    @property
    def sentences(self) -> list[str]:
        """What came out, in plain words."""
        return self.valued.sentences()

    def __repr__(self) -> str:
        return " ".join(self.sentences)

    def _repr_html_(self) -> str:
        table = self.by_traffic
        shown = table[table["policy"].isin(list(LABELS)) & table["value"].notna()]
        rows = [
            (
                figure(row["traffic"]) if row["traffic"] else "no test",
                LABELS[row["policy"]],
                f"{row['value']:+.2f}",
                interval(row["low"], row["high"]),
                row["tests"],
            )
            for row in shown.to_dict("records")
        ]
        heads = ("traffic", "policy", "clicks per 1,000", "95 %", "A/B tests")
        parts = [Part(note=sentence) for sentence in self.sentences]
        drawn = value_figure(table)
        if drawn is not None:
            words = "Clicks per 1,000 impressions by traffic of the test, a line per policy"
            parts.append(Part(picture=Picture.of(drawn, words, "")))
        parts.append(Part(table=Table.of(heads, rows)))
        return cell("What the model is worth", *parts, Part(note=".by_traffic, .saved, .top"))


def make_value(store: Store | None, uri: str, data: str, replicates: int) -> Value:
    """Replay the A/B tests of a dataset and record what comes out; see `Model.value`."""
    config = ReplayConfig(replicates=replicates)
    with ScoringProgress() as progress:
        place = open_store() if store is None else store
        run_id, valued = value_model(place, uri, data, config, on_scored=progress)
    return Value(run_id=run_id, valued=valued)

"""What a model is worth, written into a run: tables, figures, a plot, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ni_platform.beliefs.prior import FEWEST_TESTS, Prior
from ni_platform.tracking.metric_table import COLUMNS, VALUE_TAG, add_metrics
from ni_platform.value.figures import Figures
from ni_platform.value.plot import value_figure
from ni_platform.value.replay import ReplayConfig
from ni_platform.value.report import clicks, value_report

if TYPE_CHECKING:
    from ni_platform.tracking.run_record import RunRecord

SLICE = "value"
"""The slice of a run's figures that say what its model is worth."""
FOLDER = "value"
REPORT = f"{FOLDER}/report.html"
_TOLD = (1_000, 2_000)
"""The larger of these that there are curves for is told in words."""
PLOT = "plots/value.png"


@dataclass(frozen=True, kw_only=True, eq=False)
class Valued:
    """What a model is worth, and what it was computed with."""

    figures: Figures
    prior: Prior | None
    """What the model believes, by past tests; None where they are too few."""
    without: Prior
    """What is believed of arms without it."""
    config: ReplayConfig

    @property
    def traffic(self) -> int:
        """The traffic that is told: the largest that at least half of all tests have, or 0."""
        table = self.figures.by_traffic
        tests = table.groupby("traffic")["tests"].first()
        return max(one for one, count in tests.items() if 2 * count >= tests[0])  # type: ignore

    def row(self, policy: str, traffic: int) -> dict[Any, Any] | None:
        """A figure: value, low, high, tests; None where it is not defined."""
        table = self.figures.by_traffic
        found = table[(table["policy"] == policy) & (table["traffic"] == traffic)]
        found = found[found["value"].notna()]
        return None if found.empty else found.iloc[0].to_dict()

    def sentences(self) -> list[str]:
        """What came out, in plain words."""
        return [*_alone(self), *_combined(self), *_top(self), *_notes(self)]


def record_value(record: RunRecord, valued: Valued) -> None:
    """Write everything; what an earlier call wrote is replaced."""
    found = valued.figures
    record.log_table(found.by_traffic, f"{FOLDER}/by_traffic.parquet")
    record.log_table(found.saved, f"{FOLDER}/saved.parquet")
    record.log_table(found.top, f"{FOLDER}/top.parquet")
    sentences = valued.sentences()
    summary = {
        "config": asdict(valued.config),
        "prior": None if valued.prior is None else asdict(valued.prior),
        "without": asdict(valued.without),
        "sentences": sentences,
    }
    record.log_json(summary, f"{FOLDER}/summary.json")
    page = value_report(record.run_name, record.run_id, sentences, found)
    record.log_text(page, REPORT)
    figure = value_figure(found.by_traffic)
    if figure is not None:
        record.log_figure(figure, PLOT)
    rows = metric_rows(found)
    add_metrics(record, rows)
    # One alone: MLflow draws a chart of each.
    model = rows.loc[rows["metric"] == "model", "value"].iloc[0]
    record.log_metrics({f"{SLICE}/model": model})
    record.set_tags({VALUE_TAG: " ".join(sentences)})


def metric_rows(found: Figures) -> pd.DataFrame:
    """Figures as rows of a run's table: `model` without a test, `combined_2000`, `saved_2000`."""
    rows: list[tuple[object, ...]] = []
    for row in found.by_traffic.to_dict("records"):
        name = row["policy"] if not row["traffic"] else f"{row['policy']}_{row['traffic']}"
        rows.append((SLICE, name, row["value"], row["low"], row["high"], row["tests"]))
    for row in found.saved.to_dict("records"):
        name = f"saved_{row['traffic']}"
        rows.append((SLICE, name, row["saved"], row["low"], row["high"], row["tests"]))
    for row in found.top.to_dict("records"):
        share = (row["share"], row["share_low"], row["share_high"])
        lost = (row["lost"], row["lost_low"], row["lost_high"])
        rows.append((SLICE, f"top_{row['k']}", *share, row["tests"]))
        rows.append((SLICE, f"top_{row['k']}_lost", *lost, row["tests"]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _alone(valued: Valued) -> list[str]:
    row = valued.row("model", 0)
    if row is None:
        return []
    said = (
        f"On {row['tests']:,.0f} held-out A/B tests the model's first choice, without a test, got "
        f"{clicks(row)} clicks per 1,000 impressions against all arms alike."
    )
    if not row["low"] > 0:
        return [f"{said} That is not more than chance can give."]
    same = valued.figures.saved
    same = same[same["traffic"] == 0]
    if len(same):
        row = same.iloc[0].to_dict()
        said += (
            f" A uniform test finds as much with {impressions(row, 'needed')} impressions"
            f" (95 %: {row['low']:,.0f} to {row['high']:,.0f})."
        )
    return [said]


def _combined(valued: Valued) -> list[str]:
    traffic = valued.traffic
    winner, both = valued.row("winner", traffic), valued.row("combined", traffic)
    if winner is None or both is None:
        return []
    said = (
        f"A test of {traffic:,} impressions got {clicks(winner)}, the same test with the model's "
        f"prior {clicks(both)}"
    )
    less = valued.row("combined_less_winner", traffic)
    if less is not None:
        said += f", a difference of {clicks(less)}"
    said += f" ({both['tests']:,.0f} tests)."
    saved = valued.figures.saved
    saved = saved[saved["traffic"].isin(_TOLD)]
    if len(saved):
        row = saved.iloc[-1].to_dict()
        low, high = row["traffic"] + row["low"], row["traffic"] + row["high"]
        said += (
            f" With the prior, a test of {row['traffic']:,.0f} impressions finds as good an arm as "
            f"one of {impressions(row, 'needed')} without it (95 %: {low:,.0f} to {high:,.0f})."
        )
    return [said]


def _top(valued: Valued) -> list[str]:
    top = valued.figures.top
    if top.empty:
        return []
    row = top.iloc[min(1, len(top) - 1)].to_dict()
    return [
        f"In tests of more than {row['k']:.0f} arms the winner was among the model's first "
        f"{row['k']:.0f} in {100 * row['share']:.0f} % of {row['tests']:,.0f} tests (by chance "
        f"{100 * row['by_chance']:.0f} %); not to test the others gives away {row['lost']:.2g} "
        "clicks per 1,000."
    ]


def _notes(valued: Valued) -> list[str]:
    if valued.prior is None:
        return [
            f"What combines model and test is not given: fewer than {FEWEST_TESTS} validation A/B "
            "tests show how far to trust the model; train with a larger validation part."
        ]
    return []


def impressions(row: Mapping[Any, Any], name: str) -> str:
    """Impressions that are needed or saved, as text; "at least" where the curves end before."""
    end = row["most"] + (row["traffic"] if name == "needed" else 0)
    return f"{'at least ' if row[name] >= end else ''}{row[name]:,.0f}"

"""New results into a dataset, beside the predictions made before them: the way of `ni outcomes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ni_platform.data.appending import Appended, append_results
from ni_platform.data.dataset import Dataset
from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.data.reading.days import DayOrder
from ni_platform.errors import TrackingError
from ni_platform.hindsight.figures import (
    FEWEST_TESTS,
    RATE_COVERAGE,
    SHOWN,
    Agreement,
    agreement,
    difference,
    enough,
    figures_of,
    followed_plans,
    shadow_difference,
    with_outcomes,
)
from ni_platform.hindsight.joining import Joined, join, latest, shown_since
from ni_platform.metrics.catalogue import METRICS
from ni_platform.metrics.evaluation import estimate_in
from ni_platform.plans.record import recorded_plans
from ni_platform.prediction_log.table import read_log
from ni_platform.tracking.metric_table import read_metrics
from ni_platform.tracking.store import Store

_HEADLINES = ("pairwise_within_distinct", "pairwise_within", "pairwise_accuracy")
_LABELS = {RATE_COVERAGE: "rates within their 95 % interval"}


def label(metric: str) -> str:
    """What a figure is called."""
    return _LABELS.get(metric) or METRICS[metric].label


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """What came of predictions."""

    dataset: Dataset
    appended: Appended | None
    """What the results added; None where there were none to add."""
    joined: Joined
    figures: pd.DataFrame
    """A row per model and figure: model_run, model, shadow, metric, value, low, high,
    contents, then, its interval then_low and then_high, and difference, difference_low,
    difference_high. `then` is what the model's run measured on its test part; nan where it did
    not."""
    plans: pd.DataFrame
    """See `followed_plans`."""
    agreement: Agreement | None
    shadows: pd.DataFrame
    """A row per model in use and shadow: used, shadow, metric, difference, low, high, contents."""
    predictions: pd.DataFrame = field(repr=False)
    """A row per model and content: what was predicted, when, and what happened."""

    def sentences(self) -> list[str]:
        """What came out, in plain words."""
        return [*self._joined(), *self._held(), *self._followed(), *self._shadowed()]

    def _joined(self) -> list[str]:
        said = []
        if self.appended is not None and self.appended.before is None:
            said.append(
                "The results add nothing to the dataset, so all of it that has a day is compared."
            )
        elif self.appended is not None:
            new, changed = int(self.appended.new.sum()), int(self.appended.changed.sum())
            said.append(f"Added {new:,} contents; {changed:,} have new counts.")
            if fell := int(self.appended.fell.sum()):
                said.append(
                    f"Counts of {fell:,} contents fell: if the results are older than the dataset, "
                    "add the newest ones again."
                )
        contents = self.predictions["row"].nunique()
        said.append(
            f"{contents:,} contents with an outcome had been predicted before it, in "
            f"{self.predictions['ab_test'].nunique():,} randomised A/B tests."
        )
        if self.joined.late:
            said.append(
                f"{self.joined.late:,} predictions were made when the content had been shown "
                "already, and do not count."
            )
        if self.joined.undated:
            said.append(
                f"Of {self.joined.undated:,} contents it is not known since when they were shown, "
                "so that no prediction of them counts: give results a column of days."
            )
        return [*said, *self.joined.unknown]

    def _held(self) -> list[str]:
        said = []
        for row in self.figures.to_dict("records"):
            if row["metric"] != self._headline(row["model_run"]):
                continue
            words = f"{row['model']} ordered {100 * row['value']:.1f} % of pairs rightly"
            if np.isfinite(row["low"]):
                words += f" ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
            if np.isfinite(row["then"]):
                words += f", {100 * row['then']:.1f} % when it was tested"
            if row["difference_high"] < 0:
                words += ": it did not hold"
            elif row["difference_low"] > 0:
                words += ": it is better than it was"
            elif np.isfinite(row["difference_low"]):
                words += ": no difference beyond chance"
            elif np.isfinite(row["then"]):
                words += f": whether it held is told from {FEWEST_TESTS} A/B tests on"
            said.append(f"{words}.")
        return said

    def _headline(self, run: str) -> str | None:
        """The figure by which a model is known: within A/B tests where there are such pairs."""
        own = set(self.figures.loc[self.figures["model_run"] == run, "metric"])
        return next((name for name in _HEADLINES if name in own), None)

    def _followed(self) -> list[str]:
        if self.agreement is None:
            return []
        found = self.agreement
        return [
            f"Of {found.plans:,} plans that were followed, the first choice won in {found.agreed:,}"
            f" ({100 * found.low:.0f} to {100 * found.high:.0f} %; by chance "
            f"{100 * found.by_chance:.0f} %), {self.plans['gain'].mean():+.2f} clicks per 1,000 "
            "impressions against all tested drafts alike."
        ]

    def _shadowed(self) -> list[str]:
        said = []
        for row in self.shadows.to_dict("records"):
            if not np.isfinite(row["low"]):
                continue
            verdict = "no difference beyond chance"
            if row["low"] > 0:
                verdict = "the shadow is better"
            elif row["high"] < 0:
                verdict = "the shadow is worse"
            said.append(
                f"On {row['contents']:,} contents that both scored, {row['shadow']} orders "
                f"{100 * row['difference']:+.1f} points of pairs more than {row['used']} "
                f"({100 * row['low']:+.1f} to {100 * row['high']:+.1f}): {verdict}."
            )
        return said


def judge_outcomes(
    store: Store,
    data: str | Path,
    results: Sequence[str | Path] = (),
    *,
    logs: Sequence[str | Path] = (),
    images: str | Path | None = None,
    dates: DayOrder | None = None,
    form: CsvFormat | None = None,
    say: Say = lambda note: None,
) -> Outcomes:
    """Add results to a dataset, and compare them with what models had predicted before.

    Args:
        store: Where plans, runs and models are.
        data: Dataset folder.
        results: Files to add, see `append_results`. Contents count that are new or have new counts;
            without results, or where they add nothing, all of the dataset that have a day.
        logs: Folders or `s3://` prefixes that served models have logged predictions to; recorded
            plans count in any case.
        images: Folder of the new contents' pictures.
        dates: What 3/4/2026 means.
        form: How text tables are written.
        say: Told what was found out about the files.

    Raises:
        DatasetError: Results do not fit, or a log cannot be read. Nothing is added then.
        TrackingError: The store does not answer.
    """
    store.require_answer()
    log = pd.concat([recorded_plans(store), *map(read_log, logs)], ignore_index=True)
    now = pd.Timestamp(datetime.now(UTC))
    appended = None
    if results:
        appended = append_results(results, data, images=images, dates=dates, form=form, say=say)
    dataset = Dataset.open(data) if appended is None else appended.dataset
    new, asked = np.zeros(len(dataset), dtype=bool), np.ones(len(dataset), dtype=bool)
    if appended is not None and appended.before is not None:
        new, asked = appended.new, appended.new | appended.changed
    joined = join(store, log, dataset, shown_since(dataset, new, now), asked)
    table = with_outcomes(dataset, latest(joined.table))
    planned = joined.table[~joined.table["shadow"] & joined.table["share"].notna()]
    plans = followed_plans(with_outcomes(dataset, planned))
    return Outcomes(
        dataset=dataset,
        appended=appended,
        joined=joined,
        figures=_figures(store, table),
        plans=plans,
        agreement=agreement(plans),
        shadows=_shadows(table),
        predictions=table,
    )


def _figures(store: Store, table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for run, own in table.groupby("model_run"):
        found, then = figures_of(own.reset_index(drop=True)), _measured(store, str(run))
        model, shadow = _named(own["model"]), bool(own["shadow"].all())
        for metric in SHOWN:
            if metric not in found:
                continue
            now = found[metric]
            before = None if then is None else estimate_in(then, f"test/{metric}")
            row = {"model_run": run, "model": model, "shadow": shadow, "metric": metric}
            row |= {"value": now.value, "low": now.low, "high": now.high}
            row["contents"] = found["n_contents"].value
            if before is not None:
                less = difference(now, before)
                row |= {"then": before.value, "then_low": before.low, "then_high": before.high}
                row |= {"difference": less.value}
                if enough(own):
                    row |= {"difference_low": less.low, "difference_high": less.high}
            rows.append(row)
    columns = ["model_run", "model", "shadow", "metric", "value", "low", "high", "contents"]
    columns += ["then", "then_low", "then_high"]
    columns += ["difference", "difference_low", "difference_high"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[4:], float))


def _named(models: pd.Series) -> str:
    """The name of a model in the registry, where some of its predictions say it."""
    known = models.dropna().unique().tolist() or ["a model without a name"]
    return str(next((name for name in known if not name.startswith("models:/m-")), known[0]))


def _measured(store: Store, run: str) -> pd.DataFrame | None:
    """Figures of the run that trained a model; None where it is gone."""
    try:
        return read_metrics(store, run)
    except TrackingError:
        return None


def _shadows(table: pd.DataFrame) -> pd.DataFrame:
    named = table.groupby("model_run")["model"].agg(_named)
    used, beside = (
        table.loc[table["shadow"] == shadow, "model_run"].unique() for shadow in (False, True)
    )
    rows = []
    for one, other in product(used, beside):
        metric, found, contents = shadow_difference(table, one, other)
        if one != other and contents:
            figures = (found.value, found.low, found.high, contents)
            rows.append((named[one], named[other], metric, *figures))
    columns = ["used", "shadow", "metric", "difference", "low", "high", "contents"]
    return pd.DataFrame(rows, columns=columns)

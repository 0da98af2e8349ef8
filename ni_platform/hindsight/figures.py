"""How good predictions were on what came after them, beside what was measured at promotion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit
from scipy.stats import binomtest

from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import ab_test_codes
from ni_platform.data.overdispersion import (
    dataset_overdispersion,
    empirical_logit,
    logit_noise,
)
from ni_platform.evaluation import outcome_table
from ni_platform.metrics.evaluation import evaluate, paired_difference
from ni_platform.metrics.intervals import Estimate, Resampling
from ni_platform.metrics.pair_probability import PredictedPairs, pair_probability_metrics
from ni_platform.metrics.pairs import distinct_pairs
from ni_platform.metrics.scored import Observed, judged
from ni_platform.models.uncertainty import Z_95

RATE_COVERAGE = "rate_coverage"
"""Share of observed rates within the 95 % interval that a plan gave, the noise of clicks added."""
FEWEST_TESTS = 5
"""A/B tests from which on differences have an interval."""
SHOWN = (
    "pairwise_within_distinct", "pairwise_within", "pairwise_accuracy", "calibration_slope",
    "rmse", "pair_log_loss", "pair_slope", "pair_coverage", RATE_COVERAGE,
)  # fmt: skip


def with_outcomes(dataset: Dataset, predictions: pd.DataFrame) -> pd.DataFrame:
    """Predictions beside what happened to their contents, as the table of an evaluation.

    Contents from an A/B test without the planned shares of impressions, or never shown, are left
    out. How noisy rates are is found from all A/B tests of the dataset, as those that were
    predicted may be few.
    """
    predictions = predictions.reset_index(drop=True)  # some of a table keep their old numbers
    rows = predictions["row"].to_numpy()
    tested = np.flatnonzero(dataset.randomised_test.notna())
    about = pd.DataFrame(
        {
            "content_key": predictions["input_key"],
            "content_id": dataset.content_id.astype(str).to_numpy()[rows],
            "group": predictions["input_key"],
        }
    )
    found = outcome_table(dataset, about, rows).assign(
        overdispersion=dataset_overdispersion(dataset, tested)
    )
    kept = ["model_run", "model", "shadow", "source", "request", "place", "time", "prediction"]
    kept += ["low", "high", "share", "covariance", "row"]
    draft = predictions["content_id"].rename("draft")
    table = pd.concat([found, predictions[kept], draft], axis=1)
    return judged(table).reset_index(drop=True)


def figures_of(table: pd.DataFrame, replicates: int = 1000) -> dict[str, Estimate]:
    """Figures of one model's predictions: those of `SHOWN` that are defined, and counts.

    Args:
        table: As `with_outcomes` gives it, a row per content.
        replicates: Of the bootstrap, which draws whole A/B tests.
    """
    if len(table) < 2:
        return {"n_contents": Estimate(float(len(table)))}
    found = evaluate(table["prediction"], Observed.of(table), replicates=replicates)
    found |= _pair_figures(table, replicates) | _rate_coverage(table, replicates)
    names = (*SHOWN, "n_contents", "n_tests", "n_pairs_within")
    return {name: found[name] for name in names if name in found and np.isfinite(found[name].value)}


def difference(now: Estimate, then: Estimate) -> Estimate:
    """A figure on new contents less that on other contents, with its 95 % interval.

    The two are independent, so that the distances to their limits add up in squares (Zou and Donner
    2008, "Construction of confidence limits about effect measures", section 2).
    """
    value = now.value - then.value
    return Estimate(
        value,
        value - float(np.hypot(now.value - now.low, then.high - then.value)),
        value + float(np.hypot(now.high - now.value, then.value - then.low)),
    )


def shadow_difference(table: pd.DataFrame, used: str, shadow: str) -> tuple[str, Estimate, int]:
    """Pairwise accuracy of a shadow less that of the model in use, on contents that both scored.

    Args:
        table: As `with_outcomes` gives it, a row per model and content.
        used: Run of the model in use.
        shadow: Run of the shadow.

    Returns:
        The metric's name, the difference (without an interval where tests are too few, see
        `enough`), and on how many contents.
    """
    own = table[table["model_run"] == used].set_index("row")
    other = table[table["model_run"] == shadow].set_index("row")
    both = own.index.intersection(other.index)
    own, other = own.loc[both], other.loc[both]
    within = own["ab_test"].dropna().duplicated().any()
    metric = "pairwise_within" if within else "pairwise_accuracy"
    if len(both) < 2:
        return metric, Estimate(float("nan")), len(both)
    found = paired_difference(metric, other["prediction"], own["prediction"], Observed.of(own))
    return metric, found if enough(own.reset_index()) else Estimate(found.value), len(both)


def enough(table: pd.DataFrame) -> bool:
    """Whether rows are of enough A/B tests for the interval of a difference.

    Of two that both went well, all replicates are alike, as if nothing were uncertain.
    """
    return len(np.unique(_clusters(table))) >= FEWEST_TESTS


def _clusters(table: pd.DataFrame) -> np.ndarray:
    """Codes of A/B tests [N], each other content by itself."""
    name = table["ab_test"].where(table["ab_test"].notna(), table["row"].map(lambda row: (row,)))
    return np.asarray(pd.factorize(name)[0])


def _pair_figures(table: pd.DataFrame, replicates: int) -> dict[str, Estimate]:
    """How probabilities of pairs were, of drafts that one plan told of and one test showed."""
    table = table[table["covariance"].notna() & table["ab_test"].notna()].reset_index(drop=True)
    together = table["ab_test"].astype(str) + "\n" + table["request"].astype(str)
    # Of equal inputs nobody predicts a winner.
    first, second = distinct_pairs(ab_test_codes(together), table["content_key"].to_numpy())
    if not len(first):
        return {}
    logits = logit(table["prediction"].to_numpy(np.float64))
    rows, place = table["covariance"].tolist(), table["place"].to_numpy()
    variance = [
        rows[i][place[i]] + rows[j][place[j]] - 2 * rows[i][place[j]] for i, j in zip(first, second)
    ]
    pairs = PredictedPairs(
        first=first,
        second=second,
        difference=logits[first] - logits[second],
        variance=np.maximum(variance, 1e-12),
        overdispersion=float(table["overdispersion"].iloc[0]),
    )
    counts = table["clicks"].to_numpy(np.float64), table["impressions"].to_numpy(np.float64)
    return pair_probability_metrics(pairs, *counts, _clusters(table), replicates=replicates)


def _rate_coverage(table: pd.DataFrame, replicates: int) -> dict[str, Estimate]:
    table = table[table["low"].notna() & table["high"].notna()].reset_index(drop=True)
    if table.empty:
        return {}
    low, high = logit(table["low"].to_numpy()), logit(table["high"].to_numpy())
    counts = table["clicks"].to_numpy(np.float64), table["impressions"].to_numpy(np.float64)
    noise = table["overdispersion"].to_numpy(np.float64) * logit_noise(*counts)
    reach = Z_95 * np.sqrt(((high - low) / (2 * Z_95)) ** 2 + noise)
    inside = (np.abs(empirical_logit(*counts) - (low + high) / 2) <= reach).astype(np.float64)
    resampling = Resampling.of(_clusters(table), replicates=replicates, seed=0)
    return {RATE_COVERAGE: resampling.mean(inside).estimate()}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of recommendations that were followed: how often the first choice won."""

    plans: int
    agreed: int
    low: float
    """Exact 95 % interval of the share (Clopper and Pearson 1934)."""
    high: float
    by_chance: float
    """The share that a draft drawn blindly from the tested ones would win."""


def followed_plans(joined: pd.DataFrame) -> pd.DataFrame:
    """What became of each plan of which a randomised A/B test showed two drafts or more.

    Drafts with equal inputs are one, and arms with equal inputs are pooled. Of several plans that a
    model made for one test that counts of which most drafts were shown, and of these the last.

    Columns: request (the plan's run), model, ab_test, shown (drafts), first (draft with the highest
    prediction), best (draft with the highest observed rate), agreed, chance (that a blind choice
    agrees) and gain (clicks per 1,000 impressions of the first against all shown drafts alike).

    Args:
        joined: As `with_outcomes` gives it, of the drafts that plans wanted to be tested.
    """
    found = []
    tested = joined[joined["ab_test"].notna()]
    for (model, test), planned in tested.groupby(["model", "ab_test"], dropna=False):
        by_plan = planned.groupby("request").agg(
            shown=("content_key", "nunique"), at=("time", "max")
        )
        request = by_plan.sort_values(["shown", "at"], kind="stable").index[-1]
        own = planned[planned["request"] == request].drop_duplicates(["content_key", "row"])
        arms = own.groupby("content_key", sort=False).agg(
            draft=("draft", "first"), prediction=("prediction", "first"),
            clicks=("clicks", "sum"), impressions=("impressions", "sum"),
        )  # fmt: skip
        if len(arms) < 2:
            continue
        rate = (arms["clicks"] / arms["impressions"]).to_numpy()
        first, draft = int(np.argmax(arms["prediction"])), arms["draft"].tolist()
        found.append(
            {
                "request": request,
                "model": model,
                "ab_test": test,
                "shown": len(arms),
                "first": draft[first],
                "best": draft[int(rate.argmax())],
                "agreed": bool(rate[first] == rate.max()),
                "chance": float((rate == rate.max()).mean()),
                "gain": 1000 * float(rate[first] - rate.mean()),
            }
        )
    columns = ["request", "model", "ab_test", "shown", "first", "best", "agreed", "chance", "gain"]
    return pd.DataFrame(found, columns=columns)


def agreement(plans: pd.DataFrame) -> Agreement | None:
    """Count how often the first choice of followed plans won; None where there are none."""
    if plans.empty:
        return None
    agreed = int(plans["agreed"].sum())
    interval = binomtest(agreed, len(plans)).proportion_ci(0.95, method="exact")
    return Agreement(
        plans=len(plans),
        agreed=agreed,
        low=float(interval.low),
        high=float(interval.high),
        by_chance=float(plans["chance"].mean()),
    )

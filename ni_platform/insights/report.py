"""The report of a run's insights: one HTML page that loads nothing from elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.correlation import Agreement
from ni_platform.insights.evidence import explained, short
from ni_platform.insights.explained_content import ExplainedContent, explained_content
from ni_platform.insights.insights import Insights, picture_of
from ni_platform.insights.judging import ModalityInsights
from ni_platform.insights.patch_figure import patch_alt_text, patch_figure
from ni_platform.insights.rank_scores import MODALITY_OF, supported, top_and_bottom
from ni_platform.insights.saliency_figure import examples
from ni_platform.reporting.page import Picture, Table, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"word": "Words", "phrase": "Phrases", "attribute": "Attributes", "wording": "Wording"}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the insights are of."""

    run_name: str
    run_id: str
    dataset: Dataset
    worth: str | None = None
    """What the model is worth in clicks, in words; None if nobody has measured it."""


def insights_report(subject: Subject, insights: Insights, config: InsightsConfig) -> str:
    """Return the page."""
    right, pairs = insights.ranked_right
    return render(
        "insights.html",
        subject=subject,
        config=config,
        explained=len(insights.rows),
        held_out=int(np.isin(insights.parts, ("in_domain", "out_of_domain")).sum()),
        ranked_pairs=pairs,
        ranked_right=right / pairs if pairs else None,
        trust=[_trust(name, found) for name, found in insights.modalities.items()],
        trust_parts=_trust_parts(insights),
        agreement=_agreement_picture(insights),
        agreements=[_agreements(*each, config) for each in insights.modalities.items()],
        withheld=insights.withheld,
        recommendations=[
            _recommendations(kind, insights, config)
            for kind in KINDS
            if kind in insights.scores and insights.withheld is None
        ],
        rule=_rule(config),
        patches=_patches(subject, insights, config),
        examples=[_example(subject, insights, place) for place in examples(insights)],
    )


def _agreement_picture(insights: Insights) -> Picture | None:
    """Insight correlations; None where no randomised test gives any."""
    every = [each for found in insights.modalities.values() for each in found.all_pairs.values()]
    if not any(math.isfinite(agreed.correlation.value) for agreed in every):
        return None
    return Picture.of(
        agreement_figure(insights),
        "Insight correlation of each method and modality with its 95 % interval.",
        "Insight correlation: 0 is chance. Filled: every pair of arms; hollow: each control "
        "against its best treatment.",
    )


def agreement_figure(insights: Insights) -> Figure:
    """Insight correlations with their intervals, a panel per modality and a row per method."""
    from matplotlib.figure import Figure

    found = insights.modalities
    figure = Figure(figsize=(2.2 + 2.6 * len(found), 2.6), layout="constrained")
    panels = figure.subplots(1, len(found), sharex=True, squeeze=False)[0]
    for axes, (name, modality) in zip(panels, found.items()):
        methods = list(modality.all_pairs)
        for shift, filled, agreed in (
            (-0.12, True, modality.all_pairs),
            (0.12, False, modality.control_against_best),
        ):
            for place, method in enumerate(methods):
                if method in agreed:
                    _interval(axes, place + shift, agreed[method], filled)
        axes.axvline(0, color="grey", linewidth=0.8)
        axes.set_yticks(range(len(methods)), [method.replace("_", " ") for method in methods])
        axes.invert_yaxis()
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("insight correlation")
        axes.tick_params(labelsize=8)
    return figure


def _interval(axes: Any, place: float, agreed: Agreement, filled: bool) -> None:
    rho = agreed.correlation
    if not math.isfinite(rho.value):
        return
    axes.plot(rho.value, place, "o", color="#005ab5", markersize=5,
              markerfacecolor="#005ab5" if filled else "white")  # fmt: skip
    if math.isfinite(rho.low):
        axes.plot([rho.low, rho.high], [place, place], color="#005ab5", linewidth=1.2)


def _trust(name: str, found: ModalityInsights) -> dict[str, Any]:
    score = found.trust.score
    return {
        "modality": name,
        "value": "not enough evidence" if score is None else f"{score:.0f} of 100",
        "method": _spaced(found.method),
        "tests": found.trust.tests,
    }


def _trust_parts(insights: Insights) -> Table:
    heads = ["modality", "method", "trust", "correlation", "direction", "unseen domains", "sanity",
             "held-out tests"]  # fmt: skip
    rows = [
        [
            name,
            _spaced(found.method),
            found.trust.score,
            found.trust.correlation,
            found.trust.direction,
            found.trust.transfer,
            found.trust.sanity,
            found.trust.tests,
        ]
        for name, found in insights.modalities.items()
    ]
    return Table.of(heads, rows, _figure)


def _agreements(name: str, found: ModalityInsights, config: InsightsConfig) -> dict[str, Any]:
    tests = max(agreed.tests for agreed in found.all_pairs.values())
    if not found.platform and tests < config.support.tests:
        return {"name": name, "tests": tests, "table": None}
    heads = ["method", "pairs of arms", "correlation", "95 %", "p", "higher arm won", "95 % ",
             "pairs", "tests"]  # fmt: skip
    rows = [
        [
            _spaced(method),
            label,
            agreed.correlation.value,
            _range(agreed.correlation.low, agreed.correlation.high),
            agreed.p_value,
            _percent(agreed.pairwise.value),
            _range(agreed.pairwise.low, agreed.pairwise.high, percent=True),
            agreed.pairs,
            agreed.tests,
        ]
        for label, agreements in (
            ("all pairs", found.all_pairs),
            ("control against best", found.control_against_best),
            ("platform delivery", found.platform),
        )
        for method, agreed in agreements.items()
    ]
    return {"name": name, "tests": tests, "table": Table.of(heads, rows, _figure)}


def _recommendations(kind: str, insights: Insights, config: InsightsConfig) -> dict[str, Any]:
    scores = supported(insights.scores[kind], config.support)
    if scores.empty:
        return {"heading": KINDS[kind], "together": None}
    judged = insights.modalities[MODALITY_OF[kind]]
    return {
        "heading": KINDS[kind],
        "unit": _unit(judged),
        "evidence": explained(scores["evidence"]),
        "together": _best_and_worst(scores[scores["domain"].isna()], judged.in_points),
        "domains": [
            (str(domain), _best_and_worst(own, judged.in_points))
            for domain, own in scores[scores["domain"].notna()].groupby("domain")
        ],
    }


def _unit(judged: ModalityInsights) -> str:
    method = _spaced(judged.method)
    if judged.in_points:
        return f"Changes of the predicted success rate in percentage points, by {method}."
    return f"Contributions in the unit of {method}, which are no changes of the success rate."


def _rule(config: InsightsConfig) -> str:
    return (
        f"Shown are those in at least {config.support.contents} contents of at least "
        f"{config.support.tests} A/B tests whose interval leaves out 0 and whose direction held in "
        f"at least {config.support.agreement:.0%} of the past pairs that bear on it."
    )


def _best_and_worst(scores: pd.DataFrame, in_points: bool) -> dict[str, Table]:
    best, worst = top_and_bottom(scores)
    return {"best": _score_table(best, in_points), "worst": _score_table(worst, in_points)}


def _score_table(scores: pd.DataFrame, in_points: bool) -> Table:
    scale = 100 if in_points else 1
    rows = [
        [
            row["feature"],
            float(f"{scale * row['score']:.2g}"),
            _range(scale * row["low"], scale * row["high"]),
            row["contents"],
            row["tests"],
            f"{round(row['agreed'] * row['of'])} of {row['of']} pairs, {row['agreed_tests']} tests"
            if row["of"]
            else "no pair",
            short(row["evidence"]),
        ]
        for row in scores.to_dict("records")
    ]
    unit = "points" if in_points else "score"
    return Table.of(
        ["", unit, "95 %", "contents", "tests", "held in past tests", "evidence"], rows, _figure
    )


def _patches(subject: Subject, insights: Insights, config: InsightsConfig) -> Picture | None:
    found = insights.patches
    if found is None or insights.withheld is not None:
        return None
    judged = insights.modalities["image"]
    return Picture.of(
        patch_figure(found, picture_of(subject.dataset, insights.rows), judged.in_points),
        patch_alt_text(found, judged.in_points),
        "Patches of pictures, sampled equally from the clusters that raise and lower the predicted "
        f"rate most. {_unit(judged)} {_rule(config)} "
        + ". ".join(explained(found.clusters["evidence"])),
    )


def _example(subject: Subject, insights: Insights, place: int) -> ExplainedContent:
    dataset, row = subject.dataset, int(insights.rows[place])
    observed = dataset.success_rate[row]
    facts = [f"predicted {_percent(insights.explanations.predictions[place])}"]
    if math.isfinite(observed):
        facts.append(f"observed {_percent(observed)} of {dataset.impressions[row]:,.0f}")
    facts.append(_spaced(str(insights.parts[place])))
    return explained_content(
        str(dataset.content_id.iloc[row]),
        insights.explanations,
        place,
        {name: found.method for name, found in insights.modalities.items()},
        picture_of(dataset, insights.rows),
        facts,
    )


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _figure(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %" if math.isfinite(value) else "–"


def _range(low: float, high: float, *, percent: bool = False) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return "–"
    if percent:
        return f"{100 * low:.0f} to {100 * high:.0f} %"
    return f"{low:.2g} to {high:.2g}"

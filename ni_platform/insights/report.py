"""The report of a run's insights: one HTML page that loads nothing from elsewhere."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.html_page import page, picture, table
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.correlation import Agreement
from ni_platform.insights.insights import Insights, ModalityInsights, picture_of
from ni_platform.insights.patch_figure import patch_alt_text, patch_figure
from ni_platform.insights.patches import as_image
from ni_platform.insights.rank_scores import supported, top_and_bottom
from ni_platform.insights.saliency import coloured_words, overlay, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EXAMPLES = 3
"""Contents shown of those with the highest predictions, and of those with the lowest."""

_STYLE = """
.example { display: grid; grid-template-columns: 22rem 1fr; gap: 1rem; margin: .8rem 0;
           border-top: 1px solid #d9dee4; padding-top: .8rem; }
.example p { margin: .2rem 0; } .text { font-size: 1.05rem; } sup { font-size: .7em; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(28rem, 1fr)); gap: 1rem; }
h3 { font-size: 1rem; margin: .8rem 0 .2rem; } summary { cursor: pointer; }
"""

KINDS = {"word": "Words", "phrase": "Phrases", "attribute": "Attributes"}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the insights are of."""

    run_name: str
    run_id: str
    dataset: Dataset


def insights_report(subject: Subject, insights: Insights, config: InsightsConfig) -> str:
    """Return the page."""
    dataset = subject.dataset
    held_out = int(np.isin(insights.parts, ("in_domain", "out_of_domain")).sum())
    parts = [
        f"<h1>Insights of {escape(subject.run_name)}</h1>",
        f'<p class="note">Run {escape(subject.run_id)} on {escape(dataset.manifest.name)}: '
        f"{len(insights.rows):,} contents explained, {held_out:,} of them held out from "
        "training.</p>",
        _ranking(insights),
        _trust(insights),
        "<h2>Do the explanations agree with what happened?</h2>",
        _agreement_note(),
        _drawn(
            agreement_figure(insights),
            "Insight correlation of each method and modality with its 95 % interval.",
            "Insight correlation: 0 is chance. Filled: every pair of arms; hollow: each control "
            "against its best treatment.",
        ),
        *(_agreements(name, found, config) for name, found in insights.modalities.items()),
        *(_recommendations(kind, insights, config) for kind in KINDS if kind in insights.scores),
        _patches(subject, insights, config),
        _examples(subject, insights),
        _definitions(config),
    ]
    return page(f"Insights of {subject.run_name}", parts, _STYLE)


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


def _drawn(figure: Figure, alt: str, caption: str) -> str:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    return picture(out.getvalue(), alt, caption)


def _ranking(insights: Insights) -> str:
    """How well the model ranks what is explained: explanations are no better than it."""
    right, pairs = insights.ranked_right
    if not pairs:
        return ""
    share = right / pairs
    warning = ""
    if share <= 0.5:
        warning = " <b>That is no better than a coin: do not act on what follows.</b>"
    return (
        f'<p class="note">Of {pairs:,} pairs of arms of held-out A/B tests explained here the '
        f"model ranks {share:.0%} as they came out.{warning}</p>"
    )


def _trust(insights: Insights) -> str:
    boxes = []
    for name, found in insights.modalities.items():
        trust = found.trust
        value = "not enough evidence" if trust.score is None else f"{trust.score:.0f} of 100"
        boxes.append(
            f"<div><dt>trust in {escape(name)} insights</dt><dd>{value}</dd>"
            f'<span class="note">{escape(found.method.replace("_", " "))}, '
            f"{trust.tests:,} held-out tests</span></div>"
        )
    rows = [
        [
            name,
            found.method.replace("_", " "),
            None if found.trust.score is None else found.trust.score,
            found.trust.correlation,
            found.trust.direction,
            found.trust.transfer,
            found.trust.sanity,
            found.trust.tests,
        ]
        for name, found in insights.modalities.items()
    ]
    heads = ["modality", "method", "trust", "correlation", "direction", "unseen domains", "sanity",
             "held-out tests"]  # fmt: skip
    return (
        f"<dl>{''.join(boxes)}</dl><details><summary>What the trust score is made of</summary>"
        f"{table(heads, rows, _figure)}"
        '<p class="note">trust = 100 × sanity × mean(correlation, direction, unseen domains). '
        "Correlation and direction are the lower ends of their 95 % intervals, so few tests lower "
        "them; direction and unseen domains are 2a − 1, where a is how often the arm with the "
        "higher attribution won; sanity is what networks with shuffled weights do not reach. "
        "Observed rates are noisy: even perfect explanations stay below 100.</p></details>"
    )


def _agreement_note() -> str:
    return (
        '<p class="note">For each pair of arms of a held-out A/B test: what only one arm has, and '
        "how much the method attributes to it, against the difference of the observed rates "
        "(Neural Insights, Algorithms 1, 3 and 4). p: how often outcomes permuted within tests "
        "agree as well.</p>"
    )


def _agreements(name: str, found: ModalityInsights, config: InsightsConfig) -> str:
    tests = max(agreed.tests for agreed in found.all_pairs.values())
    if tests < config.support.tests:
        return (
            f'<h3>{escape(name.capitalize())}</h3><p class="note">Not enough evidence: {tests} '
            f"held-out A/B tests have arms that differ in it, {config.support.tests} are "
            "needed.</p>"
        )
    rows = []
    for label, agreements in (
        ("all pairs", found.all_pairs),
        ("control against best", found.control_against_best),
    ):
        for method, agreed in agreements.items():
            rows.append(
                [
                    method.replace("_", " "),
                    label,
                    agreed.correlation.value,
                    _range(agreed.correlation.low, agreed.correlation.high),
                    agreed.p_value,
                    _percent(agreed.pairwise.value),
                    _range(agreed.pairwise.low, agreed.pairwise.high, percent=True),
                    agreed.pairs,
                    agreed.tests,
                ]
            )
    heads = ["method", "pairs of arms", "correlation", "95 %", "p", "higher arm won", "95 % ",
             "pairs", "tests"]  # fmt: skip
    return f"<h3>{escape(name.capitalize())}</h3>{table(heads, rows, _figure)}"


def _recommendations(kind: str, insights: Insights, config: InsightsConfig) -> str:
    every = insights.scores[kind]
    scores = supported(every, config.support)
    together = scores[scores["domain"].isna()]
    heading = f"<h2>{KINDS[kind]}</h2>"
    rule = _rule(config)
    if scores.empty:
        return f'{heading}<p class="note">None rests on enough. {rule}</p>'
    judged = insights.modalities["attributes" if kind == "attribute" else "text"]
    drawn = partial(_best_and_worst, in_points=judged.in_points)
    note = f"{_unit(judged)} {rule}"
    parts = [heading, f'<p class="note">{escape(note)}</p>', drawn(together)]
    for domain, own in scores[scores["domain"].notna()].groupby("domain"):
        parts.append(f"<details><summary>{escape(str(domain))}</summary>{drawn(own)}</details>")
    return "".join(parts)


def _unit(judged: ModalityInsights) -> str:
    method = judged.method.replace("_", " ")
    if judged.in_points:
        return f"Changes of the predicted success rate in percentage points, by {method}."
    return f"Contributions in the unit of {method}, which are no changes of the success rate."


def _rule(config: InsightsConfig) -> str:
    return (
        f"Shown are those in at least {config.support.contents} contents of at least "
        f"{config.support.tests} A/B tests whose interval leaves out 0 and whose direction held in "
        f"at least {config.support.agreement:.0%} of the past pairs that bear on it."
    )


def _best_and_worst(scores: pd.DataFrame, in_points: bool) -> str:
    best, worst = (_score_rows(part, in_points) for part in top_and_bottom(scores))
    return (
        '<div class="columns">'
        f"<div><h3>Raise the predicted rate</h3>{best}</div>"
        f"<div><h3>Lower it</h3>{worst}</div></div>"
    )


def _score_rows(scores: pd.DataFrame, in_points: bool) -> str:
    if scores.empty:
        return '<p class="note">none</p>'
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
        ]
        for row in scores.to_dict("records")
    ]
    heads = [
        "",
        "points" if in_points else "score",
        "95 %",
        "contents",
        "tests",
        "held in past tests",
    ]
    return table(heads, rows, _figure)


def _patches(subject: Subject, insights: Insights, config: InsightsConfig) -> str:
    found = insights.patches
    if found is None:
        return ""
    judged = insights.modalities["image"]
    drawn = _drawn(
        patch_figure(found, picture_of(subject.dataset, insights.rows), judged.in_points),
        patch_alt_text(found, judged.in_points),
        "Patches of pictures, sampled equally from the clusters that raise and lower the predicted "
        f"rate most. {_unit(judged)} {_rule(config)}",
    )
    return f"<h2>Patches of pictures</h2>{drawn}"


def _examples(subject: Subject, insights: Insights) -> str:
    predictions = insights.explanations.predictions
    if not len(predictions):
        return ""
    order = np.argsort(-predictions, kind="stable")
    chosen = [*order[:_EXAMPLES], *order[max(_EXAMPLES, len(order) - _EXAMPLES) :]]
    heading = (
        "<h2>Contents with the highest and the lowest predictions</h2>"
        '<p class="note">Blue and + raise the prediction, orange and − lower it.</p>'
    )
    return "".join([heading, *(_example(subject, insights, int(place)) for place in chosen)])


def _example(subject: Subject, insights: Insights, place: int) -> str:
    dataset, row = subject.dataset, int(insights.rows[place])
    explained = insights.explanations.modalities
    left = ""
    if "image" in explained:
        attribution = explained["image"].by_method[insights.modalities["image"].method][place]
        if attribution.raw.size:
            shown = as_image(picture_of(dataset, insights.rows)(place))
            name = f"picture of {dataset.content_id.iloc[row]}"
            left = picture(png(overlay(shown, attribution.raw)), name)
    right = []
    if "text" in explained:
        attribution = explained["text"].by_method[insights.modalities["text"].method][place]
        words = explained["text"].words[place]
        right.append(f'<p class="text">{coloured_words(words, attribution.raw)}</p>')
    observed = dataset.success_rate[row]
    facts = [f"predicted {_percent(insights.explanations.predictions[place])}"]
    if math.isfinite(observed):
        facts.append(f"observed {_percent(observed)} of {dataset.impressions[row]:,.0f}")
    facts.append(str(insights.parts[place]).replace("_", " "))
    right.append(f'<p class="note">{escape(str(dataset.content_id.iloc[row]))}: '
                 f"{'; '.join(facts)}</p>")  # fmt: skip
    return f'<div class="example"><div>{left}</div><div>{"".join(right)}</div></div>'


def _definitions(config: InsightsConfig) -> str:
    attribution = config.attribution
    return (
        "<h2>How it was computed</h2>"
        f'<p class="note">Methods: {escape(", ".join(attribution.methods))}. Kernel SHAP: '
        f"{attribution.samples} coalitions a content; integrated gradients: {attribution.steps} "
        f"points; pictures: a grid of {attribution.grid} cells along the longer side. pca is the "
        "first principal component of the other methods. Locations of two pictures are alike "
        f"where their features' cosine reaches {config.similarity}. Words and phrases follow the "
        "method of highest correlation on validation tests, and are judged on others. Intervals "
        "draw whole A/B tests.</p>"
    )


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

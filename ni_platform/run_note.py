"""The description of a run on MLflow's page: what was trained on what, how good, what next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ni_platform.data.assignment import EVIDENCE
from ni_platform.metrics.catalogue import METRICS
from ni_platform.metrics.skill import hardly_skilled
from ni_platform.tracking.dataset_inputs import (
    EVIDENCE_TAG,
    SAMPLE_RATIO_TABLE,
    SAMPLE_RATIO_TAG,
    recorded_parts,
)
from ni_platform.tracking.metric_table import VALUE_TAG, read_metrics
from ni_platform.tracking.run_queries import RunSummary, has_artifact, read_run
from ni_platform.tracking.run_record import RunRecord

_HEADLINE = {
    "pairwise_within_distinct": "ceiling_within_distinct",
    "pairwise_within": "ceiling_within",
    "pairwise_accuracy": None,
}
"""What a run is known by, the first that is defined, and the metric of its noise ceiling."""
_BESIDE = ("pairwise_significant", "spearman", "rmse", "calibration_slope")
_PARTS = {"training": "trained on", "validation": "chosen by", "test": "judged on"}


def describe_run(record: RunRecord, *, explainable: bool) -> None:
    """Write the run's description, in Markdown, from what is recorded of it so far.

    Figures are those of the run's own table; a later call, after insights, says more.
    `explainable` is whether its model can be asked for insights.
    """
    run = read_run(record.store, record.run_id)
    parts = recorded_parts(record.store, record.run_id)
    table = read_metrics(record.store, record.run_id)
    report = has_artifact(record.store, record.run_id, "insights/report.html")
    mismatch = has_artifact(record.store, record.run_id, SAMPLE_RATIO_TABLE)
    lines = [*_opening(run, parts, mismatch), "", *_figures(table), *_platform(table)]
    if (hardly := hardly_skilled(table)) is not None:
        lines.append(f"\nWithin A/B tests the model is **{hardly}**. Act on no advice from it.")
    if VALUE_TAG in run.tags:
        lines.append(f"\nWorth: {run.tags[VALUE_TAG]} (`value/report.html`)")
    lines += [*_trust(table), ""]
    lines += _next(run, report, explainable)
    record.describe("\n".join(lines))


def _opening(
    run: RunSummary, parts: Mapping[str, Mapping[str, float]], has_mismatch: bool
) -> Iterator[str]:
    dataset = run.tags.get("ni.dataset_name", "a dataset")
    yield f"**{run.tags.get('ni.experiment', run.run_name)}** on **{dataset}**"
    for context, counts in parts.items():
        tests = counts.get("ab_tests", 0)
        of_tests = f" of {tests:,.0f} A/B tests" if tests else ""
        # Runs of earlier versions counted all.
        if context != "training" and (counted := counts.get("counted_tests", tests)) < tests:
            of_tests += f", {counted:,.0f} of them randomised with the planned shares"
        yield f"- {_PARTS.get(context, context)} {counts['num_rows']:,.0f} contents{of_tests}"
    evidence = run.tags.get(EVIDENCE_TAG)
    if evidence is not None and evidence != "randomised":
        yield f"- **no randomised A/B test judges it**; what does is {EVIDENCE[evidence]}"
    if has_mismatch:
        yield (
            f"- {run.tags[SAMPLE_RATIO_TAG]}: those that fail are left out of the figures and "
            f"listed in `{SAMPLE_RATIO_TABLE}`"
        )
    if run.tags.get("ni.checks") == "allowed_failed":
        yield "- **data checks failed** and were allowed to: this run cannot be promoted"


def _figures(table: pd.DataFrame) -> Iterator[str]:
    test = {row["metric"]: row for row in _rows(table, "test")}
    headline = next((name for name in _HEADLINE if name in test), None)
    if headline is None:
        return
    yield "| test part | figure | 95 % interval | noise ceiling |"
    yield "| --- | --- | --- | --- |"
    for name in (headline, *_BESIDE):
        if name in test:
            ceiling = test.get(_HEADLINE.get(name) or "")
            reached = "" if ceiling is None else f"{ceiling['value']:.3f}"
            figure, label = test[name], METRICS[name].label
            yield f"| {label} | {figure['value']:.4g} | {_interval(figure)} | {reached} |"
    if (change := test.get(f"{headline}_vs_glm")) is not None:
        yield f"\n{change['value']:+.1f} % against a GLM on the same split."
    gains = {
        name.removeprefix("gain_"): row for name, row in test.items() if name.startswith("gain_")
    }
    if gains:
        yield "\nWhat each modality adds to pairwise accuracy:"
    for name, gain in gains.items():
        yield f"- {name} {gain['value']:+.3f} ({_interval(gain, sign='+')})"


def _platform(table: pd.DataFrame) -> Iterator[str]:
    for row in _rows(table, "platform"):
        if row["metric"] == "pairwise_within":
            yield (
                f"\nWithin A/B tests that a platform delivered: {row['value']:.4g} "
                f"({_interval(row)}) of {row['n']:,.0f} pairs; what was delivered together with "
                "success, not what works."
            )


def _trust(table: pd.DataFrame) -> Iterator[str]:
    trusted = {
        part.partition("/")[2]: row["value"]
        for part in table["slice"].unique()
        for row in _rows(table, part)
        if part.startswith("insight/") and row["metric"] == "trust"
    }
    if trusted:
        yield "\nTrust in what the model says works (0 to 100):"
    for name, trust in trusted.items():
        yield f"- {name}: {trust:.0f}"


def _rows(table: pd.DataFrame, part: str) -> list[dict[str, Any]]:
    return table[table["slice"] == part].to_dict("records")  # type: ignore[return-value]


def _next(run: RunSummary, report: bool, explainable: bool) -> Iterator[str]:
    run_id, place = run.run_id, run.tags.get("ni.dataset", "DIR")
    yield "**Next**"
    yield "- artifacts: `plots/`, `metrics.parquet` (every figure with its interval)"
    proven = run.tags.get(EVIDENCE_TAG, "randomised") == "randomised"
    if report:
        those = "that work" if proven else "that came together with success"
        yield f"- `insights/report.html`: words, phrases and patches {those}"
    elif explainable:
        what = "what works, and whether it held" if proven else "what came together with success"
        yield f"- `ni insights {run_id} --data {place}`: {what}"
    if run.model_uri:
        yield f"- `ni promote {run_id} --model NAME`: into the registry, if its gates pass"


def _interval(figure: Mapping[str, float], sign: str = "") -> str:
    low, high = figure["low"], figure["high"]
    return "" if low != low else f"{low:{sign}.3g} to {high:{sign}.3g}"

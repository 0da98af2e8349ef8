"""Insights as artifacts and metrics of a run: written once, read by reports and the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ni_platform.attribution.consensus import PrincipalComponent
from ni_platform.attribution.explain import Explanations
from ni_platform.data.dataset import Dataset
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.correlation import Agreement
from ni_platform.insights.evidence import recorded_evidence
from ni_platform.insights.insights import Insights, make_insights
from ni_platform.insights.judging import ModalityInsights
from ni_platform.insights.report import Subject, agreement_figure, insights_report
from ni_platform.insights.saliency_figure import saliency_figure
from ni_platform.insights.trust import Trust
from ni_platform.metrics.intervals import Estimate
from ni_platform.metrics.skill import hardly_skilled
from ni_platform.models.ensemble import Explainable
from ni_platform.narrowing import given
from ni_platform.overrides import from_dict, to_dict
from ni_platform.tracking.metric_table import COLUMNS, VALUE_TAG, add_metrics, read_metrics
from ni_platform.tracking.run_queries import (
    has_artifact,
    read_json_artifact,
    read_run,
    read_table_artifact,
)
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store

FOLDER = "insights"
SLICE = "insight"
"""What the run's table calls them: `insight/MODALITY`."""
_ATTRIBUTIONS = f"{FOLDER}/attributions.parquet"
_SCORES = f"{FOLDER}/scores.parquet"
_PATCHES = f"{FOLDER}/patches.parquet"
_PAIRS = f"{FOLDER}/pairs.parquet"
_SUMMARY = f"{FOLDER}/summary.json"
_CONFIG = f"{FOLDER}/config.json"
REPORT = f"{FOLDER}/report.html"


@dataclass(frozen=True, kw_only=True)
class StoredInsights:
    """A run's insights, read back."""

    config: InsightsConfig
    """How they were made."""
    modalities: dict[str, ModalityInsights]
    scores: pd.DataFrame
    """Rank scores: kind (word, phrase, attribute), domain (null: all together), feature, score,
    low, high, contents, tests, and how often the direction held in past tests: agreed (share),
    of (pairs), agreed_tests; and evidence, see `with_evidence`."""
    patches: pd.DataFrame | None
    """Recommended patches of pictures: direction (positive, negative), content_id, box (left, top,
    right, bottom in pixels), contribution, cluster, and the cluster's score, low, high, contents,
    tests, agreed, of, agreed_tests, evidence; None where no pictures were explained."""
    withheld: str | None = None
    """See `Insights.withheld`."""

    @classmethod
    def load(cls, store: Store, run_id: str) -> StoredInsights | None:
        """Read a run's insights; None if it has none.

        Raises:
            TrackingError: there is no such run, or the store does not answer.
        """
        if not has_artifact(store, run_id, _CONFIG):
            return None
        summary = read_json_artifact(store, run_id, _SUMMARY)
        return cls(
            config=_config(store, run_id),
            modalities={name: _modality(values) for name, values in summary.items()},
            scores=recorded_evidence(read_table_artifact(store, run_id, _SCORES)),
            patches=recorded_evidence(read_table_artifact(store, run_id, _PATCHES))
            if has_artifact(store, run_id, _PATCHES)
            else None,
            withheld=hardly_skilled(read_metrics(store, run_id)),
        )


def recorded_pairs(store: Store, run_id: str) -> pd.DataFrame:
    """The compared pairs behind a run's insight correlations; see `Insights.pairs`."""
    return read_table_artifact(store, run_id, _PAIRS)


def has_insights(store: Store, run_id: str, config: InsightsConfig) -> bool:
    """Whether a run holds insights that were made just so."""
    return has_artifact(store, run_id, _CONFIG) and _config(store, run_id) == config


def explain_and_record(
    record: RunRecord,
    scorer: Explainable,
    dataset: Dataset,
    parts: pd.DataFrame,
    config: InsightsConfig,
    on_event: Callable[[str], None] = lambda event: None,
) -> Insights:
    """Make insights (see `make_insights`) and record them."""
    insights = make_insights(scorer, dataset, parts, config, on_event)
    # Advice follows the predictions, and those of a model without skill are noise.
    hardly = hardly_skilled(read_metrics(record.store, record.run_id))
    insights = replace(insights, withheld=hardly)
    on_event("writing the report of insights")
    record_insights(record, insights, dataset, config)
    return insights


def record_insights(
    record: RunRecord, insights: Insights, dataset: Dataset, config: InsightsConfig
) -> None:
    """Add `insight/MODALITY` to the run's table, and write the artifacts of the folder `insights`.

    The figure METHOD is the insight correlation over all pairs of held-out arms, METHOD_p its
    p-value; METHOD_control_best is that of controls against best treatments, METHOD_platform that
    of A/B tests whose arms a platform delivered, and METHOD_pairwise how often the arm with the
    higher attribution difference won. MLflow shows, by the modality's chosen method,
    `insight/MODALITY/correlation` and `.../trust`.
    """
    rows, shown = [], {}
    for name, found in insights.modalities.items():
        part = f"{SLICE}/{name}"
        for method, agreed in found.all_pairs.items():
            rows += _rows(part, method, agreed)
        for method, agreed in found.control_against_best.items():
            rows += _rows(part, f"{method}_control_best", agreed)
        for method, agreed in found.platform.items():
            rows += _rows(part, f"{method}_platform", agreed)
        if found.method in found.all_pairs:
            shown[f"{part}/correlation"] = found.all_pairs[found.method].correlation.value
        if found.trust.score is not None:
            rows.append((part, "trust", found.trust.score, np.nan, np.nan, np.nan))
            shown[f"{part}/trust"] = found.trust.score
    add_metrics(record, pd.DataFrame(rows, columns=list(COLUMNS)))
    record.log_metrics({name: value for name, value in shown.items() if np.isfinite(value)})
    ids = dataset.content_id.astype(str).to_numpy()[insights.rows]
    record.log_table(attribution_table(insights.explanations, ids), _ATTRIBUTIONS)
    record.log_table(score_table(insights.scores), _SCORES)
    record.log_table(labelled_pairs(insights, dataset), _PAIRS)
    if insights.patches is not None:
        record.log_table(patch_table(insights, dataset), _PATCHES)
    record.log_json({name: asdict(found) for name, found in insights.modalities.items()}, _SUMMARY)
    record.log_json(to_dict(config), _CONFIG)
    record.log_figure(agreement_figure(insights), "plots/insight_correlation.png")
    if (figure := saliency_figure(insights, dataset)) is not None:
        record.log_figure(figure, "plots/saliency.png")
    worth = read_run(record.store, record.run_id).tags.get(VALUE_TAG)
    subject = Subject(run_name=record.run_name, run_id=record.run_id, dataset=dataset, worth=worth)
    record.log_text(insights_report(subject, insights, config), REPORT)


def attribution_table(explanations: Explanations, ids: Sequence[Any] | np.ndarray) -> pd.DataFrame:
    """One row per content, modality and method; `ids` name the contents [N].

    Columns: content_id, modality, method, prediction, baseline (the prediction without any of the
    features), gap (what the contributions leave unexplained of the difference of the two), shape,
    features (words or names; null of pictures) and contributions, the raw ones, row by row of a
    picture's map.
    """
    table = []
    for name, explained in explanations.modalities.items():
        for method, attributions in explained.by_method.items():
            for position, found in enumerate(attributions):
                if not found.raw.size:
                    continue
                features = None
                if explained.words:
                    features = [word.text for word in explained.words[position]]
                elif explained.names:
                    features = explained.names[position]
                table.append(
                    {
                        "content_id": ids[position],
                        "modality": name,
                        "method": method,
                        "prediction": found.prediction,
                        "baseline": found.baseline,
                        "gap": found.gap,
                        "shape": list(found.raw.shape),
                        "features": features,
                        "contributions": found.raw.ravel(),
                    }
                )
    return pd.DataFrame(table)


def labelled_pairs(insights: Insights, dataset: Dataset) -> pd.DataFrame:
    """`Insights.pairs` with the dataset's own names: content ids and labels of A/B tests."""
    ids = dataset.content_id.astype(str).to_numpy()[insights.rows]
    first = insights.pairs["first"].to_numpy(np.int64)
    ab_test = dataset.ab_test
    return insights.pairs.assign(
        first=ids[first],
        second=ids[insights.pairs["second"].to_numpy(np.int64)],
        ab_test="" if ab_test is None else ab_test.astype(str).to_numpy()[insights.rows[first]],
    )


def score_table(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All kinds of rank scores in one table."""
    tables = [table.assign(kind=kind) for kind, table in scores.items()]
    if not tables:
        return pd.DataFrame({"kind": [], "domain": [], "feature": [], "score": []})
    return pd.concat(tables, ignore_index=True)


def patch_table(insights: Insights, dataset: Dataset) -> pd.DataFrame:
    """The recommended patches, each with what its cluster rests on; see `StoredInsights`."""
    found = given(insights.patches)
    ids = dataset.content_id.astype(str).to_numpy()[insights.rows]
    table = pd.DataFrame(
        [
            {
                "direction": direction,
                "content_id": ids[patch.row],
                "box": list(patch.box),
                "contribution": patch.contribution,
                "cluster": patch.cluster,
            }
            for direction, patches in (("positive", found.positive), ("negative", found.negative))
            for patch in patches
        ],
        columns=["direction", "content_id", "box", "contribution", "cluster"],
    )
    return table.merge(found.clusters, on="cluster", how="left")


def _rows(part: str, name: str, agreed: Agreement) -> list[tuple[Any, ...]]:
    """Rows of the run's table: the correlation, its p-value, how often the higher arm won."""
    correlation, pairwise = agreed.correlation, agreed.pairwise
    return [
        (part, name, correlation.value, correlation.low, correlation.high, agreed.pairs),
        (part, f"{name}_p", agreed.p_value, np.nan, np.nan, agreed.pairs),
        (part, f"{name}_pairwise", pairwise.value, pairwise.low, pairwise.high, agreed.pairs),
    ]


def _config(store: Store, run_id: str) -> InsightsConfig:
    return from_dict(InsightsConfig, read_json_artifact(store, run_id, _CONFIG))


def _modality(values: dict[str, Any]) -> ModalityInsights:
    def agreements(found: dict[str, Any]) -> dict[str, Agreement]:
        return {method: _agreement(each) for method, each in found.items()}

    return ModalityInsights(
        method=values["method"],
        trust=Trust(**values["trust"]),
        all_pairs=agreements(values["all_pairs"]),
        control_against_best=agreements(values["control_against_best"]),
        # Runs of earlier versions have none.
        platform=agreements(values.get("platform", {})),
        component=PrincipalComponent(**values["component"]) if values["component"] else None,
    )


def _agreement(values: dict[str, Any]) -> Agreement:
    return Agreement(
        correlation=Estimate(**values["correlation"]),
        p_value=values["p_value"],
        pairwise=Estimate(**values["pairwise"]),
        pairs=values["pairs"],
        tests=values["tests"],
    )

"""What a model card tells, read from the run that made the model; what is not recorded is None."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ni_platform.data.assignment import Assignment, strongest
from ni_platform.metrics.evaluation import estimate_in
from ni_platform.registry.gates import CHECKS
from ni_platform.registry.model_source import read_model_file
from ni_platform.registry.run_evaluation import PREDICTIONS, SPLITS
from ni_platform.tracking.metric_table import read_metrics
from ni_platform.tracking.run_queries import (
    RunSummary,
    has_artifact,
    read_json_artifact,
    read_run,
    read_table_artifact,
)
from ni_platform.tracking.store import Store

_INSIGHTS = "insights/summary.json"


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What is known of the model of one run."""

    run: RunSummary
    metrics: pd.DataFrame
    """See `read_metrics`."""
    splits: pd.DataFrame | None
    """One row per content: part."""
    test: pd.DataFrame | None
    """Contents of the test part: part, ab_test, domain, impressions, evidence (null in runs of
    earlier versions)."""
    columns: Mapping[str, str]
    """The columns that the model reads, and what they are."""
    kind: str
    randomisation: str | None
    """What the check of the arms' impressions found (sample ratio mismatch)."""
    insights: Mapping[str, Any]
    """Modality -> what `insights/summary.json` says of it."""

    @classmethod
    def read(cls, store: Store, run_id: str, model_uri: str) -> CardFacts:
        """Read what is recorded.

        Raises:
            TrackingError: There is no such run or model, or the store does not answer.
        """

        def table(path: str, *columns: str) -> pd.DataFrame | None:
            present = has_artifact(store, run_id, path)
            # Another version of this package may have written others.
            return (
                read_table_artifact(store, run_id, path).reindex(columns=columns)
                if present
                else None
            )

        def document(path: str) -> dict[str, Any]:
            return (
                read_json_artifact(store, run_id, path) if has_artifact(store, run_id, path) else {}
            )

        described = json.loads(read_model_file(store, model_uri, "regressor.json"))
        return cls(
            run=read_run(store, run_id),
            metrics=read_metrics(store, run_id),
            splits=table(SPLITS, "part"),
            test=table(PREDICTIONS, "part", "ab_test", "domain", "impressions", "evidence"),
            columns=described["columns"],
            kind=described["kind"],
            randomisation=_randomisation(document(CHECKS).get("results", [])),
            insights=document(_INSIGHTS),
        )

    @property
    def evidence(self) -> Assignment | None:
        """What the test part can prove at best; None where it is not recorded."""
        return None if self.test is None else strongest(self.test["evidence"])

    def figure(self, part: str, metric: str) -> str | None:
        """Return a metric of a slice with its interval, as text; None if it was not computed."""
        found = estimate_in(self.metrics, f"{part}/{metric}")
        return None if found is None else figure(found.value, found.low, found.high)


def _randomisation(results: list[dict[str, Any]]) -> str | None:
    for result in results:
        if result.get("suite") == "ab_tests" and "randomisation" in result["rule"]:
            outcome = "passed" if result["success"] else "failed"
            return f"{outcome} ({result['observed']} differ). {result['rule']}"
    return None


def figure(value: float | None, low: float | None, high: float | None) -> str:
    """Return an estimate as text: 0.667 [0.612, 0.721]."""
    if value is None or pd.isna(value):
        return "–"
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return f"{value:.3g}"
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"

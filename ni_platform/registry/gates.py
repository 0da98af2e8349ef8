"""The gates a model passes before it becomes champion, each with the figures it was judged on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ni_platform.data.assignment import EVIDENCE
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import TEST_PARTS
from ni_platform.errors import DatasetError, NiError, TrackingError
from ni_platform.metrics.evaluation import evaluate, paired_difference
from ni_platform.metrics.scored import Observed, judged
from ni_platform.models.regressor import load_regressor
from ni_platform.registry.model_source import resolve_model
from ni_platform.registry.run_evaluation import RunEvaluation
from ni_platform.registry.versions import Version
from ni_platform.tracking.run_queries import RunSummary, read_json_artifact
from ni_platform.tracking.store import Store

Figure = float | int | str | None

CHECKS = "checks/summary.json"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate, whether it let the model through, and why."""

    name: str
    passed: bool
    explanation: str
    figures: dict[str, Figure] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a figure that is not defined (nan) becomes None."""
        plain = asdict(self)
        plain["figures"] = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in self.figures.items()
        }
        return plain


def data_checks_passed(store: Store, run: RunSummary) -> Gate:
    """The run's data checks evaluated something and all passed."""
    name = "data_checks_passed"
    word = run.tags.get("ni.checks")
    try:
        summary = read_json_artifact(store, run.run_id, CHECKS)
    except (TrackingError, ValueError) as error:
        return Gate(
            name=name, passed=False, explanation=f"There is no record of data checks: {error}"
        )
    failed = [r["rule"] for r in summary.get("results", []) if not r.get("success")]
    evaluated = int(summary.get("evaluated", 0))
    figures: dict[str, Figure] = {"rules": evaluated, "failed": len(failed)}
    if word == "passed" and summary.get("success") and evaluated and not failed:
        return Gate(
            name=name, passed=True, explanation=f"all {evaluated} rules passed", figures=figures
        )
    allowed = (
        " and was trained on it with --allow-failed-checks" if word == "allowed_failed" else ""
    )
    why = (
        f"{len(failed)} of {evaluated} rules failed ({'; '.join(failed[:3])})"
        if failed
        else ("no rule was evaluated" if not evaluated else f"the run's tag ni.checks is '{word}'")
    )
    return Gate(
        name=name,
        passed=False,
        explanation=f"{why}{allowed}. Correct the data and train again.",
        figures=figures,
    )


def evaluated_on_unseen_test(evaluation: RunEvaluation) -> Gate:
    """The run predicted every content of its test part, and learned from none of them."""
    name = "evaluated_on_unseen_test"
    test, splits = evaluation.test, evaluation.splits
    test_ids = set(splits.loc[splits["part"].isin(TEST_PARTS), "content_id"])
    seen = int(evaluation.learned_from(evaluation).sum())
    missing = len(test_ids - set(test["content_id"]))
    unusable = int((~np.isfinite(test["prediction"].to_numpy(dtype=float))).sum())
    figures: dict[str, Figure] = {
        "contents": len(test),
        "ab_tests": int(test["ab_test"].nunique()),
        "seen_in_training": seen,
        "not_predicted": missing,
    }
    problems = [
        (not len(test), "the test part is empty"),
        (seen, f"{seen} of {len(test)} test contents were trained or validated on"),
        (missing, f"{missing} contents of the test part were not predicted"),
        (unusable, f"{unusable} predictions are not finite"),
    ]
    found = [text for wrong, text in problems if wrong]
    if found:
        explanation = f"{'; '.join(found)}. Split the dataset anew and train again."
        return Gate(name=name, passed=False, explanation=explanation, figures=figures)
    explanation = f"{len(test)} test contents, none of them trained or validated on"
    explanation += _without_randomisation(evaluation)
    return Gate(name=name, passed=True, explanation=explanation, figures=figures)


def better_than_champion(store: Store, challenger: RunEvaluation, champion: Version | None) -> Gate:
    """On test contents that neither learned from, the challenger orders pairs better.

    Judged by pairwise accuracy within randomised A/B tests that have the planned shares of
    impressions (over all pairs where there are none: what a platform delivered counts no more than
    what stands alone). It passes when the 95 % interval of the paired difference, which resamples
    whole A/B tests, lies above 0. Whole A/B tests are left out if the champion learned from one of
    their contents.
    """
    name = "better_than_champion"
    if champion is None:
        return Gate(name=name, passed=True, explanation="there is no champion yet")
    if champion.run_id == challenger.run.run_id:
        return Gate(name=name, passed=True, explanation="this model is the champion")
    label = f"champion version {champion.version}"
    try:
        if not champion.run_id:
            raise TrackingError(
                "it was registered without a run, so what it learned from is unknown"
            )
        reigning = RunEvaluation.load(store, champion.run_id)
        return _compare(store, name, label, challenger, reigning, champion)
    except NiError as error:
        return Gate(
            name=name,
            passed=False,
            explanation=f"cannot be compared with {label}: {error}",
            figures={"champion_version": champion.version},
        )


def _compare(
    store: Store,
    name: str,
    label: str,
    challenger: RunEvaluation,
    reigning: RunEvaluation,
    champion: Version,
) -> Gate:
    spoilt = _spoilt(challenger.test, reigning.learned_from(challenger))
    fair, left_out = judged(challenger.test[~spoilt]), int(spoilt.sum())
    figures: dict[str, Figure] = {
        "champion_version": champion.version,
        "contents": len(fair),
        "ab_tests": int(fair["ab_test"].nunique()),
        "left_out": left_out,
    }
    remedy = "Train both on the same dataset with the same split seed, or force with a reason."
    if len(fair) < 2:
        return Gate(
            name=name,
            passed=False,
            explanation=f"{label} learned from {left_out} of the {len(challenger.test)} test"
            f" contents (or from their A/B tests), {len(fair)} are left. {remedy}",
            figures=figures,
        )
    metric = (
        "pairwise_within" if fair["ab_test"].dropna().duplicated().any() else "pairwise_accuracy"
    )
    theirs = _champion_predictions(store, challenger, reigning, champion, fair)
    ours = fair["prediction"].to_numpy(dtype=float)
    observed = Observed(
        clicks=fair["clicks"].to_numpy(dtype=float),
        impressions=fair["impressions"].to_numpy(dtype=float),
        ab_test=fair["ab_test"].to_numpy(dtype=object),
        group=fair["group"].to_numpy(dtype=object),
        success_rate=fair["success_rate"].to_numpy(dtype=float),
    )
    difference = paired_difference(metric, ours, theirs, observed)
    figures |= {
        "metric": metric,
        "challenger": evaluate(ours, observed, replicates=0)[metric].value,
        "champion": evaluate(theirs, observed, replicates=0)[metric].value,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
    }
    passed = difference.low > 0
    why = (
        f"{metric} {figures['challenger']:.4f} against {figures['champion']:.4f} of {label} on"
        f" {len(fair)} test contents: difference {difference.value:+.4f}, 95 % interval"
        f" [{difference.low:+.4f}, {difference.high:+.4f}]"
    )
    if left_out:
        why += f" ({left_out} contents left out: {label} learned from their A/B tests)"
    why += _without_randomisation(challenger)
    if not passed:
        why += "; the interval must lie above 0"
    return Gate(name=name, passed=passed, explanation=why, figures=figures)


def _without_randomisation(evaluation: RunEvaluation) -> str:
    """Words for a test part without a randomised A/B test that counts."""
    evidence = evaluation.evidence
    if evidence in (None, "randomised"):
        return ""
    return f"; no randomised A/B test is among them, so that the evidence is {EVIDENCE[evidence]}"


def _spoilt(test: pd.DataFrame, known: np.ndarray) -> np.ndarray:
    """Spread `known` over whole A/B tests (else groups): one arm tells about the others."""
    cluster = test["ab_test"].where(test["ab_test"].notna(), test["group"])
    return known | (cluster.notna() & cluster.isin(cluster[known].dropna())).to_numpy()


def _champion_predictions(
    store: Store,
    challenger: RunEvaluation,
    reigning: RunEvaluation,
    champion: Version,
    fair: pd.DataFrame,
) -> np.ndarray:
    """Return the champion's rates for `fair`: its own records, else its model on the dataset."""
    by = "content_id" if reigning.same_dataset(challenger) else "content_key"
    recorded = reigning.test.drop_duplicates(by).set_index(by)["prediction"]
    rates = np.array(fair[by].map(recorded), dtype=float)
    unknown = ~np.isfinite(rates)
    if unknown.any():
        rates[unknown] = _score(store, challenger, champion, fair.loc[unknown, "content_id"])
    return rates


def _score(
    store: Store, challenger: RunEvaluation, champion: Version, content_ids: pd.Series
) -> np.ndarray:
    place = challenger.run.tags.get("ni.dataset")
    if place is None:
        raise TrackingError(
            "it has no prediction for some test contents and the challenger's run does not say"
            " which dataset it used (tag ni.dataset)"
        )
    try:
        dataset = Dataset.open(place)
    except DatasetError as error:
        raise TrackingError(
            f"it has no prediction for {len(content_ids)} test contents, and the dataset to score"
            f" them on cannot be opened: {error} Put it back at {place}."
        ) from error
    if dataset.fingerprint() != challenger.run.tags.get("ni.dataset_fingerprint"):
        raise TrackingError(
            f"it has no prediction for {len(content_ids)} test contents, and the dataset at {place}"
            " has changed since the challenger was trained. Restore it, or train again."
        )
    rows = pd.Index(dataset.content_id.astype(str)).get_indexer(pd.Index(content_ids.astype(str)))
    scorer = load_regressor(resolve_model(store, champion.uri))
    return np.asarray(scorer.predict(dataset.inputs(rows)), dtype=float)

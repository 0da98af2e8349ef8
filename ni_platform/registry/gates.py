"""The gates a model passes before it becomes champion, each with the figures it was judged on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ni_platform.data.splits import TEST_PARTS
from ni_platform.errors import TrackingError
from ni_platform.registry.challenger import Challenger, without_randomisation
from ni_platform.registry.comparison_gates import better_than_champion, value_not_below_champion
from ni_platform.registry.gate import Figure, Gate
from ni_platform.registry.gates_config import GatesConfig, WithoutThreshold
from ni_platform.registry.use_gates import (
    calibration_of_differences,
    coverage_of_differences,
    latency,
    size,
)
from ni_platform.tracking.run_queries import read_json_artifact

CHECKS = "checks/summary.json"


def judge(challenger: Challenger, config: GatesConfig) -> tuple[Gate, ...]:
    """Ask every gate that is on, in the order of `GatesConfig`."""
    return tuple(
        replace(_GATES[name](challenger, thresholds), threshold=str(thresholds))
        for name, thresholds in config.on.items()
    )


def data_checks_passed(challenger: Challenger, thresholds: WithoutThreshold) -> Gate:
    """The run's data checks evaluated something and all passed."""
    name = "data_checks_passed"
    run = challenger.run
    word = run.tags.get("ni.checks")
    try:
        summary = read_json_artifact(challenger.store, run.run_id, CHECKS)
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


def evaluated_on_unseen_test(challenger: Challenger, thresholds: WithoutThreshold) -> Gate:
    """The run predicted every content of its test part, and learned from none of them."""
    name = "evaluated_on_unseen_test"
    try:
        evaluation = challenger.evaluation
    except TrackingError as error:
        why = f"the run's evaluation cannot be read: {error}"
        return Gate(name=name, passed=False, explanation=why)
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
    explanation += without_randomisation(evaluation)
    return Gate(name=name, passed=True, explanation=explanation, figures=figures)


_GATES: Mapping[str, Callable[[Challenger, Any], Gate]] = {
    "data_checks_passed": data_checks_passed,
    "evaluated_on_unseen_test": evaluated_on_unseen_test,
    "better_than_champion": better_than_champion,
    "calibration_of_differences": calibration_of_differences,
    "coverage_of_differences": coverage_of_differences,
    "value_not_below_champion": value_not_below_champion,
    "latency": latency,
    "size": size,
}

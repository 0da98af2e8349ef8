"""Gates that compare a model with the champion, on test contents that neither learned from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from ni_platform.errors import NiError, TrackingError
from ni_platform.metrics.evaluation import evaluate, paired_difference
from ni_platform.metrics.intervals import Resampling
from ni_platform.metrics.scored import Observed
from ni_platform.registry.challenger import Challenger, Comparison, without_randomisation
from ni_platform.registry.gate import Figure, Gate
from ni_platform.registry.gates_config import BetterThanChampion, ValueNotBelowChampion

_REPLICATES = 1000


def better_than_champion(challenger: Challenger, thresholds: BetterThanChampion) -> Gate:
    """On test contents that neither learned from, the challenger orders pairs better.

    Judged by pairwise accuracy within randomised A/B tests that have the planned shares of
    impressions (over all pairs where there are none: what a platform delivered counts no more than
    what stands alone). It passes when the 95 % interval of the paired difference, which resamples
    whole A/B tests, lies above the negative margin.
    """

    def judge(found: Comparison) -> Gate:
        return _better(found, thresholds.margin)

    return _beside_champion("better_than_champion", challenger, judge)


def value_not_below_champion(challenger: Challenger, thresholds: ValueNotBelowChampion) -> Gate:
    """On A/B tests that neither learned from, the challenger's choices bring as many clicks.

    A model is worth the observed rate of the arm that it puts first, less the mean rate of all
    arms: without bias, as it chose without these clicks. Judged by randomised A/B tests that have
    the planned shares of impressions, with two or more arms that were shown, each counting alike.
    It passes when the 95 % interval of the paired difference, which resamples A/B tests, begins no
    lower than the negative margin: the challenger is then not worse by more than that.
    """

    def judge(found: Comparison) -> Gate:
        return _not_below(found, thresholds.margin)

    return _beside_champion("value_not_below_champion", challenger, judge)


def _beside_champion(
    name: str, challenger: Challenger, judge: Callable[[Comparison], Gate]
) -> Gate:
    champion = challenger.champion
    if champion is None:
        return Gate(name=name, passed=True, explanation="there is no champion yet")
    if champion.run_id == challenger.run.run_id:
        return Gate(name=name, passed=True, explanation="this model is the champion")
    try:
        return judge(challenger.beside_champion)
    except NiError as error:
        return Gate(
            name=name,
            passed=False,
            explanation=f"cannot be compared with {_label(champion.version)}: {error}",
            figures={"champion_version": champion.version},
        )


def _better(found: Comparison, margin: float) -> Gate:
    name, label, fair = "better_than_champion", _label(found.champion.version), found.fair
    figures = _counted(found, fair)
    if len(fair) < 2:
        return Gate(
            name=name,
            passed=False,
            explanation=f"{label} learned from {found.left_out} of the"
            f" {len(found.challenger.test)} test contents (or from their A/B tests), {len(fair)}"
            " are left. Train both on the same dataset with the same split seed, or force with a"
            " reason.",
            figures=figures,
        )
    metric = (
        "pairwise_within" if fair["ab_test"].dropna().duplicated().any() else "pairwise_accuracy"
    )
    ours, theirs = found.ours, found.theirs
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
    passed = difference.low > -margin
    why = (
        f"{metric} {figures['challenger']:.4f} against {figures['champion']:.4f} of {label} on"
        f" {len(fair)} test contents: difference {difference.value:+.4f}, 95 % interval"
        f" [{difference.low:+.4f}, {difference.high:+.4f}]"
    )
    why += _left_out(found) + without_randomisation(found.challenger)
    if not passed:
        why += f"; the interval must lie above {0 - margin:g}"
    return Gate(name=name, passed=passed, explanation=why, figures=figures)


def _not_below(found: Comparison, margin: float) -> Gate:
    name, label = "value_not_below_champion", _label(found.champion.version)
    fair = found.fair.assign(ours=found.ours, theirs=found.theirs)
    _require_clicks(fair)
    tests = fair[fair.groupby("ab_test")["ab_test"].transform("size") > 1]
    ours, theirs = worth(tests, "ours"), worth(tests, "theirs")
    figures = _counted(found, tests)
    if ours.empty:
        return Gate(
            name=name,
            passed=False,
            explanation="the value of a model is judged by randomised A/B tests with the planned"
            f" shares of impressions, and none with two arms that were shown is among the"
            f" {len(fair)} test contents that {label} did not learn from. Use a dataset that has"
            " some (`ni data check` says which do not count), or switch this gate off.",
            figures=figures,
        )
    resampling = Resampling.of(np.arange(len(ours)), replicates=_REPLICATES, seed=0)
    difference = resampling.mean((ours - theirs).to_numpy()).estimate()
    figures |= {
        "challenger": float(ours.mean()),
        "champion": float(theirs.mean()),
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
    }
    passed = difference.low >= -margin
    why = (
        f"worth {figures['challenger']:+.2f} clicks per 1,000 against {figures['champion']:+.2f} of"
        f" {label} in {len(ours)} A/B tests: difference {difference.value:+.2f}, 95 % interval"
        f" [{difference.low:+.2f}, {difference.high:+.2f}]"
    )
    why += _left_out(found)
    if not passed:
        why += f"; the interval must not begin below {0 - margin:g}"
    return Gate(name=name, passed=passed, explanation=why, figures=figures)


def worth(tests: pd.DataFrame, prediction: str) -> pd.Series:
    """What a model's choice brings in each A/B test [T], by test: clicks per 1,000 impressions.

    Args:
        tests: arms, all shown: ab_test, clicks, impressions and predictions.
        prediction: column of the predictions by which the model chooses; among arms with the same
            highest prediction each is chosen as often.
    """
    rate = 1000 * tests["clicks"] / tests["impressions"]
    first = tests[prediction] == tests.groupby("ab_test")[prediction].transform("max")
    chosen = rate[first].groupby(tests["ab_test"]).mean()
    return chosen - rate.groupby(tests["ab_test"]).mean()


def _require_clicks(fair: pd.DataFrame) -> None:
    clicks = fair["clicks"].to_numpy(dtype=float)
    parts = clicks[clicks != np.round(clicks)]
    if len(parts):
        raise TrackingError(
            "the value of a model is counted in clicks, so they must be whole numbers, but one"
            f" content has {parts[0]:g}. Use a dataset with clicks and impressions, not one of"
            " ratings, or switch this gate off."
        )
    for name in ("ours", "theirs"):
        bad = int((~np.isfinite(fair[name])).sum())
        if bad:
            raise TrackingError(f"{bad} predictions are not finite. Train the model again.")


def _counted(found: Comparison, contents: pd.DataFrame) -> dict[str, Figure]:
    return {
        "champion_version": found.champion.version,
        "contents": len(contents),
        "ab_tests": int(contents["ab_test"].nunique()),
        "left_out": found.left_out,
    }


def _left_out(found: Comparison) -> str:
    if not found.left_out:
        return ""
    label = _label(found.champion.version)
    return f" ({found.left_out} contents left out: {label} learned from their A/B tests)"


def _label(version: str) -> str:
    return f"champion version {version}"

"""What `ni train auto` decided and why, and whether the data suffice for it: in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ni_platform.evaluation import Metrics
from ni_platform.metrics.best_of import MIN_CLUSTERS, BestOfMany
from ni_platform.metrics.choice import Choice
from ni_platform.metrics.intervals import Estimate
from ni_platform.metrics.scored import Observed, ScoredContents

WITHIN = "pairwise_within"
OTHERWISE = "spearman"
_CEILINGS = {name: name.replace("pairwise_accuracy", "noise_ceiling")
             for name in (WITHIN, f"{WITHIN}_distinct")}  # fmt: skip
LOW_CEILING = 0.55
"""Below it, even an oracle is hardly told from a coin."""


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """The metric that candidates are compared by on the validation part."""

    metric: str
    clusters: int
    """A/B tests with two contents or more; without A/B tests, what is independent of the rest."""

    @classmethod
    def of(cls, table: pd.DataFrame) -> Yardstick:
        """Choose it for a table of outcomes.

        Pairs within A/B tests, where at least half of the contents have a partner there: those
        that a model can tell apart, where some are twins to it. Else the order of all contents.
        """
        scored = ScoredContents.of(np.zeros(len(table)), Observed.of(table))
        sizes = np.bincount(scored.test_codes[scored.test_codes >= 0])
        if 2 * sizes[sizes > 1].sum() < len(scored):
            return cls(metric=OTHERWISE, clusters=int(scored.cluster_codes.max()) + 1)
        ending = "_distinct" if scored.has_twins else ""
        return cls(metric=f"{WITHIN}{ending}", clusters=int((sizes > 1).sum()))

    @property
    def chance(self) -> float:
        """What guessing gives."""
        return 0.5 if self.within else 0.0

    @property
    def within(self) -> bool:
        """Whether pairs within A/B tests are counted."""
        return self.metric in _CEILINGS

    @property
    def label(self) -> str:
        """What a person is shown."""
        if not self.within:
            return "Spearman's correlation"
        return "pairs in the right order" + (", inputs differ" if "distinct" in self.metric else "")

    @property
    def unit(self) -> str:
        """What is counted by `clusters`."""
        return "A/B tests" if self.within else "independent contents"

    @property
    def ceiling_name(self) -> str | None:
        """The metric that says what an oracle would reach; None where that is not known."""
        return _CEILINGS.get(self.metric)

    def ceiling(self, metrics: Mapping[str, Estimate]) -> float:
        """What an oracle would reach; NaN where that is not known."""
        found = metrics.get(self.ceiling_name or "")
        return float("nan") if found is None else found.value


def decision(choice: Choice, names: Sequence[str], figures: Sequence[Estimate]) -> str:
    """Say which candidate was chosen, and why it was not another one."""
    chosen, best = names[choice.chosen], names[choice.best]
    if len(names) == 1:
        return f"{chosen} was the only one tried."
    if not np.isfinite(shown := figures[choice.best].value):
        return f"{chosen} is chosen: it is the simplest, and no figure on validation is defined."
    if choice.chosen != choice.best:
        error = choice.standard_errors[choice.chosen]
        why = (
            "that is within the luck of the draw (one standard error of the difference is "
            f"{error:.3f})"
            if np.isfinite(error)
            else "whether that is luck cannot be told from this validation part"
        )
        return (
            f"{chosen} is chosen: {best} looks better on validation by "
            f"{choice.behind[choice.chosen]:.3f}, but {why}, and the simpler one is kept."
        )
    figure = f"{chosen} is chosen: it is the best on validation ({shown:.3f})"
    if not choice.chosen:
        return f"{figure} and the simplest."
    simpler = range(choice.chosen)
    behind = [
        f"{names[k]} by {choice.behind[k]:.3f} (standard error {choice.standard_errors[k]:.3f})"
        for k in simpler
        if np.isfinite(choice.behind[k])
    ]
    if behind:
        figure += f", and what is simpler is behind by more than luck: {'; '.join(behind)}"
    if unknown := [names[k] for k in simpler if not np.isfinite(choice.behind[k])]:
        figure += f", and no figure is defined for {', '.join(unknown)}"
    return f"{figure}."


def luck(best: BestOfMany | None, names: Sequence[str]) -> str | None:
    """Say how much the best candidate looks better than it is, where that was estimated."""
    if best is None:
        return None
    return (
        f"The best of {best.predictors}, {names[best.chosen]}, shows {best.apparent:.3f} on the "
        f"tests it would be chosen by; corrected for that, {best.corrected.value:.3f} "
        f"[{best.corrected.low:.3f}, {best.corrected.high:.3f}] is to be expected."
    )


def concerns(
    yardstick: Yardstick,
    figures: Mapping[str, Estimate],
    chosen: str,
    ceiling: float,
    untried: Sequence[str],
) -> list[str]:
    """Say what of the validation part does not suffice; nothing where it does.

    `figures` are those of all candidates that were tried, by name, the simplest first.
    """
    found = []
    simplest = next(iter(figures))
    more = f" Not tried: {', '.join(untried)}." if untried else ""
    if yardstick.clusters < MIN_CLUSTERS:
        found.append(
            f"Validation holds {yardstick.clusters} {yardstick.unit}; on fewer than {MIN_CLUSTERS} "
            "any choice among models is mostly luck. Bring about "
            f"{math.ceil(MIN_CLUSTERS / yardstick.clusters)} times as many."
        )
    if np.isfinite(ceiling) and ceiling <= LOW_CEILING:
        found.append(
            f"Even an oracle that knows the true rates would order only {ceiling:.2f} of the pairs "
            "as they came out: arms were shown too rarely, or differ too little. More impressions "
            "per arm would help, another model would not."
        )
    if not any(np.isfinite(each.value) for each in figures.values()):
        found.append(
            f"No model can be judged on validation: the metric ({yardstick.label}) is not defined, "
            f"as contents are too few, or their rates or predictions all equal. Bring more.{more}"
        )
    elif not any(each.low > yardstick.chance for each in figures.values()):
        found.append(
            f"No model is shown to be better than guessing: no interval on {yardstick.clusters} "
            f"validation {yardstick.unit} lies above {yardstick.chance:g}.{more}"
        )
    elif chosen == simplest and len(figures) > 1:
        found.append(
            f"No model beat {simplest} by more than luck: these data do not show that a dearer one "
            f"is worth it. More A/B tests would show smaller differences.{more}"
        )
    return found


def concern_of_test(yardstick: Yardstick, metrics: Metrics) -> list[str]:
    """Say whether the chosen model is shown to be better than guessing on the test part."""
    test = metrics["test"].get(yardstick.metric) or metrics["test"].get(WITHIN)
    if test is None or not np.isfinite(test.value) or test.low > yardstick.chance:
        return []
    interval = f" [{test.low:.3f}, {test.high:.3f}]" if np.isfinite(test.low) else ""
    return [
        f"On the test part, which nothing was chosen by, it reaches {test.value:.3f}{interval}, "
        f"which is not shown to be better than guessing ({yardstick.chance:g}): do not act on its "
        "predictions."
    ]

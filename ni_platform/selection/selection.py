"""The decision on each attribute: keep or drop, and why (M2FN Section 6.3.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from ni_platform.data.dataset import Dataset
from ni_platform.errors import DatasetError
from ni_platform.metrics.intervals import Estimate, Resampling
from ni_platform.selection.attributes import Attribute, read_attributes
from ni_platform.selection.config import CORRECTIONS, SelectionConfig
from ni_platform.selection.levels import LevelRate, level_rates
from ni_platform.selection.redundancy import Association, redundant_attributes
from ni_platform.selection.sample import Sample, draw_sample
from ni_platform.selection.significance import Effect, attribute_effects

_REPLICATES = 1000
_MAX_LEVELS = 200


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found out about one attribute."""

    name: str
    kind: str
    keep: bool
    reason: str
    effect: Effect | None
    """None where the attribute could not be tested, or needed no test."""
    p_anova: float | None
    """Corrected for the number of attributes tested, as `p_logistic` is."""
    p_logistic: float | None
    levels: tuple[LevelRate, ...]
    """The 200 most shown ones at most."""
    ordered: bool
    levels_left_out: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The result for a dataset."""

    dataset: str
    config: SelectionConfig
    contents: int
    groups: int
    overall_rate: float
    """Mean success rate, contents weighted by precision."""
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the attributes to keep."""
        return tuple(item.name for item in self.verdicts if item.keep)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the attributes to drop."""
        return tuple(item.name for item in self.verdicts if not item.keep)


def select_attributes(dataset: Dataset, config: SelectionConfig) -> Selection:
    """Test every attribute and the domain of a dataset, and decide which to keep.

    An attribute is kept where ANOVA and logistic regression, each corrected for the number of
    attributes, both find an effect at `config.alpha`. The paper names both analyses and the level
    0.05, and not how they were combined; asking for both never keeps more than either would. The
    domain always stays, as the test part is divided by it.

    Raises:
        DatasetError: The dataset declares no attribute, or too few contents to test them.

    """
    columns = dataset.manifest.columns
    if not (columns.categorical or columns.numeric or columns.domain):
        raise DatasetError(
            f"Selection needs attributes, but {dataset.root} declares none: name some under "
            "columns.categorical or columns.numeric in its dataset.yaml."
        )
    sample = draw_sample(dataset, config)
    attributes = read_attributes(columns, sample, config)
    testable = [item for item in attributes if item.problem is None]
    redundant = redundant_attributes(testable, config.redundant_from)
    effects = attribute_effects([item for item in testable if item.name not in redundant], sample)
    corrected = _corrected(effects, config)
    resampling = Resampling.of(sample.group, replicates=_REPLICATES, seed=0)
    return Selection(
        dataset=dataset.manifest.name,
        config=config,
        contents=len(sample),
        groups=sample.groups,
        overall_rate=float(np.average(sample.rate, weights=sample.weight)),
        verdicts=tuple(
            _verdict(
                item,
                redundant.get(item.name),
                effects.get(item.name),
                corrected.get(item.name),
                _shown_levels(item, sample, resampling),
                config,
            )
            for item in attributes
        ),
        notes=sample.notes,
    )


def _corrected(
    effects: Mapping[str, Effect | None], config: SelectionConfig
) -> dict[str, tuple[float, float]]:
    """Corrected p of ANOVA and of logistic regression for each tested attribute."""
    tested = {name: effect for name, effect in effects.items() if effect is not None}
    if not tested:
        return {}
    columns = []
    for test in ("p_anova", "p_logistic"):
        # A test that gave no verdict still counts among the tests that were made.
        p = np.nan_to_num([getattr(effect, test) for effect in tested.values()], nan=1.0)
        method = CORRECTIONS[config.correction]
        columns.append(p if method is None else multipletests(p, method=method)[1])
    return {name: (float(a), float(b)) for name, a, b in zip(tested, *columns)}


def _verdict(
    attribute: Attribute,
    redundant: Association | None,
    effect: Effect | None,
    corrected: tuple[float, float] | None,
    levels: Sequence[LevelRate],
    config: SelectionConfig,
) -> Verdict:
    keep, reason = _decision(attribute, redundant, effect, corrected, config)
    return Verdict(
        name=attribute.name,
        kind="domain" if attribute.is_domain else attribute.kind,
        keep=keep or attribute.is_domain,
        reason=f"keep: splits rely on the domain; {reason}"
        if attribute.is_domain and not keep
        else f"{'keep' if keep else 'drop'}: {reason}",
        effect=effect,
        p_anova=None if corrected is None else corrected[0],
        p_logistic=None if corrected is None else corrected[1],
        levels=tuple(levels),
        ordered=attribute.ordered,
        levels_left_out=len(attribute.levels) - len(levels),
    )


def _decision(
    attribute: Attribute,
    redundant: Association | None,
    effect: Effect | None,
    corrected: tuple[float, float] | None,
    config: SelectionConfig,
) -> tuple[bool, str]:
    if attribute.problem is not None:
        return False, attribute.problem
    if redundant is not None:
        return (
            False,
            f"redundant with {redundant.other} ({redundant.measure} {redundant.value:.2f})",
        )
    if effect is None or corrected is None:
        return False, "redundant, as the other attributes together determine it"
    tests = {"ANOVA": corrected[0], "logistic": corrected[1]}
    figures = ", ".join(f"{name} {_p(value)}" for name, value in tests.items())
    failed = [name for name, value in tests.items() if value > config.alpha]
    if not failed:
        return True, f"an effect by both tests ({figures})"
    if len(failed) == 2:
        return False, f"no effect shown ({figures})"
    return False, f"no effect by one of the tests ({figures})"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _shown_levels(attribute: Attribute, sample: Sample, resampling: Resampling) -> list[LevelRate]:
    if len(attribute.levels) <= _MAX_LEVELS:
        return level_rates(attribute, sample, resampling)
    seen = pd.Series(sample.impressions).groupby(attribute.level).sum().nlargest(_MAX_LEVELS)
    return level_rates(attribute.only(set(seen.index)), sample, resampling)


def attribute_table(selection: Selection) -> pd.DataFrame:
    """Return one row per attribute, with figures of both tests."""
    return pd.DataFrame([_attribute_row(item) for item in selection.verdicts])


def _attribute_row(item: Verdict) -> dict[str, Any]:
    effect = item.effect
    nothing = Estimate(math.nan, math.nan, math.nan)
    omega = nothing if effect is None else effect.omega_squared
    return {
        "attribute": item.name,
        "kind": item.kind,
        "keep": item.keep,
        "reason": item.reason,
        "degrees_of_freedom": None if effect is None else effect.degrees_of_freedom,
        "design_effect": None if effect is None else effect.design_effect,
        "anova_f": None if effect is None else effect.f,
        "anova_p": None if effect is None else effect.p_anova,
        "anova_p_corrected": item.p_anova,
        "logistic_f": None if effect is None else effect.wald,
        "logistic_p": None if effect is None else effect.p_logistic,
        "logistic_p_corrected": item.p_logistic,
        "eta_squared": None if effect is None else effect.eta_squared,
        "omega_squared": omega.value,
        "omega_squared_low": omega.low,
        "omega_squared_high": omega.high,
    }


def level_table(selection: Selection) -> pd.DataFrame:
    """Return one row per level, with its rate and its odds ratio; numbers also per deviation."""
    nothing = Estimate(math.nan, math.nan, math.nan)
    rows = []
    for item in selection.verdicts:
        ratios = {} if item.effect is None else dict(item.effect.odds_ratios)
        for level in item.levels:
            odds = ratios.pop(level.level, nothing)
            rows.append(
                {
                    "attribute": item.name,
                    "level": level.level,
                    "contents": level.contents,
                    "groups": level.groups,
                    "impressions": level.impressions,
                    "clicks": level.clicks,
                    "success_rate": level.rate.value,
                    "success_rate_low": level.rate.low,
                    "success_rate_high": level.rate.high,
                    "odds_ratio": odds.value,
                    "odds_ratio_low": odds.low,
                    "odds_ratio_high": odds.high,
                }
            )
        for name, odds in ratios.items():
            rows.append(
                {
                    "attribute": item.name,
                    "level": name,
                    "odds_ratio": odds.value,
                    "odds_ratio_low": odds.low,
                    "odds_ratio_high": odds.high,
                }
            )
    return pd.DataFrame(rows)

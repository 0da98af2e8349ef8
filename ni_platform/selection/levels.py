"""Success rate by level of an attribute: what the bars of M2FN Figure 4 show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from statsmodels.stats.proportion import proportion_confint

from ni_platform.metrics.intervals import Estimate, Resampling, ratio
from ni_platform.selection.attributes import Attribute
from ni_platform.selection.sample import Sample


@dataclass(frozen=True, kw_only=True)
class LevelRate:
    """What happened to the contents of one level."""

    level: str
    contents: int
    groups: int
    impressions: float
    clicks: float
    rate: Estimate
    """Mean success rate, contents weighted by precision; its 95 % interval resamples groups."""


def level_rates(attribute: Attribute, sample: Sample, resampling: Resampling) -> list[LevelRate]:
    """Return one entry per level: in the levels' own order, else from the highest rate down."""
    rates = [_rate(attribute, level, sample, resampling) for level in attribute.levels]
    return rates if attribute.ordered else sorted(rates, key=lambda item: -item.rate.value)


def _rate(attribute: Attribute, level: str, sample: Sample, resampling: Resampling) -> LevelRate:
    rows = attribute.level == level
    weight = sample.weight * rows
    impressions, clicks = float(sample.impressions[rows].sum()), float(sample.clicks[rows].sum())
    if (sample.rate[rows] == 0).all() or (sample.rate[rows] == 1).all():
        # Nothing varies for the bootstrap to see; Wilson's interval knows better than 0 to 0.
        low, high = proportion_confint(clicks, impressions, method="wilson")
        estimate = Estimate(float(sample.rate[rows][0]), float(low), float(high))
    else:
        means = ratio(*resampling.sums(weight * sample.rate, weight))
        estimate = resampling.draws(means, support=weight).estimate()
    return LevelRate(
        level=level,
        contents=int(rows.sum()),
        groups=len(np.unique(sample.group[rows])),
        impressions=impressions,
        clicks=clicks,
        rate=estimate,
    )

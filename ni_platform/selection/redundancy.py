"""Attributes that another attribute already tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.stats import contingency

from ni_platform.narrowing import given
from ni_platform.selection.attributes import Attribute


@dataclass(frozen=True)
class Association:
    """How closely two attributes go together."""

    other: str
    measure: str
    """Cramér's V, correlation ratio or rank correlation."""
    value: float
    """In [0, 1]."""


def redundant_attributes(
    attributes: Sequence[Attribute], redundant_from: float
) -> dict[str, Association]:
    """Name each attribute that another one tells, and which.

    Of two attributes the coarser one is redundant, since the finer one tells it; of two that are
    equally fine, the one declared later. The domain stays.
    """
    order = sorted(
        range(len(attributes)),
        key=lambda i: (not attributes[i].is_domain, -attributes[i].resolution, i),
    )
    kept: list[Attribute] = []
    found: dict[str, Association] = {}
    for index in order:
        attribute = attributes[index]
        links = [association(attribute, other) for other in kept]
        closest = max(links, key=lambda link: link.value, default=None)
        if closest is not None and closest.value >= redundant_from:
            found[attribute.name] = closest
        else:
            kept.append(attribute)
    return found


def association(first: Attribute, second: Attribute) -> Association:
    """Measure how closely `first` goes together with `second`, corrected for chance.

    Cramér's V between levels (Bergsma 2013), the correlation ratio of ranks between levels and
    numbers (epsilon squared of Kruskal and Wallis, Kelley 1935), Spearman's correlation between
    numbers.
    """
    if first.values is not None and second.values is not None:
        both = np.isfinite(first.values) & np.isfinite(second.values)
        value = _rank_correlation(first.values[both], second.values[both])
        return Association(second.name, "rank correlation", value)
    if first.values is None and second.values is None:
        return Association(second.name, "Cramér's V", _cramers_v(first.level, second.level))
    level, values = (
        (first.level, second.values) if first.values is None else (second.level, first.values)
    )
    numbers = given(values)  # one of the two is numeric here
    known = np.isfinite(numbers)
    value = _correlation_ratio(level[known], numbers[known])
    return Association(second.name, "correlation ratio", value)


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return abs(float(stats.spearmanr(first, second).statistic))


def _cramers_v(first: np.ndarray, second: np.ndarray) -> float:
    table = pd.crosstab(first, second).to_numpy()
    rows, columns = table.shape
    size = table.sum()
    if min(rows, columns) < 2 or size < 2:
        return 0.0
    phi2 = contingency.association(table, method="cramer") ** 2 * (min(rows, columns) - 1)
    excess = max(0.0, phi2 - (rows - 1) * (columns - 1) / (size - 1))
    rows = rows - (rows - 1) ** 2 / (size - 1)
    columns = columns - (columns - 1) ** 2 / (size - 1)
    return float(min(1.0, np.sqrt(excess / (min(rows, columns) - 1))))


def _correlation_ratio(level: np.ndarray, values: np.ndarray) -> float:
    samples = [values[level == item] for item in pd.unique(level)]
    size, count = len(values), len(samples)
    if not 2 <= count < size or np.ptp(values) == 0:
        return 0.0
    statistic = stats.kruskal(*samples).statistic
    return float(np.sqrt(max(0.0, (statistic - count + 1) / (size - count))))

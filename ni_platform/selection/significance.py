"""ANOVA and logistic regression of success rates on all attributes at once.

Both weight contents by the precision of their rates and adjust for the other attributes. Contents
of one group (A/B test, picture) resemble each other more than chance would have it, so neither
test may count them as independent. The variance of the coefficients comes from a jackknife that
leaves out whole groups (MacKinnon, Nielsen and Webb 2023), which also holds for skewed numbers and
rare levels; more than 512 groups are left out block by block.

- ANOVA, type II: weighted least squares, with the F of each attribute divided by its design
  effect, the factor by which groups inflate the variance of its coefficients (Rao and Scott 1984;
  second order, with Satterthwaite's degrees of freedom).
- Logistic regression: a binomial GLM of rates (quasi-likelihood: the scale is free) and Wald
  tests, adjusted for the number of groups (Korn and Graubard 1990).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import statsmodels.api as sm
from scipy import linalg, special, stats
from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

from ni_platform.errors import DatasetError
from ni_platform.metrics.intervals import COVERAGE, Estimate
from ni_platform.selection.attributes import Attribute
from ni_platform.selection.sample import Sample

_TOLERANCE = 1e-7
_SEPARATED = 30.0
_MAX_BLOCKS = 512


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What the two tests say of one attribute, adjusted for the others."""

    degrees_of_freedom: int
    f: float
    """Of the ANOVA, divided by the design effect."""
    p_anova: float
    design_effect: float
    """Variance of the coefficients over what independent contents would give."""
    eta_squared: float
    """Partial: the attribute's sum of squares over itself and the residual's."""
    omega_squared: Estimate
    """Partial, corrected for chance: share of the variance that the others leave. The interval
    inverts the noncentral F (Steiger 2004)."""
    wald: float
    """F of the logistic regression's Wald test."""
    p_logistic: float
    odds_ratios: Mapping[str, Estimate]
    """Level -> odds against the weighted mean of the levels' log odds; of a number per standard
    deviation. Without levels that nobody or everybody clicked; empty where the other attributes
    determine some level."""


def attribute_effects(attributes: Sequence[Attribute], sample: Sample) -> dict[str, Effect | None]:
    """Test each attribute, adjusted for the others; None where the others determine it."""
    widest_first = sorted(attributes, key=lambda item: (not item.is_domain, -item.columns.shape[1]))
    kept = _independent_columns(widest_first)
    _check_size(kept, sample)
    determined = [name for name, columns in kept.items() if not len(columns)]
    tested = [item for item in widest_first if item.name not in determined]
    effects: dict[str, Effect | None] = dict.fromkeys(determined)
    whole = all(len(kept[item.name]) == item.columns.shape[1] for item in tested)
    joint = _Fit(tested, kept, sample) if whole and tested else None
    for item in tested:
        # Where attributes share columns (they miss in the same rows, say), each one is tested by
        # what it adds to the others.
        if joint is None:
            order = [other for other in tested if other is not item] + [item]
            own = _independent_columns(order)
            effects[item.name] = (
                _Fit(order, own, sample).effect(item) if len(own[item.name]) else None
            )
        else:
            effects[item.name] = joint.effect(item)
    return effects


class _Fit:
    """Both regressions, fitted once."""

    def __init__(
        self, attributes: Sequence[Attribute], kept: Mapping[str, np.ndarray], sample: Sample
    ) -> None:
        self._sample = sample
        self._kept = kept
        self._slices: dict[str, slice] = {}
        blocks = [np.ones((len(sample), 1))]
        end = 1
        for item in attributes:
            blocks.append(item.columns[:, kept[item.name]])
            self._slices[item.name] = slice(end, end + len(kept[item.name]))
            end += len(kept[item.name])
        design = np.concatenate(blocks, axis=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PerfectSeparationWarning)
            logistic = sm.GLM(
                _unseparated_rate(attributes, sample),
                design,
                family=sm.families.Binomial(),
                var_weights=sample.weight,
            ).fit(attach_wls=True)
        self._blocks, self._block_count = _blocks(sample)
        self._anova = sm.WLS(sample.rate, design, weights=sample.weight).fit()
        self._anova_grouped = self._robust(self._anova)
        # The last step of the fit is a linear regression, which gives the robust covariance.
        self._logistic = self._robust(logistic.results_wls)

    def _robust(self, linear: Any) -> Any:
        """The same regression with the jackknife's covariance."""
        grouped = {"groups": self._blocks, "use_t": True}
        try:
            return linear.get_robustcov_results("cluster-jk", **grouped)
        except ValueError:  # without some group a coefficient is not defined
            return linear.get_robustcov_results("cluster", **grouped)

    def effect(self, attribute: Attribute) -> Effect:
        """Return what the fits say of one attribute."""
        own = self._slices[attribute.name]
        select = np.eye(self._anova.params.shape[0])[own]
        df = select.shape[0]
        naive = self._anova.cov_params()[own, own]
        grouped = self._anova_grouped.cov_params()[own, own]
        inflation = np.linalg.eigvals(np.linalg.solve(naive, grouped)).real
        design_effect = max(float(inflation.mean()), _TOLERANCE)
        df_effective = float(inflation.sum() ** 2 / (inflation**2).sum())
        f_naive = float(self._anova.f_test(select).fvalue)
        f = f_naive / design_effect
        remaining = self._block_count - 1
        wald, p_logistic = self._wald_test(select)
        return Effect(
            degrees_of_freedom=df,
            f=f,
            p_anova=float(stats.f.sf(f, df_effective, remaining)),
            design_effect=design_effect,
            eta_squared=df * f_naive / (df * f_naive + float(self._anova.df_resid)),
            omega_squared=_omega_squared(
                f, df_effective, remaining, df / df_effective * design_effect / len(self._sample)
            ),
            wald=wald,
            p_logistic=p_logistic,
            odds_ratios=self._odds_ratios(attribute, own),
        )

    def _wald_test(self, select: np.ndarray) -> tuple[float, float]:
        """F and p; NaN where the regression did not settle."""
        df, groups = len(select), self._block_count
        coefficients = select @ self._logistic.params
        if not np.isfinite(coefficients).all() or abs(coefficients).max() > _SEPARATED:
            return float("nan"), float("nan")
        f = float(self._logistic.f_test(select).fvalue) * (groups - df) / (groups - 1)
        return f, float(stats.f.sf(f, df, groups - df))

    def _odds_ratios(self, attribute: Attribute, own: slice) -> dict[str, Estimate]:
        size = attribute.columns.shape[1]
        if len(self._kept[attribute.name]) < size:
            return {}
        names: tuple[str, ...] = attribute.column_levels
        contrasts = np.eye(size)
        if attribute.kind == "categorical":
            names = (*names, str(attribute.reference))
            contrasts = np.concatenate([contrasts, np.zeros((1, size))])
            # The odds of a level without a click are a convention, not an estimate.
            usual = [not _is_flat(self._sample.rate[attribute.level == name]) for name in names]
            if sum(usual) < 2:
                return {}
            weight = self._sample.weight @ np.stack([attribute.level == name for name in names]).T
            contrasts = contrasts - (weight * usual / (weight @ usual)) @ contrasts
            names = tuple(name for name, kept in zip(names, usual) if kept)
            contrasts = contrasts[usual]
        padded = np.zeros((len(contrasts), len(self._logistic.params)))
        padded[:, own] = contrasts
        result = self._logistic.t_test(padded)
        middle = np.atleast_1d(result.effect)
        reach = stats.t.ppf((1 + COVERAGE) / 2, self._block_count - 1) * result.sd.ravel()
        with np.errstate(over="ignore"):
            low, mean, high = np.exp([middle - reach, middle, middle + reach])
        return {
            name: Estimate(float(m), float(a), float(b))
            for name, m, a, b in zip(names, mean, low, high)
        }


def _independent_columns(attributes: Sequence[Attribute]) -> dict[str, np.ndarray]:
    """Columns of each attribute that the attributes before it do not determine, ascending."""
    basis = None
    kept: dict[str, np.ndarray] = {}
    for item in attributes:
        size = len(item.columns)
        if basis is None:
            basis = np.full((size, 1), size**-0.5)
        columns = item.columns / np.linalg.norm(item.columns, axis=0)
        rest = columns - basis @ (basis.T @ columns)
        rest -= basis @ (basis.T @ rest)  # once more, against rounding
        q, r, pivot = linalg.qr(rest, mode="economic", pivoting=True)
        rank = int((abs(np.diag(r)) > _TOLERANCE).sum())
        kept[item.name] = np.sort(pivot[:rank])
        basis = np.concatenate([basis, q[:, :rank]], axis=1)
    return kept


def _blocks(sample: Sample) -> tuple[np.ndarray, int]:
    """Groups, dealt at random into 512 blocks where there are more, and the number of blocks."""
    if sample.groups <= _MAX_BLOCKS:
        return sample.group, sample.groups
    dealt = np.random.default_rng(0).permutation(sample.groups) % _MAX_BLOCKS
    return dealt[sample.group], _MAX_BLOCKS


def _check_size(kept: Mapping[str, np.ndarray], sample: Sample) -> None:
    size = sum(map(len, kept.values()))
    if 2 * size > sample.groups:
        widest = max(kept, key=lambda name: len(kept[name]))
        raise DatasetError(
            f"Two independent groups of contents are needed per level to be tested, but there are "
            f"{sample.groups:,} groups for {size:,} levels, {len(kept[widest]):,} of them of "
            f"{widest!r}: declare fewer attributes, or bring more contents."
        )


def _unseparated_rate(attributes: Sequence[Attribute], sample: Sample) -> np.ndarray:
    """Rates, with half a click given to levels that have none, or half of one taken (Haldane 1956).

    Without it the log odds of such a level would be infinite.
    """
    rate = sample.rate.copy()
    for item in attributes:
        for level in item.levels if item.kind == "categorical" else ():
            rows = item.level == level
            if _is_flat(sample.rate[rows]):
                half = min(0.5, 0.5 / float(sample.impressions[rows].sum()))
                rate[rows] = np.clip(rate[rows], half, 1 - half)
    return rate


def _is_flat(rate: np.ndarray) -> bool:
    return bool((rate == 0).all() or (rate == 1).all())


def _omega_squared(
    f: float, df: float, df_rest: int, variance_per_noncentrality: float
) -> Estimate:
    """Noncentrality of the F, its 95 % interval, and the share of variance that each stands for."""

    def share(noncentrality: float) -> float:
        explained = max(0.0, noncentrality) * variance_per_noncentrality
        return explained / (1 + explained)

    tail = (1 - COVERAGE) / 2
    cumulative = stats.f.cdf(f, df, df_rest)
    low, high = (
        float(special.ncfdtrinc(df, df_rest, level, f)) if cumulative > level else 0.0
        for level in (1 - tail, tail)
    )
    value = share(df * (f - 1))
    return Estimate(value, min(share(low), value), max(share(high), value))

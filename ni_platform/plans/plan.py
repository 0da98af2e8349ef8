"""A plan of the next A/B test, from drafts and a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from ni_platform.beliefs.past_errors import PastErrors
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.regressor import Regressor
from ni_platform.plans.arms import best_set
from ni_platform.plans.believed import Believed, believe
from ni_platform.plans.past import Past
from ni_platform.plans.traffic import (
    POWER,
    Gain,
    chance_found,
    expected_gain,
    impressions_needed,
    traffic_shares,
)

MOST_DRAFTS = 1_000
_DRAWS = 4_000
_ALIKE = 0.95
"""Correlation of two drafts' predictions beyond which a test hardly tells them apart."""
_EVEN = 0.25
"""Difference of two drafts in its standard deviations within which either may be the better one:
by this much the chances are 60 and 40 %."""


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """What the test is to be."""

    arms: int = 4
    """Of the test, the control included; fewer where there are fewer drafts."""
    control: str | None = None
    """Id of the draft that is shown today."""
    traffic: int | None = None
    """Impressions of the whole test; None leaves out what depends on it."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.arms < 2:
            raise ConfigError(f"A test has two arms or more, but arms is {self.arms}.")
        if self.traffic is not None and self.traffic < self.arms:
            raise ConfigError(
                f"traffic is the impressions of the whole test, but is {self.traffic}: give more."
            )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which drafts to test, with how much traffic, and what that is expected to bring."""

    drafts: pd.DataFrame
    """A row per draft, indexed by id, the likely best first: `prediction`, `low` and `high` (95 %
    interval of the rate, the level of the test unknown), `chance_best`, `place` (share of past
    contents that got a lower rate), `tested`, `share` of the traffic (null where not tested),
    `nearest` past content, its `nearest_rate` and `similarity`, `judged`, and `caution`, why not or
    what is missing (null where nothing is). Drafts that the model cannot judge have no figures."""
    alike: list[tuple[str, str]]
    """Drafts of which the model expects the same."""
    against: tuple[str, str]
    """The likely winner among the tested, and what it is compared with: the control, else the next.
    """
    needed: float
    """Impressions of the test that find the predicted difference of these two with 80 %."""
    chance: float | None
    """That the planned traffic finds it; over what the rates may be."""
    gain: Gain | None
    """In clicks per 1,000 impressions of what is shown afterwards."""
    covariance: pd.DataFrame
    """Of the logits of the judged drafts, by id in rows and columns, in the order of `drafts`; with
    what each arm has for itself (the model's residual)."""

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        return {
            "drafts": self.drafts.rename_axis("id").reset_index().to_dict("records"),
            "alike": self.alike,
            "against": self.against,
            "impressions_needed": self.needed,
            "chance_found": self.chance,
            "clicks_per_1000": None if self.gain is None else asdict(self.gain),
        }

    def sentences(self) -> list[str]:
        """Return what a marketer should know, a sentence each."""
        first, second = self.against
        tested = [str(name) for name in self.drafts.index[self.drafts["tested"]]]
        said = [f"Test {', '.join(tested)}: the set whose best is expected to be best."]
        size = f"{self.needed:,.0f}" if np.isfinite(self.needed) else "no finite number of"
        said.append(
            f"{size} impressions of the test tell {first} from {second} in {POWER:.0%} of cases, "
            "if the difference is as predicted."
        )
        if self.chance is not None:
            said.append(
                f"The planned traffic shows {first} to be better, significantly, with a chance of "
                f"{self.chance:.0%}; the difference may also be smaller than predicted, or none."
            )
        if self.gain is not None:
            said.append(
                f"Expected afterwards, per 1,000 impressions: {self.gain.planned:.2f} clicks; "
                f"{self.gain.without_model:.2f} after a test of drafts that were drawn blindly, "
                f"{self.gain.without_test:.2f} without a test."
            )
        said += [f"{one} and {other} are alike to the model." for one, other in self.alike[:5]]
        for name, row in self.drafts[self.drafts["caution"].notna()].iterrows():
            verdict = "is judged without it" if row["judged"] else "is not judged"
            said.append(f"{name} {verdict}: {row['caution']}.")
        return said


def make_plan(
    model: Regressor,
    drafts: pd.DataFrame,
    past: Past,
    config: PlanConfig,
    errors: PastErrors | None = None,
) -> Plan:
    """Plan a test of drafts.

    Args:
        model: Of any kind; only a Gaussian process knows itself how sure it is.
        drafts: A row per draft with the columns that the model reads, indexed by id.
        past: Contents that the model learned from.
        config: What the test is to be.
        errors: Of the model on past tests (`recorded_past_errors`), where it does not know it.

    Raises:
        ConfigError: Nobody knows how sure the model is, or the control is no draft.
        DatasetError: Fewer than two drafts or too many, an id that repeats, or a cell that cannot
            be read.
    """
    _check(model, drafts, config)
    # A column that the drafts lack is a missing modality, of which each draft is told.
    frame = drafts.reindex(columns=list(model.roles)).reset_index(drop=True)
    about = past.compared(frame, model)
    names = [str(name) for name in drafts.index]
    control = None if config.control is None else names.index(config.control)
    judged = _judged(about, control)
    found = believe(model, frame.iloc[judged].reset_index(drop=True), errors)
    rng = np.random.default_rng(config.seed)
    drawn = rng.multivariate_normal(found.logit_N, found.covariance_NN, size=_DRAWS, method="eigh")
    rate_SN = np.full((_DRAWS, len(names)), np.nan)
    rate_SN[:, judged] = expit(drawn)
    best = np.bincount(drawn.argmax(axis=1), minlength=len(judged)) / _DRAWS
    sure = found.rates.assign(chance_best=best)
    table = sure.set_index(pd.Index(judged)).reindex(range(len(names))).join(about)
    first = None if control is None else judged.index(control)
    some = best_set(
        rate_SN[:, judged], min(config.arms, len(judged)), [] if first is None else [first]
    )
    chosen = [judged[draft] for draft in some]
    shares = traffic_shares(len(chosen), None if control is None else chosen.index(control))
    table["place"] = past.place(table["prediction"].to_numpy(np.float64))
    table["tested"] = table.index.isin(chosen)
    table["share"] = pd.Series(shares, index=chosen)
    alike = _alike(found, [names[draft] for draft in judged])
    ids = drafts.index[judged]
    known = pd.DataFrame(found.covariance_NN, index=ids, columns=ids)
    return _worth(
        table.set_index(drafts.index), known, names, alike, rate_SN, chosen, shares, control,
        found.overdispersion, config,
    )  # fmt: skip


def _worth(
    table: pd.DataFrame,
    covariance: pd.DataFrame,
    names: list[str],
    alike: list[tuple[str, str]],
    rate_SN: np.ndarray,
    chosen: list[int],
    shares: np.ndarray,
    control: int | None,
    noise: float,
    config: PlanConfig,
) -> Plan:
    """The plan, with what its traffic finds and gains."""
    pair = _compared(chosen, control)
    first, second = (float(shares[chosen.index(draft)]) for draft in pair)
    rates = table["prediction"].to_numpy()[list(pair)]
    chance = gain = None
    if config.traffic is not None:
        both = rate_SN[:, pair[0]], rate_SN[:, pair[1]]
        chance = chance_found(*both, (first, second), config.traffic, noise)
        judged = np.flatnonzero(~np.isnan(rate_SN[0])).tolist()
        gain = expected_gain(
            rate_SN[:, judged], [judged.index(draft) for draft in chosen], shares, config.traffic,
            control=None if control is None else judged.index(control), overdispersion=noise,
            seed=config.seed,
        )  # fmt: skip
    ordered = table.sort_values("prediction", ascending=False, kind="stable")
    judged_ids = ordered.index[ordered.index.isin(covariance.index)]
    return Plan(
        drafts=ordered,
        alike=alike,
        against=(names[pair[0]], names[pair[1]]),
        needed=impressions_needed((rates[0], rates[1]), (first, second), noise),
        chance=chance,
        gain=gain,
        covariance=covariance.loc[judged_ids, judged_ids],
    )


def _judged(about: pd.DataFrame, control: int | None) -> list[int]:
    """Drafts that take part: those that the model can judge, and the control."""
    judged = [row for row in about.index[about["judged"]] if row != control]
    if control is not None:
        judged = sorted([*judged, control])
    if len(judged) < 2:
        caution = about.loc[~about["judged"], "caution"].iloc[0]
        raise DatasetError(
            "A plan compares two drafts or more that the model can judge, but there are "
            f"{len(judged)}: of one {caution}. Use drafts like past contents, or train on contents "
            "like these."
        )
    return judged


def _compared(chosen: list[int], control: int | None) -> tuple[int, int]:
    """The likely winner of a set, and the control, else the next."""
    others = [draft for draft in chosen if draft != control]
    return others[0], others[1] if control is None else control


def _check(model: Regressor, drafts: pd.DataFrame, config: PlanConfig) -> None:
    if not set(model.roles) & set(drafts.columns):
        raise DatasetError(
            f"Drafts have none of the columns that the model reads ({', '.join(model.roles)}), but "
            f"{', '.join(map(str, drafts.columns))}: rename them."
        )
    if not 2 <= len(drafts) <= MOST_DRAFTS:
        raise DatasetError(f"A plan compares 2 to {MOST_DRAFTS:,} drafts, but got {len(drafts):,}.")
    repeated = drafts.index[drafts.index.duplicated()]
    if len(repeated):
        raise DatasetError(f"Drafts have ids of their own, but {repeated[0]!r} comes twice.")
    if config.control is not None and config.control not in drafts.index:
        raise ConfigError(
            f"The control is one of the drafts, but {config.control!r} is none of "
            f"{list(drafts.index[:10])}: add it to them."
        )


def _alike(found: Believed, names: list[str]) -> list[tuple[str, str]]:
    """Pairs of drafts of which the model expects the same, the most alike first.

    Their predictions move together, and either may be the better one.

    Args:
        found: What is believed of N drafts.
        names: Theirs [N].
    """
    shared = found.covariance_NN - found.own * np.eye(len(names))
    spread = np.sqrt(shared.diagonal())
    correlation = np.triu(shared / np.outer(spread, spread), 1)
    variance = found.covariance_NN.diagonal()
    between = variance[:, None] + variance[None, :] - 2 * found.covariance_NN
    apart = np.sqrt(np.maximum(between, 1e-12))
    even = np.abs(found.logit_N[:, None] - found.logit_N[None, :]) < _EVEN * apart
    first, second = np.nonzero((correlation > _ALIKE) & even)
    order = np.argsort(-correlation[first, second], kind="stable")
    return [(names[first[i]], names[second[i]]) for i in order]

"""Ways to choose an arm of an A/B test, replayed; shapes as in `arms.py`, L a number of looks."""

from __future__ import annotations

import numpy as np

from ni_platform.beliefs.prior import Prior, fisher_step, posterior, root
from ni_platform.metrics.scored import Floats
from ni_platform.value.thinning import Plays, best

LOOKS = (200, 500, 1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000, 14_000, 20_000, 30_000, 50_000)
"""Impressions of a test, in all arms, after which it is decided; a batch of Thompson sampling lies
between two."""
DRAWS = 10
"""Draws of the posterior that divide a batch of Thompson sampling among the arms."""
_DECIMALS = 9
"""Of posterior means, so that arms of which the same is known are equal."""


def without_test(plays: Plays, looks: int) -> dict[str, Floats]:
    """What needs no test, or takes all of it; the same at each look [P, L].

    `uniform`: the rate of all arms alike. `model`: the arm with the highest prediction.
    `best_at_least`: the arm with the highest rate on all impressions that do not judge. No choice
    is better than the best arm, so its worth is a lower bound of that of knowing it.
    """
    found = {
        "uniform": plays.even_P,
        "model": plays.worth(best(plays.tests.logit_TA)),
        "best_at_least": plays.worth(best(plays.deciding.rate())),
    }
    return {name: np.repeat(values[:, None], looks, axis=1) for name, values in found.items()}


def uniform_test(plays: Plays, looks: int, prior: Prior | None) -> dict[str, Floats]:
    """A test that shows all arms alike, decided at each look, [P, L].

    `winner`: the arm with most clicks. `combined`: the one with the highest posterior mean of the
    logit, by the prior; not there if it is None.
    """
    pool, arms = plays.deciding.copy(), plays.tests.arms
    shape = pool.impressions_PA.shape
    clicks_PA, impressions_PA = np.zeros(shape), np.zeros(shape, np.int64)
    found: dict[str, list[Floats]] = {"winner": [], "combined": []}
    believed = None if prior is None else prior.of(plays.tests)
    for traffic in LOOKS[:looks]:
        more_PA = traffic // arms - impressions_PA
        clicks_PA = clicks_PA + pool.draw(more_PA)
        impressions_PA = impressions_PA + more_PA
        found["winner"].append(plays.worth(best(clicks_PA)))
        if prior is not None and believed is not None:
            seen = fisher_step(clicks_PA, impressions_PA, prior.overdispersion)
            mean_PA, _ = posterior(*believed, *seen)
            found["combined"].append(plays.worth(best(mean_PA.round(_DECIMALS))))
    return {name: np.stack(values, axis=1) for name, values in found.items() if values}


def thompson(plays: Plays, looks: int, prior: Prior, name: str) -> dict[str, Floats]:
    """Thompson sampling in batches, decided at each look by the highest posterior mean [P, L].

    A batch is divided among the arms as the posterior's draws say which is the best (Thompson 1933;
    Chapelle and Li 2011, "An empirical evaluation of Thompson sampling", section 3, delayed
    feedback). `NAME_during` is what the test's own viewers got. Where an arm has fewer impressions
    left than its part of a batch (`NAME_ran_out` is 1 from then on), it is shown all the same, but
    the posterior learns from those that are left alone: it then knows less than it would have.
    """
    pool, shape = plays.deciding.copy(), plays.deciding.impressions_PA.shape
    mean_PA, covariance_PAA = prior.of(plays.tests)
    root_PAA = root(covariance_PAA)
    clicks_PA, ran_out_P = np.zeros(shape), np.zeros(shape[0], dtype=bool)
    impressions_PA, shown_PA = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    found: dict[str, list[Floats]] = {name: [], f"{name}_during": [], f"{name}_ran_out": []}
    for look in range(looks + 1):
        seen = fisher_step(clicks_PA, impressions_PA, prior.overdispersion)
        drawn = plays.rng.standard_normal((2, *shape, DRAWS))
        now_PA, drawn_PAS = posterior(
            mean_PA, covariance_PAA, *seen, root_PAA, (drawn[0], drawn[1])
        )
        if look:
            found[name].append(plays.worth(best(now_PA.round(_DECIMALS))))
            found[f"{name}_during"].append(plays.worth(shown_PA / LOOKS[look - 1]))
            found[f"{name}_ran_out"].append(ran_out_P.astype(np.float64))
        if look < looks:
            batch = LOOKS[look] - (LOOKS[look - 1] if look else 0)
            wins_PA = (drawn_PAS == drawn_PAS.max(1, keepdims=True)).sum(2)
            size_PA = batch // DRAWS * wins_PA
            there_PA = np.minimum(size_PA, pool.impressions_PA)
            ran_out_P = ran_out_P | (there_PA < size_PA).any(1)
            shown_PA = shown_PA + size_PA
            clicks_PA = clicks_PA + pool.draw(there_PA)
            impressions_PA = impressions_PA + there_PA
    return {name: np.stack(values, axis=1) for name, values in found.items() if values}


def top_of_model(plays: Plays, most: int) -> tuple[Floats, Floats]:
    """What a test of the model's k highest predictions alone keeps and loses, two [P, k].

    The first is 1 where the arm with the highest observed rate of all is among them; equal rates
    share, equal predictions are ordered at random. The second is the judged rate of the winner of
    all arms, on all impressions that do not judge, less that of the winner of these k.
    """
    tests = plays.tests
    order_PA = np.lexsort((plays.rng.random(tests.logit_TA.shape), -tests.logit_TA))

    def ordered(values_PA: Floats) -> Floats:
        return np.take_along_axis(values_PA, order_PA, axis=1)

    winner_PA = ordered(best(tests.clicks_TA / tests.impressions_TA))
    rate_PA = ordered(plays.deciding.rate())
    judged_PA = ordered(plays.judged_PA)
    among_all_P = (best(rate_PA) * judged_PA).sum(1)
    top = range(1, min(tests.arms - 1, most) + 1)
    among = [(best(rate_PA[:, :k]) * judged_PA[:, :k]).sum(1) for k in top]
    kept = [winner_PA[:, :k].sum(1) for k in top]
    return np.stack(kept, axis=1), among_all_P[:, None] - np.stack(among, axis=1)

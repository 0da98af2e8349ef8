"""Viewers who decide and viewers who judge."""

import numpy as np
import pytest
from scipy.stats import binom

from ni_platform.beliefs.arms import MOST_IMPRESSIONS, gathered
from ni_platform.errors import DatasetError
from ni_platform.value.policies import LOOKS, top_of_model, uniform_test, without_test
from ni_platform.value.thinning import Plays, Pool, best, judging

CODES = np.array([0, 0])


def plays(clicks, impressions, logit, *, share, count, seed=0, test=CODES):
    """The same A/B test, `count` times."""
    columns = (np.asarray(column, dtype=np.float64) for column in (clicks, impressions, logit))
    (tests,) = gathered(test, *columns, {})
    rows = tests.rows(np.zeros(count, dtype=int))
    return Plays(rows, share, np.random.default_rng(seed))


def test_a_test_worked_out_by_hand():
    """Arms of 4 impressions with 2 clicks and 1, half of them judges: all twelve outcomes.

    The first arm's deciding part has 0, 1 or 2 clicks with 1/6, 4/6, 1/6, the second's 0 or 1 with
    1/2 each. Of the six outcomes two choose the arm that is then judged worse, by 1/2 and by 1/4,
    each with 1/12: -1/16 in all. The judge's rate of both alike is 3/8, of the second 1/4.
    """
    count = 200_000
    replayed = plays([2, 1], [4, 4], [0.0, 1.0], share=0.5, count=count)
    found = without_test(replayed, 1)
    chosen = found["best_at_least"][:, 0]
    error = chosen.std() / np.sqrt(count)
    assert set(np.unique(chosen)) <= {-0.5, -0.25, 0.0, 0.25, 0.5}
    assert (chosen == -0.5).mean() == pytest.approx(1 / 12, abs=0.004)
    assert (chosen == -0.25).mean() == pytest.approx(1 / 12, abs=0.004)
    assert chosen.mean() == pytest.approx(-1 / 16, abs=5 * error)
    assert found["uniform"].mean() == pytest.approx(3 / 8, abs=0.002)
    assert found["model"].mean() == pytest.approx(1 / 4 - 3 / 8, abs=0.002)
    kept, lost = top_of_model(replayed, 5)
    assert kept.tolist() == [[0.0]] * count
    assert lost.mean() == pytest.approx(3 / 8 - 1 / 16 - 1 / 4, abs=0.004)


def test_drawing_is_without_replacement_to_the_last_impression():
    """Parts of a pool are hypergeometric, and what is drawn and what is left add up."""
    rng = np.random.default_rng(1)
    pool = Pool(np.full((50_000, 1), 3), np.full((50_000, 1), 10), rng)
    first = pool.draw(np.full((50_000, 1), 4))
    # Of 10 impressions with 3 clicks 4 have none with (7 6 5 4) / (10 9 8 7) = 1/6.
    assert (first == 0).mean() == pytest.approx(1 / 6, abs=0.009)
    rest = pool.draw(np.full((50_000, 1), 6))
    assert (first + rest == 3).all()
    assert not pool.impressions_PA.any()


def test_surplus_noise_is_divided_as_impressions_are():
    """Parts of an arm scatter by φ times the hypergeometric variance, and add up to its clicks.

    Of 1,000 impressions with 100 clicks 300 are drawn, then 400, then the rest, at φ = 3:
    3 · 0.1 · 0.9 · 300 · 700 / 1,000 = 56.7, and so on.
    """
    shape = (200_000, 1)
    rng = np.random.default_rng(3)
    pool = Pool(np.full(shape, 100), np.full(shape, 1000), rng, 3.0)
    parts = [pool.draw(np.full(shape, size)) for size in (300, 400, 300)]
    for part, size in zip(parts, (300, 400, 300)):
        assert part.mean() == pytest.approx(size / 10, abs=0.1)
        assert part.var() == pytest.approx(0.27 * size * (1000 - size) / 1000, rel=0.02)
    assert sum(parts) == pytest.approx(np.full(shape, 100.0))
    # Of a sum that is known, parts a and b have the covariance -φ p (1 - p) a b / n.
    covariance = np.cov(parts[0].ravel(), parts[2].ravel())[0, 1]
    assert covariance == pytest.approx(-0.27 * 300 * 300 / 1000, rel=0.03)


def test_the_winner_is_worth_what_binomial_theory_says():
    """Over tests of rates 10 % and 16 %, a winner after 100 impressions each has a known worth."""
    count, rng = 40_000, np.random.default_rng(2)
    rates = np.array([0.10, 0.16])
    clicks = rng.binomial(400, rates, (count, 2))
    test = np.repeat(np.arange(count), 2)
    (tests,) = gathered(
        test,
        clicks.ravel().astype(float),
        np.full(2 * count, 400.0),
        rates[np.tile([0, 1], count)],
        {},
    )
    found = uniform_test(Plays(tests, 0.2, rng), 1, None)["winner"][:, 0]
    at = np.arange(101)
    first, second = binom.pmf(at, 100, 0.10), binom.pmf(at, 100, 0.16)
    right = (second * (binom.cdf(at - 1, 100, 0.10) + first / 2)).sum()
    assert LOOKS[0] == 200
    error = found.std() / np.sqrt(count)
    assert found.mean() == pytest.approx(0.03 * (2 * right - 1), abs=4 * error)
    assert 4 * error < 0.002


def test_equal_scores_share():
    """Whom nothing tells apart is shown alike; a single best alone."""
    assert best(np.array([[1.0, 2.0, 2.0], [3.0, 1.0, 2.0]])).tolist() == [[0, 0.5, 0.5], [1, 0, 0]]


def test_somebody_judges_every_arm():
    """A fifth of an arm's impressions, at least one."""
    assert judging(np.array([1, 2, 10, 1000]), 0.2).tolist() == [1, 1, 2, 200]


def test_arms_are_gathered_by_tests_in_their_order():
    """Tests with one arm are left out; predictions are centred; covariances keep their test."""
    test = np.array([2, 0, 2, 1, 0])
    clicks, shown = np.array([1.0, 2, 3, 4, 5]), np.array([10.0, 20, 30, 40, 50])
    covariance = {2: np.array([[1.0, 0.5], [0.5, 2.0]])}
    (found,) = gathered(test, clicks, shown, np.array([1.0, 2, 4, 8, 16]), covariance)
    assert found.number_T.tolist() == [0, 2]
    assert found.clicks_TA.tolist() == [[2, 5], [1, 3]]
    assert found.impressions_TA.tolist() == [[20, 50], [10, 30]]
    assert found.logit_TA.tolist() == [[-7, 7], [-1.5, 1.5]]
    assert found.covariance_TAA.tolist() == [[[0, 0], [0, 0]], [[1, 0.5], [0.5, 2]]]


def test_what_cannot_be_drawn_is_refused():
    """Ratings are no clicks, and numpy draws exactly below a thousand million."""
    with pytest.raises(DatasetError, match=r"whole numbers, but one arm has 1\.5: use a dataset"):
        gathered(CODES, np.array([1.5, 2]), np.array([10.0, 10]), np.zeros(2), {})
    with pytest.raises(DatasetError, match="one has 1,000,000,000: leave its A/B test out"):
        gathered(CODES, np.ones(2), np.array([10.0, MOST_IMPRESSIONS]), np.zeros(2), {})

"""The sequential test of a change: by hand, and on many simulated years."""

import numpy as np
import pytest

from ni_platform.metrics.change import YEAR, course
from ni_platform.metrics.scored import EvaluationError

ALPHA = 0.05
FIRST = np.datetime64("2026-01-01")
STAKES = np.array([1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.9])


def a_year(draw, days=YEAR):
    """Observations of a year, `draw(day)` gives those of a day; and their days."""
    values = [draw(day) for day in range(days)]
    dates = [FIRST + day for day, drawn in enumerate(values) for _ in drawn]
    return np.concatenate(values), np.array(dates)


def test_two_days_by_hand():
    """With the bound 0.5 a stake s gains s / 2 on a mean of 0.75 and loses s on 0."""
    found = course([1, 0.5, 0], FIRST + np.array([0, 0, 1]), 0.5)
    first = (1 + STAKES / 2) / YEAR
    evening = first.mean() + (YEAR - 1) / YEAR
    second = (first + 1 / YEAR) * (1 - STAKES)
    next_evening = second.mean() + (YEAR - 2) / YEAR
    np.testing.assert_allclose(np.exp(found.log_capital), [evening, next_evening])


def test_days_without_observations_are_starts_like_any_other():
    """Who began on an empty day bets on the next observation."""
    found = course([1, 1], FIRST + np.array([0, 9]), 0.5)
    second = (((1 + STAKES) / YEAR) + 9 / YEAR) * (1 + STAKES)
    assert np.exp(found.log_capital[1]) == pytest.approx(second.mean() + (YEAR - 10) / YEAR)


def test_below_mirrors_above():
    """A mean that falls below 0.8 is one of the rest that rises above 0.2."""
    rng = np.random.default_rng(0)
    values, days = a_year(lambda day: rng.random(2))
    below = course(values, days, 0.8, above=False)
    above = course(1 - values, days, 0.2)
    np.testing.assert_allclose(below.log_capital, above.log_capital, rtol=1e-9)


def test_each_year_begins_anew():
    """What the first year has seen is no evidence in the second."""
    days = FIRST + np.array([*range(30), YEAR])
    found = course([1.0] * 30 + [0.0], days, 0.5)
    assert found.log_capital[29] > 5
    alone = course([0.0], [FIRST], 0.5)
    assert found.log_capital[30] == pytest.approx(alone.log_capital[0])


@pytest.mark.parametrize(("bound", "a_day"), [(0.05, 3), (0.3, 1), (0.6, 5)])
def test_false_alarms_stay_below_alpha_in_a_year_of_daily_looks(bound, a_day):
    """In 400 years without a change, the mean exactly at the bound: at most 5 %."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):
        values, days = a_year(lambda day: rng.random(a_day) < bound)
        alarms += course(values, days, bound).alarm(ALPHA) is not None
    assert alarms <= 0.05 * 400


def test_observations_that_agree_give_no_alarm_while_the_promise_holds():
    """Five a day that are all alike, as those of one campaign are."""
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(400):
        values, days = a_year(lambda day: np.full(5, float(rng.random() < 0.2)))
        alarms += course(values, days, 0.2).alarm(ALPHA) is not None
    assert alarms <= 0.05 * 400


@pytest.mark.parametrize(
    ("bound", "before", "after", "above"), [(0.1, 0.05, 0.4, True), (0.6, 0.7, 0.45, False)]
)
def test_a_change_at_mid_year_is_found_after_it_began_and_not_before(bound, before, after, above):
    """In nearly all of 100 years, and the day of its beginning within a month for most."""
    rng = np.random.default_rng(3)
    change = 180
    found = []
    for _ in range(100):
        values, days = a_year(lambda day: rng.random(3) < (after if day >= change else before))
        alarm = course(values, days, bound, above=above).alarm(ALPHA / 20)
        if alarm is not None:
            found.append([(day - FIRST).astype(int) for day in (alarm.day, alarm.since)])
    ended = np.array(found)
    assert len(ended) >= 95
    assert (ended[:, 0] >= change).mean() >= 0.99
    assert np.median(ended[:, 0]) < change + 90
    assert abs(np.median(ended[:, 1]) - change) < 15


def test_what_is_no_share_is_refused():
    """With the value."""
    with pytest.raises(EvaluationError, match=r"\[0, 1\], but got 1.5"):
        course([0.2, 1.5], [FIRST, FIRST], 0.5)
    with pytest.raises(EvaluationError, match="nan"):
        course([float("nan")], [FIRST], 0.5)
    with pytest.raises(EvaluationError, match="0 < bound < 1"):
        course([0.2], [FIRST], 1.0)


def test_no_observations_are_no_course():
    """And no alarm."""
    assert course([], np.array([], dtype="datetime64[D]"), 0.5).alarm(ALPHA) is None

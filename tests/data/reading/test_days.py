"""Days as exports write them."""

from datetime import date

import pytest

from ni_platform.data.reading.days import DayError, days_of


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2026-05-31", None, " "], [date(2026, 5, 31), None, None]),
        (["2026-05-31T23:30:00Z", "2026-06-01 00:10"], [date(2026, 5, 31), date(2026, 6, 1)]),
        (["31.5.2026"], [date(2026, 5, 31)]),
        (["Jun 09, 2018 09:30 pm"], [date(2018, 6, 9)]),
        (["Sat, May 1, 2021 10:15"], [date(2021, 5, 1)]),
        (["1/7/26 17:40", "25/7/26 8:05"], [date(2026, 7, 1), date(2026, 7, 25)]),
        (["7/1/2026", "7/25/2026"], [date(2026, 7, 1), date(2026, 7, 25)]),
        (["5/5/2026"], [date(2026, 5, 5)]),
    ],
)
def test_one_way_of_writing_fits_a_whole_column(cells: list, expected: list) -> None:
    """Days are read without the time beside them."""
    assert days_of(cells, None) == expected


def test_what_may_be_two_days_is_asked_for() -> None:
    """Nothing is guessed, and the answer decides."""
    with pytest.raises(DayError, match=r"2026-07-01 or 2026-01-07: say --dates") as raised:
        days_of(["5/5/2026", "1/7/2026"], None)
    assert raised.value.position == 1
    assert days_of(["1/7/2026"], "month-first") == [date(2026, 1, 7)]
    assert days_of(["1/7/2026"], "day-first") == [date(2026, 7, 1)]


@pytest.mark.parametrize("cells", [["2026-05-01", "yesterday"], ["2026-05-01", "2.5.2026"]])
def test_a_cell_that_does_not_fit_is_told(cells: list) -> None:
    """The first that is written otherwise."""
    with pytest.raises(DayError, match="is no day") as raised:
        days_of(cells, None)
    assert raised.value.position == 1

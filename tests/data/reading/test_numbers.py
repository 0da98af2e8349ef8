"""Numbers as people write them."""

from decimal import Decimal

import pyarrow as pa
import pytest

from ni_platform.data.reading.numbers import NumberError, numbers_of


def read(cells, **options):
    """The numbers of a column of cells."""
    return numbers_of(pa.chunked_array([pa.array(cells)]), **{"whole": False, **options}).tolist()


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1", "2.5", "-3", "1e3", ".5", "+4"], [1, 2.5, -3, 1000, 0.5, 4]),
        (["1,234,567", "12"], [1234567, 12]),
        (["1,234.5", "3.25"], [1234.5, 3.25]),
        (["1.234,5", "3,25"], [1234.5, 3.25]),
        (["3,5", "4,25"], [3.5, 4.25]),
        (["1 234", "1\N{NARROW NO-BREAK SPACE}234\N{NO-BREAK SPACE}567"], [1234, 1234567]),
        (["1'234.5", "2’000’000"], [1234.5, 2000000]),
        (["12 %", "3.5%", "100%"], [0.12, 0.035, 1]),
        (["€ 3", "€1,234.50"], [3, 1234.5]),
        (["3,50 €", "1.000,00 €"], [3.5, 1000]),
        (["-$4", "$-5"], [-4, -5]),
        (["\N{MINUS SIGN}3"], [-3]),
        ([Decimal("60.00"), Decimal("1.25")], [60, 1.25]),
        ([True, False], [1, 0]),
    ],
)
def test_one_way_of_writing_that_fits_is_read(cells, numbers):
    """Where all cells of a column can mean one thing only, they mean that."""
    assert read(cells) == pytest.approx(numbers)


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1,234", "60.0"], [1234, 60]),
        (["1.234", "999"], [1234, 999]),
        (["1,000", "2,000"], [1000, 2000]),
        (["60.0", "7.0"], [60, 7]),
    ],
)
def test_counts_are_whole(cells, numbers):
    """A separator that would leave a part of a click groups thousands."""
    assert read(cells, whole=True) == numbers


@pytest.mark.parametrize(
    ("cells", "options", "position"),
    [
        (["2", "1,234"], {}, 1),
        (["1.234"], {"comma_country": True}, 0),
        (["12.000"], {"whole": True}, 0),
        (["1,000"], {"whole": True, "comma_country": True}, 0),
    ],
)
def test_what_may_be_two_numbers_is_refused(cells, options, position):
    """Nothing is guessed: the error names the cell, both numbers and the option."""
    with pytest.raises(NumberError, match=r"may be .* or .*--decimal") as caught:
        read(cells, **options)
    assert caught.value.position == position
    assert (
        read(cells, **options, decimal=".")[position]
        != read(cells, **options, decimal=",")[position]
    )


@pytest.mark.parametrize(
    ("cells", "position"),
    [
        (["1", "many"], 1),
        (["1", "€ 3"], 1),
        (["5%", "3"], 1),
        (["€ 3", "$ 3"], 1),
        (["12,34,567"], 0),
        (["1.5", "1,5"], 1),
        (["1-2"], 0),
        (["(3)"], 0),
        (["5 TSD"], 0),
        (["1.2 MIO"], 0),
        (["30 BPS"], 0),
    ],
)
def test_what_is_no_number_is_refused_with_its_place(cells, position):
    """Mixed units and words are told, not turned into nulls."""
    with pytest.raises(NumberError) as caught:
        read(cells)
    assert caught.value.position == position


def test_nulls_of_all_kinds_are_null():
    """Dashes and words that reports write for nothing."""
    cells = ["1", "", "NA", "n/a", "null", "None", " -- ", "\N{EN DASH}", None]
    assert [number == number for number in read(cells)] == [True] + [False] * 8


def test_large_whole_numbers_with_nulls_stay_whole():
    """64 bits are not passed through a float."""
    assert read(["9007199254740993", None])[0] == 9007199254740993


def test_a_column_of_another_type_is_told_with_its_type():
    """Times and lists are no numbers, also where every cell is null."""
    with pytest.raises(
        NumberError, match=r"is in a column of timestamp\[ms\], no numbers: convert"
    ):
        numbers_of(pa.chunked_array([pa.array([None], pa.timestamp("ms"))]), whole=False)

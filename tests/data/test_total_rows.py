"""Rows of totals in exported reports."""

import numpy as np

from ni_platform.data.total_rows import total_rows

CONTENTS = [[100, 5], [200, 9], [50, 0], [70, 7]]
TOTAL = [420, 21]


def found(*rows):
    """Positions of the totals among rows of impressions and clicks."""
    return total_rows(np.array(rows, dtype=float)).tolist()


def test_the_sum_of_all_others_is_found_wherever_it_stands():
    """At the end, at the top, and twice."""
    assert found(*CONTENTS, TOTAL) == [4]
    assert found(TOTAL, *CONTENTS) == [0]
    assert found(*CONTENTS, TOTAL, TOTAL) == [4, 5]


def test_contents_are_no_totals():
    """Neither the largest one, nor one whose clicks are no sum, nor one of three by chance."""
    assert found(*CONTENTS) == []
    assert found(*CONTENTS, [420, 20]) == []
    assert found([1, 1], [2, 2], [3, 3]) == []
    assert found([0, 0], [0, 0], [0, 0], [0, 0]) == []
    assert found() == []

"""Rows of an exported report that are no contents: the totals of all others."""

from __future__ import annotations

import numpy as np

_LEAST_OTHERS = 3
"""Of two or three rows, one is the sum of the others by chance too often."""


def total_rows(counts: np.ndarray) -> np.ndarray:
    """Return the positions of rows that hold the sum of all others, int64, mostly none.

    A report may have several such rows, for the account and for the campaign, all alike.

    Args:
        counts: float64 [N, K], outcomes of each row, such as impressions and clicks.

    """
    if not len(counts):
        return np.zeros(0, dtype=np.int64)
    largest = counts[np.argmax(counts[:, 0])]
    alike = np.flatnonzero((counts == largest).all(axis=1))
    others = counts.sum(axis=0) - len(alike) * largest
    is_total = np.allclose(others, largest, rtol=1e-9, atol=0.0) and largest[0] > 0
    return alike if is_total and len(counts) - len(alike) >= _LEAST_OTHERS else alike[:0]

"""How many other contents agree in order with each content, in O(N log N)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ni_platform.metrics.scored import Codes, Floats


def concordance(prediction: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Hits and pairs of each of N contents with all others, each [N].

    A pair counts where the truths differ; it is a hit where the predictions differ in the same
    direction and half a hit where they are equal. The sums over contents count each pair twice.
    """
    p, y = dense_ranks(prediction), dense_ranks(truth)
    size = len(p)
    p_below, p_tied = below_and_tied(p)
    y_below, y_tied = below_and_tied(y)
    # In ascending order of truth, with ties in descending order of prediction, the earlier
    # rows with a lower prediction are those that are lower in both.
    order = np.argsort(y * size + (size - 1 - p), kind="stable")
    lower_in_both = np.empty(size, dtype=np.int64)
    lower_in_both[order] = count_smaller_before(p[order])
    # The same from above, by inclusion and exclusion: higher in both are all but those at or
    # below in truth or in prediction.
    below_among_y_ties, both_tied = below_and_tied(dense_ranks(y * size + p))
    below_among_p_ties, _ = below_and_tied(dense_ranks(p * size + y))
    at_or_below_in_both = (
        lower_in_both + (below_among_y_ties - y_below) + (below_among_p_ties - p_below) + both_tied
    )
    higher_in_both = size - (y_below + y_tied) - (p_below + p_tied) + at_or_below_in_both
    hits = lower_in_both + higher_in_both + (p_tied - both_tied) / 2
    return hits, (size - y_tied).astype(np.float64)


def count_smaller_before(values: NDArray[np.integer]) -> Codes:
    """For each of N values, how many values before it are strictly smaller [N].

    Bit by bit from the highest: rows stay in order within buckets of equal higher bits, and in
    each bucket a row with a 1 counts the rows with a 0 before it. Each bit is one pass.
    """
    size = len(values)
    # A permutation of 0..N-1 makes every bucket's place known; ties rank later rows lower, so
    # that they are not counted.
    ranks = np.empty(size, dtype=np.int32)
    ranks[size - 1 - np.argsort(values[::-1], kind="stable")] = np.arange(size, dtype=np.int32)
    rows = np.arange(size, dtype=np.int32)
    places = np.arange(size, dtype=np.int32)
    counts = np.zeros(size, dtype=np.int64)
    zeros_before = np.zeros(size + 1, dtype=np.int32)
    for bit in reversed(range(max(size - 1, 1).bit_length())):
        one = (ranks >> bit) & 1 == 1
        np.cumsum(~one, out=zeros_before[1:])
        start = ranks >> (bit + 1) << (bit + 1)
        zeros_in_bucket = zeros_before[:-1] - zeros_before[start]
        counts[rows[one]] += zeros_in_bucket[one]
        # A bucket that holds a 1 holds all 2^bit possible zeros.
        target = np.where(one, places - zeros_in_bucket + (1 << bit), start + zeros_in_bucket)
        moved_rows, moved_ranks = np.empty_like(rows), np.empty_like(ranks)
        moved_rows[target], moved_ranks[target] = rows, ranks
        rows, ranks = moved_rows, moved_ranks
    return counts


def dense_ranks(values: NDArray[np.generic]) -> Codes:
    """Ranks from 0 without gaps, equal for ties [N]."""
    order = np.argsort(values)
    ascending = values[order]
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(ascending[1:] != ascending[:-1])])
    return ranks


def below_and_tied(ranks: Codes) -> tuple[Codes, Codes]:
    """How many dense ranks are lower than, and how many equal to (itself included), each."""
    counts = np.bincount(ranks)
    return (np.cumsum(counts) - counts)[ranks], counts[ranks]

"""Pairs of contents of one A/B test, and how surely their observed rates differ."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ni_platform.metrics.scored import Codes, Floats, ScoredContents

MAX_DISTANCE = 256
SIGNIFICANT_Z = 1.959963984540054  # two-sided p = 0.05


def within_test_pairs(test_codes: Codes, *, seed: int = 0) -> Iterator[tuple[Codes, Codes]]:
    """Pairs of rows of one A/B test, in batches (first [P], second [P]).

    No row stands twice in one batch's `first`, so sums per row can be added by index. Every
    pair of a test of up to 257 contents comes once. Of a larger test, whose pairs would grow
    without bound, each content meets the 256 that follow it in a random order.
    """
    rows = np.flatnonzero(test_codes >= 0)
    if not len(rows):
        return
    if np.bincount(test_codes[rows]).max() > MAX_DISTANCE + 1:
        rows = np.random.default_rng(seed).permutation(rows)
    rows = rows[np.argsort(test_codes[rows], kind="stable")]
    codes = test_codes[rows]
    places = np.arange(len(rows))
    followers = np.searchsorted(codes, codes, side="right") - 1 - places
    for distance in range(1, MAX_DISTANCE + 1):
        places = places[followers[places] >= distance]
        if not len(places):
            return
        yield rows[places], rows[places + distance]


def distinct_pairs(test_codes: Codes, inputs: np.ndarray) -> tuple[Codes, Codes]:
    """All pairs of `within_test_pairs` whose inputs [N] differ, two [P]."""
    none = np.empty((2, 0), np.int64)
    batches = map(np.array, within_test_pairs(test_codes))
    first, second = np.concatenate([none, *batches], axis=1)
    differ = inputs[first] != inputs[second]
    return first[differ], second[differ]


def two_proportion_z(scored: ScoredContents, first: Codes, second: Codes) -> tuple[Floats, Floats]:
    """Return z of the pooled two-proportion test and the noise in log-odds, each [P].

    With pooled rate p, variance p(1 − p)(φ₁/n₁ + φ₂/n₂), φ the overdispersion; dividing the
    difference by p(1 − p) puts it on the log-odds scale, where z × noise is the observed
    difference. Without any click, or without anything but clicks, z is 0 and the noise infinite.
    """
    n1, n2 = scored.impressions[first], scored.impressions[second]
    pooled = (scored.clicks[first] + scored.clicks[second]) / (n1 + n2)
    spread = pooled * (1 - pooled)
    inverse = scored.overdispersion[first] / n1 + scored.overdispersion[second] / n2
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = scored.success_rate[first] - scored.success_rate[second]
        z = np.where(spread > 0, difference / np.sqrt(spread * inverse), 0.0)
        noise = np.where(spread > 0, np.sqrt(inverse / spread), np.inf)
    return z, noise

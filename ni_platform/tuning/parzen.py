"""Densities of trials in the space of parameters: the two halves of the TPE algorithm.

The estimator is the one of Optuna's multivariate `TPESampler` (a truncated normal kernel around
each trial, as wide as the gap to its neighbours, and a wide one in the middle). It is written so
that the logarithm of a density is one matrix product, which is why asking costs a millisecond
instead of tens. Two things differ:

- A parameter that a trial lacks, because a branch of the space was not taken, is spread evenly in
  its kernel and not looked at in a candidate. So one model serves a conditional space, and what
  depends on a branch is drawn together with it.
- The probability of a step of a number is taken from the middle of its cell, with the variance of
  an even spread over the cell added to that of the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from ni_platform.tuning.columns import Column

# As in Optuna: the last 25 trials count fully, older ones less, and no kernel is narrower than a
# hundredth of the scale.
_FULL_WEIGHT = 25
_NARROWEST = 100.0
_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)


def age_weights(n: int) -> np.ndarray:
    """Return the weights of `n` trials from oldest to newest, shape [n]."""
    ramp = np.linspace(1.0 / max(n, 1), 1.0, num=max(n - _FULL_WEIGHT, 0))
    return np.concatenate([ramp, np.ones(min(n, _FULL_WEIGHT))])


class Mixture:
    """A density over rows of places (see `Column`), NaN where a row lacks the parameter.

    Args:
        rows_KC: One row per trial from oldest to newest, one column per parameter.
        columns: What the columns mean.
    """

    def __init__(self, rows_KC: np.ndarray, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._numbers = [i for i, column in enumerate(columns) if not column.choices]
        self._choices = [i for i, column in enumerate(columns) if column.choices]
        self._present_KC = ~np.isnan(rows_KC)
        weights_K = np.append(age_weights(len(rows_KC)), 1.0)
        self._weights_K = weights_K / weights_K.sum()
        self._rows_KC = rows_KC
        self._fit_numbers(rows_KC[:, self._numbers])
        self._stay_C = self._present_KC.sum(axis=0) + 1.0
        self._coefficients_FK = np.concatenate(
            [*self._number_coefficients(), *(self._choice_coefficients(c) for c in self._choices)]
        )

    def log_density(self, rows_NC: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density at each row, shape [N]."""
        numbers_ND = rows_NC[:, self._numbers]
        known_ND = ~np.isnan(numbers_ND)
        numbers_ND = np.where(known_ND, numbers_ND, 0.0)
        features = [numbers_ND * numbers_ND, numbers_ND, known_ND.astype(float)]
        for c in self._choices:
            features.append(rows_NC[:, c, None] == np.arange(self._columns[c].choices))
        log_NK = np.concatenate(features, axis=1) @ self._coefficients_FK
        log_NK += np.log(self._weights_K)
        highest_N1 = log_NK.max(axis=1, keepdims=True)
        return np.log(np.exp(log_NK - highest_N1).sum(axis=1)) + highest_N1[:, 0]

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return `n` rows drawn from the density; a row lacks what its kernel's trial lacks."""
        kernels_N = rng.choice(len(self._weights_K), size=n, p=self._weights_K)
        rows_NC = np.empty((n, len(self._columns)))
        rows_NC[:, self._numbers] = self._draw_numbers(kernels_N, rng)
        for c in self._numbers:
            rows_NC[:, c] = self._columns[c].snap(rows_NC[:, c])
        for c in self._choices:
            rows_NC[:, c] = self._draw_choices(c, kernels_N, rng)
        trials = len(self._rows_KC)
        if trials:
            # The wide kernel belongs to no trial: it borrows the branches of any.
            branches_N = np.where(kernels_N < trials, kernels_N, rng.integers(trials, size=n))
            rows_NC[~self._present_KC[branches_N]] = np.nan
        return rows_NC

    def _fit_numbers(self, places_KD: np.ndarray) -> None:
        """Set centres, widths and the mass inside [0, 1] of every kernel, shape [K + 1, D]."""
        wide_1D = np.ones((1, places_KD.shape[1]))
        widths_KD = _widths(places_KD)
        for d, c in enumerate(self._numbers):
            cells = self._columns[c].cells(places_KD[:, d])
            widths_KD[:, d] = np.sqrt(widths_KD[:, d] ** 2 + np.square(cells) / 12)
        self._centres_KD = np.concatenate([places_KD, 0.5 * wide_1D])
        self._widths_KD = np.concatenate([widths_KD, wide_1D])
        self._below_KD = ndtr(-self._centres_KD / self._widths_KD)
        self._mass_KD = ndtr((1 - self._centres_KD) / self._widths_KD) - self._below_KD

    def _number_coefficients(self) -> list[np.ndarray]:
        """Three blocks of shape [D, K + 1], for the square of a place, the place, and 1."""
        precision_KD = 1 / self._widths_KD**2
        centres_KD = self._centres_KD
        constant_KD = -np.log(self._widths_KD * self._mass_KD) - _LOG_SQRT_2PI
        constant_KD -= 0.5 * precision_KD * centres_KD**2
        # Absent in a trial: density 1 everywhere on the unit scale.
        absent_KD = np.isnan(centres_KD)
        blocks = (-0.5 * precision_KD, precision_KD * centres_KD, constant_KD)
        return [np.where(absent_KD, 0.0, block_KD).T for block_KD in blocks]

    def _choice_coefficients(self, c: int) -> np.ndarray:
        """Log probabilities of shape [choices, K + 1]."""
        n, choices = self._stay_C[c], self._columns[c].choices
        taken_CK = self._rows_KC[:, c] == np.arange(choices)[:, None]
        given_CK = (taken_CK + 1 / n) / (1 + choices / n)
        even_C1 = np.full((choices, 1), 1 / choices)
        given_CK = np.where(self._present_KC[:, c], given_CK, even_C1)
        return np.log(np.concatenate([given_CK, even_C1], axis=1))

    def _draw_numbers(self, kernels_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        below_ND, mass_ND = self._below_KD[kernels_N], self._mass_KD[kernels_N]
        quantiles_ND = below_ND + rng.random(below_ND.shape) * mass_ND
        places_ND = self._centres_KD[kernels_N] + self._widths_KD[kernels_N] * ndtri(quantiles_ND)
        return np.clip(places_ND, 0.0, 1.0)

    def _draw_choices(self, c: int, kernels_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The trial's choice, or, as often as the kernel's even part weighs, any choice."""
        n, choices = self._stay_C[c], self._columns[c].choices
        any_N = rng.integers(choices, size=len(kernels_N)).astype(float)
        own_N = np.append(self._rows_KC[:, c], np.nan)[kernels_N]
        moved_N = (rng.random(len(kernels_N)) < choices / (n + choices)) | np.isnan(own_N)
        return np.where(moved_N, any_N, own_N)


def _widths(places_KD: np.ndarray) -> np.ndarray:
    """The larger gap to the neighbours in each column, between bounds; NaN stays NaN."""
    if not len(places_KD):
        return places_KD.copy()
    order_KD = np.argsort(places_KD, axis=0)  # NaN comes last
    sorted_KD = np.take_along_axis(places_KD, order_KD, axis=0)
    n_D = (~np.isnan(places_KD)).sum(axis=0)
    columns = np.flatnonzero(n_D)
    last = n_D[columns] - 1
    before_KD = np.concatenate([np.zeros((1, len(n_D))), sorted_KD[:-1]])
    after_KD = np.concatenate([sorted_KD[1:], np.full((1, len(n_D)), np.nan)])
    after_KD[last, columns] = 1.0
    gaps_KD = np.maximum(sorted_KD - before_KD, after_KD - sorted_KD)
    # The outermost trials look inwards only, where there are two of them.
    several = columns[n_D[columns] > 1]
    gaps_KD[0, several] = (after_KD - sorted_KD)[0, several]
    outermost = n_D[several] - 1
    gaps_KD[outermost, several] = (sorted_KD - before_KD)[outermost, several]
    gaps_KD = np.clip(gaps_KD, 1 / np.minimum(_NARROWEST, n_D + 2.0), 1.0)
    widths_KD = np.empty_like(gaps_KD)
    np.put_along_axis(widths_KD, order_KD, gaps_KD, axis=0)
    return widths_KD

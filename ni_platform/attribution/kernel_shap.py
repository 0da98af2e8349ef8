"""Kernel SHAP (Lundberg and Lee 2017): Shapley values by a weighted regression on coalitions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np

from ni_platform.attribution.features import Features, counts, without_anything


@dataclass(frozen=True)
class Coalitions:
    """Which of M features are present, and how much each coalition counts in the regression."""

    present: np.ndarray
    """bool [S, M]; neither empty nor whole."""
    weights: np.ndarray
    """float64 [S], summing to 1."""


class KernelShap:
    """Shapley values, exact where the budget holds all coalitions of a content's features.

    Coalitions of the smallest and largest sizes weigh most and are taken whole as long as the
    budget lasts; what is left of it is drawn by weight from the other sizes, each coalition with
    its complement, which halves the variance. Contents with equally many features share their
    coalitions, so that one regression solves them all.
    """

    name = "kernel_shap"

    def __init__(self, *, samples: int = 256, seed: int = 0) -> None:
        """Set the budget of evaluations per content, and what the drawing follows from."""
        self.samples = samples
        self.seed = seed

    def explains(self, features: Features) -> bool:
        """As `Attributor.explains`."""
        return True

    def attribute(self, features: Features) -> list[np.ndarray]:
        """As `Attributor.attribute`; values sum to C(X) - C(nothing) but for rounding."""
        sizes = counts(features)
        empty = without_anything(features)
        whole = features.contents.predictions
        drawn = {int(m): coalitions(int(m), self.samples, self.seed) for m in set(sizes)}
        rows = np.concatenate(
            [np.empty(0, np.int64)]
            + [np.full(len(drawn[int(m)].weights), row) for row, m in enumerate(sizes)]
        )
        present = np.zeros((len(rows), int(sizes.max(initial=0))), dtype=bool)
        start, parts = 0, []
        for m in sizes:
            found = drawn[int(m)].present
            present[start : start + len(found), :m] = found
            parts.append(slice(start, start + len(found)))
            start += len(found)
        worth = features.rates(rows, present)
        return [
            solve(drawn[int(m)], worth[part] - empty[row], whole[row] - empty[row]).reshape(shape)
            for row, (m, part, shape) in enumerate(zip(sizes, parts, features.shapes))
        ]


@lru_cache(maxsize=256)
def coalitions(features: int, samples: int, seed: int) -> Coalitions:
    """At most about `samples` coalitions of M features, or all of them if there are no more."""
    if features < 2:
        return Coalitions(np.zeros((0, features), dtype=bool), np.zeros(0))
    # Sizes k and M - k, with the kernel's weight of all their coalitions together.
    pairs = [(k, features - k) for k in range(1, features // 2 + 1)]
    mass = {k: (features - 1) / (k * (features - k)) * (2 if k < j else 1) for k, j in pairs}
    total = sum(mass.values())
    present: list[np.ndarray] = []
    weights: list[float] = []
    left = samples
    rest = list(pairs)
    for k, j in pairs:
        number = comb(features, k) * (2 if k < j else 1)
        if number > left:
            break
        for chosen in combinations(range(features), k):
            row = np.zeros(features, dtype=bool)
            row[list(chosen)] = True
            present += [row, ~row] if k < j else [row]
        weights += [mass[k] / total / number] * number
        left -= number
        rest = rest[1:]
    if rest and left >= 2:
        drawn = _drawn(features, [k for k, _ in rest], [mass[k] for k, _ in rest], left // 2, seed)
        present += drawn
        weights += [sum(mass[k] for k, _ in rest) / total / len(drawn)] * len(drawn)
    found = np.array(weights)
    return Coalitions(np.array(present), found / found.sum())


def _drawn(
    features: int, sizes: list[int], mass: list[float], pairs: int, seed: int
) -> list[np.ndarray]:
    """Coalitions drawn by their weight, each followed by its complement."""
    rng = np.random.default_rng([seed, features])
    found = []
    for k in rng.choice(sizes, size=pairs, p=np.array(mass) / sum(mass)):
        row = np.zeros(features, dtype=bool)
        row[rng.permutation(features)[:k]] = True
        found += [row, ~row]
    return found


def solve(drawn: Coalitions, worth: np.ndarray, whole: float) -> np.ndarray:
    """Shapley values [M] from what coalitions are worth beyond the empty one.

    Args:
        drawn: the coalitions.
        worth: float64 [S].
        whole: worth of all features together, to which the values sum.
    """
    features = drawn.present.shape[1]
    if features < 2:
        return np.full(features, whole)
    # The last value follows from the sum, which takes the constraint out of the regression.
    z = drawn.present.astype(np.float64)
    x = z[:, :-1] - z[:, -1:]
    y = worth - z[:, -1] * whole
    root = np.sqrt(drawn.weights)[:, None]
    first = np.linalg.lstsq(root * x, root[:, 0] * y, rcond=None)[0]
    return np.append(first, whole - first.sum())

"""PCA over methods: what several attributions have in common (Langlois et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ni_platform.attribution.attribution import Attribution


@dataclass(frozen=True)
class Consensus:
    """The first principal component of several methods' contributions, per content."""

    attributions: list[Attribution]
    loadings: dict[str, float]
    """Weight of each method's standardised contributions; their squares sum to 1."""
    explained_variance: float
    """Share of the standardised contributions' variance, in [1 / methods, 1]."""


def consensus(by_method: Mapping[str, Sequence[Attribution]]) -> Consensus:
    """Combine the contributions of the same contents by two methods or more.

    Each method's contributions are standardised over all features of all contents, so that no
    method weighs more for its scale; one component for all contents keeps them comparable.
    A component has neither sign nor scale of its own: its sign is such that it grows with the
    methods' mean, its scale is the methods' mean standard deviation, its mean theirs. Maps of
    pictures are brought to the smallest of the methods' maps.
    """
    methods = list(by_method)
    columns = [[] for _ in methods]  # type: list[list[np.ndarray]]
    shapes = []
    for contents in zip(*by_method.values()):
        shape = min((found.raw.shape for found in contents), key=lambda shape: int(np.prod(shape)))
        shapes.append(shape)
        for column, found in zip(columns, contents):
            column.append(resized(found.raw, shape).ravel())
    x = np.stack([np.concatenate(column) for column in columns], axis=1)
    mean, deviation = x.mean(0), x.std(0)
    z = (x - mean) / np.where(deviation > 0, deviation, 1)
    variances, vectors = np.linalg.eigh(z.T @ z / max(1, len(z)))
    first = vectors[:, -1]
    if first.sum() < 0 or (first.sum() == 0 and first[0] < 0):
        first = -first
    score = z @ first
    spread = score.std()
    score = score / (spread if spread > 0 else 1) * deviation.mean() + mean.mean()
    parts = np.split(score, np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1])
    some = next(iter(by_method.values()))
    total = variances.sum()
    return Consensus(
        attributions=[
            Attribution(part.reshape(shape), found.prediction, found.baseline)
            for part, shape, found in zip(parts, shapes, some)
        ],
        loadings=dict(zip(methods, first.tolist())),
        explained_variance=float(variances[-1] / total) if total > 0 else 0.0,
    )


def resized(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A map of contributions [H, W] in another size, with the same sum; others as they are.

    Each pixel's contribution is spread evenly over its area, and collected by area.
    """
    if values.shape == tuple(shape):
        return values
    down = _overlaps(values.shape[0], shape[0])
    across = _overlaps(values.shape[1], shape[1])
    return down @ values @ across.T


def _overlaps(length: int, cells: int) -> np.ndarray:
    """Share of each of `length` parts of a line that lies in each of `cells`, [cells, length]."""
    edges = np.linspace(0, 1, length + 1)
    bounds = np.linspace(0, 1, cells + 1)[:, None]
    inside = np.minimum(edges[1:], bounds[1:]) - np.maximum(edges[:-1], bounds[:-1])
    return np.clip(inside, 0, None) * length

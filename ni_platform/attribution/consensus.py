"""PCA over methods: what several attributions have in common (Langlois et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ni_platform.attribution.attribution import Attribution


@dataclass(frozen=True, kw_only=True)
class PrincipalComponent:
    """The first principal component of several methods' contributions to one modality.

    Each method's contributions are standardised over all features of all contents, so that no
    method weighs more for its scale; one component for all contents keeps them comparable.
    A component has neither sign nor scale of its own: its sign is such that it grows with the
    methods' mean, its scale is the methods' mean standard deviation, its mean theirs.
    """

    loadings: dict[str, float]
    """Weight of each method's standardised contributions; their squares sum to 1."""
    means: dict[str, float]
    deviations: dict[str, float]
    """Of each method's contributions."""
    spread: float
    """Standard deviation of the weighted sum."""
    explained_variance: float
    """Share of the standardised contributions' variance, in [1 / methods, 1]."""

    @classmethod
    def of(cls, by_method: Mapping[str, Sequence[Attribution]]) -> PrincipalComponent:
        """Find it in the contributions of the same contents by two methods or more."""
        x = np.concatenate(
            [_columns(found)[0] for found in zip(*by_method.values(), strict=True)], axis=0
        )
        # By the range, as rounding leaves a deviation of equal numbers.
        mean, deviation = x.mean(0), np.where(np.ptp(x, axis=0) > 0, x.std(0), 0.0)
        z = (x - mean) / np.where(deviation > 0, deviation, 1)
        variances, vectors = np.linalg.eigh(z.T @ z / max(1, len(z)))
        first = vectors[:, -1]
        if first.sum() < 0 or (first.sum() == 0 and first[0] < 0):
            first = -first
        total = variances.sum()
        return cls(
            loadings=dict(zip(by_method, first.tolist())),
            means=dict(zip(by_method, mean.tolist())),
            deviations=dict(zip(by_method, deviation.tolist())),
            spread=float((z @ first).std()),
            explained_variance=float(variances[-1] / total) if total > 0 else 0.0,
        )

    def combine(self, by_method: Mapping[str, Sequence[Attribution]]) -> list[Attribution]:
        """Each content's contributions on the component.

        Maps of pictures are brought to the smallest of the methods' maps.
        """
        mean, deviation, loading = (
            np.array([values[method] for method in by_method])
            for values in (self.means, self.deviations, self.loadings)
        )
        scale = deviation.mean() / (self.spread if self.spread > 0 else 1)
        combined = []
        for found in zip(*by_method.values(), strict=True):
            x, shape = _columns(found)
            z = (x - mean) / np.where(deviation > 0, deviation, 1)
            values = z @ loading * scale + mean.mean()
            combined.append(
                Attribution(values.reshape(shape), found[0].prediction, found[0].baseline)
            )
        return combined


def _columns(found: Sequence[Attribution]) -> tuple[np.ndarray, tuple[int, ...]]:
    """One content's contributions [features, methods], and the shape of their features."""
    shape = min((each.raw.shape for each in found), key=lambda shape: int(np.prod(shape)))
    return np.stack([resized(each.raw, shape).ravel() for each in found], axis=1), shape


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

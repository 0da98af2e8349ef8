"""Integrated gradients (Sundararajan et al. 2017) by Captum, over whatever a modality reads."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients

from ni_platform.attribution import tiles
from ni_platform.attribution.cells import Cells
from ni_platform.attribution.ensemble import EnsembleFeatures
from ni_platform.attribution.features import PIXELS_AT_ONCE, Features, counts
from ni_platform.narrowing import given


class IntegratedGradients:
    """Gradients along the straight line from the baseline, times the way (Eq. 1 of its paper).

    Texts are walked in the space of token vectors, pictures in pixels, from the mean colour.
    """

    name = "integrated_gradients"

    def __init__(self, *, steps: int = 32, points_at_once: int = 64) -> None:
        """Set the points of the Gauss-Legendre rule, and how many the network sees together."""
        self.steps = steps
        self.points_at_once = points_at_once

    def explains(self, features: Features) -> bool:
        """As `Attributor.explains`."""
        return True

    def attribute(self, features: Features) -> list[np.ndarray]:
        """As `Attributor.attribute`; of pictures, maps in pixels."""
        captum = CaptumIntegratedGradients(features.rates_at)
        found = [np.zeros(shape) for shape in features.shapes]
        for rows, at_once in groups(features, self.points_at_once):
            features.evaluations += self.steps * len(rows)
            if isinstance(features, Cells) and features.tiled(rows[0]) is not None:
                for row in rows:
                    found[row] = self._of_large_picture(features, row)
                continue
            points, baseline = features.points(rows)
            contributions = captum.attribute(
                points,
                baseline,
                additional_forward_args=(torch.tensor(rows, device=points.device),),
                n_steps=self.steps,
                internal_batch_size=at_once,
            )
            for row, values in zip(rows, features.collect(contributions, rows)):
                found[row] = values
        return found

    def _of_large_picture(self, features: Cells, row: int) -> np.ndarray:
        picture = given(features.tiled(row))
        return tiles.integrated_gradients(picture, features.rate_of(row), self.steps)


def groups(features: Features, at_once: int) -> Iterator[tuple[list[int], int]]:
    """Rows that have features, in groups whose points are of one shape.

    With each group comes how many points of that shape the network may see together: `at_once`, of
    pictures no more than `PIXELS_AT_ONCE` hold. A group has no more rows than that.
    """
    read = features.members if isinstance(features, EnsembleFeatures) else [features]
    cells = [each for each in read if isinstance(each, Cells)]
    groups_of: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for row in np.flatnonzero(counts(features)):
        sides = tuple(tuple(each.pixels[row].shape[1:]) for each in cells)
        groups_of.setdefault(sides, []).append(int(row))
    for sides, rows in groups_of.items():
        pixels = sum(prod(side) for side in sides)
        most = max(1, min(at_once, PIXELS_AT_ONCE // pixels)) if pixels else at_once
        for start in range(0, len(rows), most):
            yield rows[start : start + most], most

"""Integrated gradients (Sundararajan et al. 2017) by Captum, over whatever a modality reads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients

from ni_platform.attribution.features import Features, counts


class IntegratedGradients:
    """Gradients along the straight line from the baseline, times the way (Eq. 1 of its paper).

    Texts are walked in the space of token vectors, pictures in pixels, from the mean colour.
    """

    name = "integrated_gradients"
    modalities = ("image", "text", "domain", "attributes")

    def __init__(self, *, steps: int = 32, points_at_once: int = 64) -> None:
        """Set the points of the Gauss-Legendre rule, and how many the network sees together."""
        self.steps = steps
        self.points_at_once = points_at_once

    def attribute(self, features: Features) -> list[np.ndarray]:
        """As `Attributor.attribute`; of pictures, maps in pixels."""
        captum = CaptumIntegratedGradients(features.rates_at)
        found = [np.zeros(shape) for shape in features.shapes]
        for rows in groups(features, self.points_at_once):
            points, baseline = features.points(rows)
            contributions = captum.attribute(
                points,
                baseline,
                additional_forward_args=(torch.tensor(rows, device=points.device),),
                n_steps=self.steps,
                internal_batch_size=max(self.points_at_once, len(rows)),
            )
            features.evaluations += self.steps * len(rows)
            for row, values in zip(rows, features.collect(contributions, rows)):
                found[row] = values
        return found


def groups(features: Features, at_once: int) -> Iterator[list[int]]:
    """Rows that have features, in groups whose points are of one shape."""
    pictures = getattr(features.contents.inputs, "image_B3HW", None)
    groups_of: dict[object, list[int]] = {}
    for row in np.flatnonzero(counts(features)):
        shape = None
        if features.modality == "image" and pictures is not None:
            shape = tuple(pictures[row].shape)
        groups_of.setdefault(shape, []).append(int(row))
    for rows in groups_of.values():
        for start in range(0, len(rows), at_once):
            yield rows[start : start + at_once]

"""What can be switched off in a content: the features of one modality, and what is left then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ni_platform.attribution.contents import Contents, Predicted

PIXELS_AT_ONCE = 500_000
"""Pixels of pictures that an image network reads together, beyond a first picture: gradients need
3 KB each. More is no faster (`tests/benchmarks/RESULTS.md`)."""


class Features(Protocol):
    """The features of one modality of some contents.

    Attributors read them: perturbing ones ask for `rates` without some of the features,
    gradients walk from `baseline` to `point`.
    """

    modality: str
    shapes: list[tuple[int, ...]]
    """Of the features of each content: [words], [columns], or [cells down, cells across]."""
    evaluations: int
    """How often the network was asked so far, duplicates not counted."""

    @property
    def contents(self) -> Predicted:
        """Whose they are."""
        ...

    def rates(self, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Success rates, float64 [P], of contents `rows` [P] with only their `present` features.

        `present` is bool [P, M], of which a content with fewer than M features reads the first.
        """
        ...

    def points(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What gradients are taken of, and its baseline: two tensors [B, ...] of equal shape."""
        ...

    def rates_at(self, points: Tensor, rows: Tensor) -> Tensor:
        """Success rates [P] at `points` [P, ...], differentiable; `rows` [P] says of which content.

        The rows are among those that `points` was asked for last.
        """
        ...

    def collect(self, contributions: Tensor, rows: Sequence[int]) -> list[np.ndarray]:
        """Sum what each number of `points` contributes by feature; pictures stay in pixels."""
        ...


def counts(features: Features) -> np.ndarray:
    """Number of features of each content, int64 [N]."""
    return np.array([int(np.prod(shape)) for shape in features.shapes], dtype=np.int64)


def without_anything(features: Features) -> np.ndarray:
    """Success rates of the contents without any feature of the modality, float64 [N]."""
    most = int(counts(features).max(initial=0))
    size = len(features.contents)
    return features.rates(np.arange(size), np.zeros((size, most), dtype=bool))


def distinct(rows: np.ndarray, present: np.ndarray, sizes: np.ndarray) -> tuple[Any, np.ndarray]:
    """Positions of the first of equal (row, present) pairs, and for each pair which one it is.

    Columns beyond a content's `sizes` count as absent.
    """
    used = present & (np.arange(present.shape[1]) < sizes[rows][:, None])
    keys = np.concatenate(
        [rows.astype("<i8")[:, None].view(np.uint8).reshape(len(rows), 8), np.packbits(used, 1)],
        axis=1,
    )
    whole = np.ascontiguousarray(keys).view([("", np.void, keys.shape[1])]).ravel()
    _, first, which = np.unique(whole, return_index=True, return_inverse=True)
    return first, which


def in_batches(count: int, at_once: int) -> list[slice]:
    """Slices of at most `at_once` that cover `count`."""
    return [slice(start, start + at_once) for start in range(0, count, at_once)]


def no_grad_rates(
    contents: Contents, rows: np.ndarray, modality: str, **changed: Any
) -> np.ndarray:
    """`Contents.rates` as numbers, float64 [P]."""
    with torch.inference_mode():
        chosen = torch.as_tensor(rows, device=contents.device)
        return contents.rates(chosen, modality, **changed).double().cpu().numpy()

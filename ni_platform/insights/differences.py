"""What only one of two contents has, and what attributions give to it (NI Algorithms 3 and 4)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from ni_platform.attribution.attribution import Attribution
from ni_platform.attribution.consensus import resized
from ni_platform.attribution.explain import ModalityExplained
from ni_platform.insights.correlation import control_against_best
from ni_platform.insights.pairs import Arms

_LOCATIONS_AT_ONCE = 4096
"""Side of the blocks in which locations are compared: 64 MiB of similarities at a time."""


def element_difference(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
) -> tuple[np.ndarray, np.ndarray]:
    """Indicators P_i and P_j: which elements of each are not among the other's (Algorithm 3).

    Elements are words, or attributes with their level; each occurrence of a distinct one counts.
    """
    of_first, of_second = set(first), set(second)
    only_first = np.array([element not in of_second for element in first], dtype=np.float64)
    only_second = np.array([element not in of_first for element in second], dtype=np.float64)
    return only_first, only_second


def location_difference(
    first: Tensor, second: Tensor, *, similarity: float
) -> tuple[np.ndarray, np.ndarray]:
    """Masks P_i and P_j over two feature maps: locations without a like in the other map.

    Algorithm 4, steps i to iv: the cosine of every feature vector of one map with every one of
    the other, the maximum for each location, and a threshold, which the paper does not give.

    Args:
        first: feature map [C, H, W] of one picture, or second: of another, of any size.
        second: the other one's.
        similarity: a location whose best like is less similar than this is different.

    Returns:
        Two float64 masks [H, W] of ones where different. Memory does not grow with the maps.
    """
    masks = []
    for here, there in ((first, second), (second, first)):
        a, b = (functional.normalize(x.flatten(1), dim=0) for x in (here, there))
        best = torch.full((a.shape[1],), -1.0, device=a.device)
        for start in range(0, a.shape[1], _LOCATIONS_AT_ONCE):
            block = a[:, start : start + _LOCATIONS_AT_ONCE].T
            for other in range(0, b.shape[1], _LOCATIONS_AT_ONCE):
                found = (block @ b[:, other : other + _LOCATIONS_AT_ONCE]).amax(1)
                part = slice(start, start + len(found))
                best[part] = torch.maximum(best[part], found)
        masks.append((best < similarity).view(here.shape[1:]).double().cpu().numpy())
    return masks[0], masks[1]


def attributed_difference(
    first: Attribution,
    second: Attribution,
    only_first: np.ndarray,
    only_second: np.ndarray,
) -> float:
    """What `second` has alone contributes, less what `first` has alone: P_j C_j - P_i C_i.

    Raw contributions are compared. Those that sum to the prediction of a network of several
    modalities hold what the other modalities contribute as well, and would be credited with it.
    """
    return _inside(second, only_second) - _inside(first, only_first)


def _inside(attribution: Attribution, mask: np.ndarray) -> float:
    """Sum of the contributions inside a mask; a map's mask is resized to it (Algorithm 4, iv)."""
    values = attribution.raw
    if values.ndim == 2 and mask.shape != values.shape:
        # Sums over areas, divided by the area: the share of each cell that is masked.
        mask = resized(mask, values.shape) * (values.size / mask.size)
    return float((mask * values).sum())


class Differences:
    """What distinguishes the two contents of each pair in one modality."""

    def __init__(
        self,
        explained: ModalityExplained,
        arms: Arms,
        similarity: float,
    ) -> None:
        """Find the masks of each pair (Algorithms 3 and 4, steps i to iv)."""
        self._arms = arms
        self._masks = []
        elements = explained.elements
        for i, j in zip(arms.first, arms.second):
            if elements:
                self._masks.append(element_difference(elements[i], elements[j]))
                continue
            first, second = explained.maps[i], explained.maps[j]
            if first is None or second is None:
                self._masks.append((np.zeros((1, 1)), np.zeros((1, 1))))
            else:
                self._masks.append(
                    location_difference(first.float(), second.float(), similarity=similarity)
                )
        self.differ = np.array([a.any() or b.any() for a, b in self._masks], dtype=bool)
        """Whether anything distinguishes them, bool [P]."""

    def of(self, attributions: list[Attribution]) -> np.ndarray:
        """Attribution of what only the second content has less that of the first, float64 [P]."""
        return np.array(
            [
                attributed_difference(attributions[i], attributions[j], *masks) if differ else 0.0
                for i, j, masks, differ in zip(
                    self._arms.first, self._arms.second, self._masks, self.differ
                )
            ],
            dtype=np.float64,
        )


def pair_table(
    arms: Arms, differences: Differences, attributions: list[Attribution], counted: np.ndarray
) -> pd.DataFrame:
    """The pairs behind a method's insight correlation; see `Insights.pairs`.

    Args:
        arms: contents, outcomes and the pairs.
        differences: what distinguishes the contents of each pair.
        attributions: the method's, of each content.
        counted: contents whose pairs are compared, bool [N].
    """
    inside = differences.differ & counted[arms.first] & counted[arms.second]
    best = np.zeros(len(inside), dtype=bool)
    best[control_against_best(arms, inside)(arms.rate)] = True
    return pd.DataFrame(
        {
            "first": arms.first,
            "second": arms.second,
            "ab_test": arms.test[arms.first],
            "attribution_difference": differences.of(attributions),
            "rate_difference": arms.rate[arms.second] - arms.rate[arms.first],
            "control_best": best,
        }
    )[inside].reset_index(drop=True)

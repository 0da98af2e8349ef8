"""The features of contents as an ensemble reads them: those of its networks, side by side."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ni_platform.attribution.cells import Cells
from ni_platform.attribution.columns import Named
from ni_platform.attribution.consensus import resized
from ni_platform.attribution.contents import Contents
from ni_platform.attribution.features import Features, distinct
from ni_platform.attribution.words import Word, Words
from ni_platform.errors import ConfigError
from ni_platform.models.ensemble import Ensemble
from ni_platform.models.mixing import EDGE, mixed


class EnsembleContents:
    """N contents as each network of an ensemble reads them, and the ensemble's predictions."""

    def __init__(self, scorer: Ensemble, frame: pd.DataFrame) -> None:
        """Read and encode the rows of `frame` once for each network; errors as `Contents`."""
        self.scorer = scorer
        self.frame = frame.reset_index(drop=True)
        self.members = [Contents(network, frame) for network in scorer.networks.values()]
        self.weights = list(scorer.weights.values())
        self.predictions = mixed([each.predictions for each in self.members], self.weights)
        """Success rates, float64 [N]."""

    def __len__(self) -> int:
        return len(self.frame)


class EnsembleFeatures:
    """Features: what any network of an ensemble can be without, taken from all of them at once.

    A word that one network reads and another cuts off is a feature that the other does not have.
    Gradients walk from the baselines of all networks to their points together.
    """

    def __init__(
        self, contents: EnsembleContents, modality: str, members: Sequence[Features | None]
    ) -> None:
        """Take each network's features, of pictures over equal grids; None if it reads none."""
        self.contents = contents
        self.modality = modality
        self.evaluations = 0
        self._every = members
        self.members = [each for each in members if each is not None]
        """The features of the networks that read the modality, the heaviest network first."""
        keys = [_keys(each) for each in self.members]
        union = [_union(found) for found in zip(*keys)]
        number = [{key: place for place, key in enumerate(found)} for found in union]
        self._places = [
            [np.array([of[key] for key in own], dtype=np.int64) for of, own in zip(number, found)]
            for found in keys
        ]
        """Of each of `members` and content, which of the ensemble's features each of its own is."""
        self._sizes = np.array([len(found) for found in union], dtype=np.int64)
        first = self.members[0]
        self.shapes: list[tuple[int, ...]] = [(len(found),) for found in union]
        if isinstance(first, Cells):
            self.shapes = first.shapes
        self.words: list[list[Word]] = union if isinstance(first, Words) else []
        self.names: list[list[str]] = []
        self.elements: list[list[Any]] = [[word.key for word in found] for found in self.words]
        if isinstance(first, Named):
            self.names = [[name for name, _ in found] for found in union]
            self.elements = self._named_elements(keys, union)

    def _named_elements(self, keys: list[list[list[Any]]], union: list[list[Any]]) -> Any:
        known: list[dict[Hashable, Any]] = [{} for _ in union]
        for each, found in zip(reversed(self.members), reversed(keys)):  # the heaviest decides
            if isinstance(each, Named):
                for content, own, elements in zip(known, found, each.elements):
                    content.update(zip(own, elements))
        return [[content[key] for key in found] for content, found in zip(known, union)]

    def rates(self, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """As `Features.rates`."""
        first, which = distinct(rows, present, self._sizes)
        rows, present = rows[first], present[first]
        self.evaluations += len(rows)
        padded = np.hstack([present, np.zeros((len(rows), 1), dtype=bool)])
        places, found = iter(self._places), []
        for contents, each in zip(self.contents.members, self._every):
            if each is None:
                found.append(contents.predictions[rows])
                continue
            own = next(places)
            # What a content has less of than others is looked up in the last column: absent.
            table = np.full((len(own), max(map(len, own), default=0)), -1)
            for row, place in enumerate(own):
                table[row, : len(place)] = place
            found.append(each.rates(rows, np.take_along_axis(padded, table[rows], axis=1)))
        return mixed(found, self.contents.weights)[which]

    def points(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What all networks' points and baselines are, flattened and side by side: two [B, X].

        Raises:
            ConfigError: a picture is so large that a network reads it tile by tile.
        """
        if any(
            isinstance(each, Cells) and each.tiled(row) for each in self.members for row in rows
        ):
            raise ConfigError(
                "integrated gradients of an ensemble are taken of whole pictures, but one is so "
                "large that a network reads it in tiles: leave the method out of --methods, or "
                "train the members with model.image.input.size"
            )
        ends = [each.points(rows) for each in self.members]
        self._shapes = [points.shape[1:] for points, _ in ends]
        points, baselines = (torch.cat([end.flatten(1) for end in each], 1) for each in zip(*ends))
        return points, baselines

    def _split(self, points: Tensor) -> list[Tensor]:
        """Undo the flattening of `points`."""
        parts = points.split([shape.numel() for shape in self._shapes], dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self._shapes)]

    def rates_at(self, points: Tensor, rows: Tensor) -> Tensor:
        """As `Features.rates_at`."""
        parts = iter(self._split(points))
        logit_P = torch.zeros(len(rows), dtype=torch.float64, device=points.device)
        members = zip(self.contents.members, self._every, self.contents.weights)
        for contents, each, weight in members:
            if each is None:
                rate_P = torch.as_tensor(contents.predictions, device=points.device)[rows]
            else:
                rate_P = each.rates_at(next(parts), rows)
            logit_P = logit_P + weight * torch.logit(rate_P, eps=EDGE)
        return torch.sigmoid(logit_P)

    def collect(self, contributions: Tensor, rows: Sequence[int]) -> list[np.ndarray]:
        """As `Features.collect`; maps of pictures in the pixels of the smallest."""
        parts = zip(self.members, self._split(contributions))
        return self._summed([each.collect(part, rows) for each, part in parts], rows)

    def by_derivative(self, attribute: Callable[[Features], list[np.ndarray]]) -> list[np.ndarray]:
        """What a method gives whose contributions are proportional to the rate's gradient.

        By the chain rule they are those to each network's own rate q, times the derivative
        w p (1 - p) / (q (1 - q)) of the ensemble's rate p.
        """
        p_N, found = self.contents.predictions, []
        members = zip(self.contents.members, self._every, self.contents.weights)
        for contents, each, weight in members:
            if each is not None:
                q_N = contents.predictions
                factor_N = weight * p_N * (1 - p_N) / (q_N * (1 - q_N))
                found.append([raw * factor for raw, factor in zip(attribute(each), factor_N)])
        return self._summed(found, range(len(self.contents)))

    def _summed(self, found: list[list[np.ndarray]], rows: Sequence[int]) -> list[np.ndarray]:
        """The sum over networks of contributions to the contents `rows`."""
        total = []
        for position, row in enumerate(rows):
            each = [values[position] for values in found]
            if isinstance(self.members[0], Cells):
                shape = tuple(np.min([values.shape for values in each], axis=0))
                total.append(np.sum([resized(values, shape) for values in each], axis=0))
                continue
            values = np.zeros(self._sizes[row])
            for own, places in zip(each, self._places):
                values[places[row]] += own
            total.append(values)
        return total


def _keys(features: Features) -> list[list[Any]]:
    """The features of each content, equal where two networks read the same one."""
    if isinstance(features, Words):
        return list(features.words)
    if isinstance(features, Named):
        return [[(n, names[:i].count(n)) for i, n in enumerate(names)] for names in features.names]
    return [list(range(int(np.prod(shape)))) for shape in features.shapes]


def _union(found: Sequence[list[Any]]) -> list[Any]:
    """One content's features, each once; words as they stand in its texts."""
    union = list(dict.fromkeys(key for own in found for key in own))
    if union and isinstance(union[0], Word):
        columns = list(dict.fromkeys(word.column for word in union))
        union.sort(key=lambda word: (columns.index(word.column), word.start))
    return union

"""Patches of past pictures that a model's insights recommend, or advise against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from ni_platform.attribution.consensus import resized
from ni_platform.dashboard.past import domain_labels
from ni_platform.dashboard.pictures import GRID, Cell, cell_of, shown
from ni_platform.data.dataset import Dataset
from ni_platform.errors import ImageError

_KEPT = 512


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A cell of a past content's picture."""

    content_id: str
    cell: Cell


class Patches:
    """The cell that contributes most, and the one that takes most away, of each past picture."""

    def __init__(
        self, attributions: pd.DataFrame, dataset: Dataset, *, in_points: bool = True
    ) -> None:
        """Take a run's stored attributions of pictures by one method.

        Args:
            attributions: columns content_id, shape and contributions, as `attribution_table` has
                them.
            dataset: where the pictures are; contents that it lacks are left out.
            in_points: whether contributions are changes of the success rate.
        """
        rows = pd.Series(np.arange(len(dataset)), index=dataset.content_id.astype(str))
        uris = dataset.image_uri
        self._dataset = dataset
        self._domains = domain_labels(dataset)
        self.in_points = in_points
        self._cells: list[tuple[int, int, int, float]] = []
        seen: set[str] = set()
        for content_id, shape, values in zip(
            attributions["content_id"], attributions["shape"], attributions["contributions"]
        ):
            row = int(rows.get(str(content_id), -1))
            # A picture that several contents share is shown once.
            if row < 0 or uris is None or uris.iloc[row] is None or uris.iloc[row] in seen:
                continue
            seen.add(uris.iloc[row])
            map_HW = np.asarray(values, dtype=np.float64).reshape(tuple(shape))
            cells = resized(map_HW, _coarse(map_HW.shape))
            for position in {int(cells.argmax()), int(cells.argmin())}:
                down, across = divmod(position, cells.shape[1])
                self._cells.append((row, down, across, float(cells[down, across])))
        self._drawn = lru_cache(_KEPT)(self._draw)

    def top(self, domain: str, count: int = 5) -> tuple[list[Patch], list[Patch], str | None]:
        """The best and the worst, and the domain they are from (None: all, if it has none)."""
        inside = [cell for cell in self._cells if domain and self._domains[cell[0]] == domain]
        ordered = sorted(inside or self._cells, key=lambda cell: -cell[3])
        best = [cell for cell in ordered if cell[3] > 0]
        worst = [cell for cell in reversed(ordered) if cell[3] < 0]
        return self._some(best, count), self._some(worst, count), domain if inside else None

    def _some(self, cells: Sequence[tuple[int, int, int, float]], count: int) -> list[Patch]:
        """The first that can be drawn."""
        found: list[Patch] = []
        for cell in cells:
            if len(found) == count:
                break
            patch = self._drawn(cell)
            if patch is not None:
                found.append(patch)
        return found

    def _draw(self, place: tuple[int, int, int, float]) -> Patch | None:
        row, down, across, contribution = place
        uris = self._dataset.image_uri
        if uris is None:
            return None
        try:
            picture = shown(uris.iloc[row])
        except ImageError:  # removed since
            return None
        return Patch(
            content_id=str(self._dataset.content_id.iloc[row]),
            cell=cell_of(picture, down, across, contribution),
        )


def _coarse(shape: tuple[int, ...]) -> tuple[int, int]:
    """At most `GRID` cells along the longer side."""
    scale = min(1.0, GRID / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))

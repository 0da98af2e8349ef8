"""Patches of past pictures that a model's insights recommend, or advise against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from PIL import Image

from ni_platform.dashboard.advice import Recommendation, listed
from ni_platform.dashboard.pictures import data_uri
from ni_platform.data.dataset import Dataset
from ni_platform.data.images import decode
from ni_platform.errors import ImageError

_SHOWN = 6
"""Of each direction: one patch of each of the best clusters."""
_SIDE = 128
"""Pixels along the longer side of a patch on the page."""


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A window of a past content's picture, with what its cluster of like ones rests on."""

    content_id: str
    picture: str
    """Data URI."""
    cluster: Recommendation


class Patches:
    """Recommended patches, cut out when they are first asked for."""

    def __init__(self, table: pd.DataFrame, dataset: Dataset, *, in_points: bool = True) -> None:
        """Take `StoredInsights.patches`, and the dataset whose pictures they are of.

        Contents that the dataset lacks are left out, and pictures that are gone. `in_points` says
        whether contributions are changes of the success rate.
        """
        self._table = table
        self._dataset = dataset
        self._in_points = in_points

    @cached_property
    def best(self) -> list[Patch]:
        """Those that raise the prediction, the best cluster first."""
        return self._cut("positive")

    @cached_property
    def worst(self) -> list[Patch]:
        """Those that lower it, the worst cluster first."""
        return self._cut("negative")

    def _cut(self, direction: str) -> list[Patch]:
        rows = {name: row for row, name in enumerate(self._dataset.content_id.astype(str))}
        uris = self._dataset.image_uri
        found: dict[int, Patch] = {}
        table = self._table[self._table["direction"] == direction]
        for position, patch in enumerate(table.to_dict("records")):
            row = rows.get(str(patch["content_id"]))
            if patch["cluster"] in found or row is None or uris is None or uris.iloc[row] is None:
                continue
            try:
                left, top, right, bottom = (int(edge) for edge in patch["box"])
                cut = decode(uris.iloc[row]).crop((left, top, right, bottom))
            except ImageError:
                continue
            cut.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            named = table.iloc[[position]].assign(
                kind="patch", feature=f"cluster {patch['cluster']}"
            )
            found[patch["cluster"]] = Patch(
                content_id=str(patch["content_id"]),
                picture=data_uri(cut),
                cluster=listed(named, self._in_points)[0],
            )
            if len(found) == _SHOWN:
                break
        return list(found.values())

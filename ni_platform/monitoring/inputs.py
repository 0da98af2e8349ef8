"""Inputs that a model knows little of: modalities that are missing, levels that it never saw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ni_platform.models.baselines.tabular import TabularRegressor
from ni_platform.models.ensemble import Ensemble, Member
from ni_platform.models.modalities.attributes import AttributesReader
from ni_platform.models.modalities.modality import category
from ni_platform.models.regressor import Regressor
from ni_platform.models.scorer import Scorer

_ATTRIBUTES = ("categorical", "numeric", "vector")


def members(model: Regressor) -> list[Member]:
    """The models that a model is made of, the heaviest first; itself if it is no ensemble."""
    if isinstance(model, Ensemble):
        return list(model.members.values())
    return [model] if isinstance(model, Scorer | TabularRegressor) else []


def modality_columns(roles: Mapping[str, str]) -> dict[str, list[str]]:
    """The columns of each modality, of those that a model reads; it is missing if all are empty.

    Named as in the log of predictions: categorical, numeric and vector columns are attributes.
    """
    found: dict[str, list[str]] = {}
    for name, role in roles.items():
        found.setdefault("attributes" if role in _ATTRIBUTES else role, []).append(name)
    return found


def known_levels(model: Regressor) -> dict[str, set[str]]:
    """The levels that a model knows of each categorical column."""
    found: dict[str, set[str]] = {}
    for member in members(model):
        if isinstance(member, Scorer):
            read = member.inputs.readers.values()
            readers = [reader for reader in read if isinstance(reader, AttributesReader)]
        else:
            readers = [member.features.attributes]
        for reader in readers:
            for column, levels in reader.categorical:
                found.setdefault(column, set()).update(levels)
    return found


def lacks(frame: pd.DataFrame, columns: list[str]) -> NDArray[np.float64]:
    """1 for each row [N] in which all these columns are empty, else 0."""
    empty = np.ones(len(frame), dtype=bool)
    for name in columns:
        cells = frame[name]
        blank = cells.map(lambda cell: isinstance(cell, str) and not cell.strip())
        empty &= (cells.isna() | blank.astype(bool)).to_numpy()
    return empty.astype(np.float64)


def unknown(cells: pd.Series, levels: set[str]) -> NDArray[np.float64]:
    """1 for each cell [N] with a level that is none of these, 0 for others, nan for empty ones."""
    found = [category(cell) for cell in cells]
    return np.array(
        [np.nan if level is None else float(level not in levels) for level in found],
        dtype=np.float64,
    )

"""Ids that several columns make together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ni_platform.errors import DatasetError

JOINED_ID = "content_id"
"""Column of an id that several columns make."""
_SEPARATOR = " | "


def joined_ids(table: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """Return one label per row of several columns' labels, null where one of them is null.

    Raises:
        DatasetError: Rows that differ would get one id, which would make them one content.
    """
    parts = [table[name].astype(object) for name in names]
    complete = np.logical_and.reduce([part.notna() for part in parts])
    texts = [_SEPARATOR.join(map(str, cells)) for cells in zip(*parts)]
    ids = pd.Series(texts, dtype=object, index=table.index).where(complete, None)
    if ids.nunique() < len(table.loc[complete, list(names)].drop_duplicates()):
        raise DatasetError(
            f"The columns {', '.join(names)} hold {_SEPARATOR!r} so that different ones look "
            "alike: name other columns (--content-id, --ab-test)."
        )
    return ids

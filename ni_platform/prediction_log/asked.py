"""What is logged of an input: its key, what it lacked, and levels that the model never saw."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd

from ni_platform.prediction_log.keys import cells_of, keys_of_cells

_ATTRIBUTES = ("categorical", "numeric", "vector")


def asked(
    frame: pd.DataFrame, roles: Mapping[str, str], levels: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    """Return `input_key`, `missing` and `unknown` of N inputs, as the log's table has them.

    A modality is missing where all its columns are empty; categorical, numeric and vector columns
    are its attributes.

    Args:
        frame: N inputs as `Regressor.predict` takes them.
        roles: Columns that the model reads, and what they are (`Regressor.roles`).
        levels: Those that the model knows, by column (`Regressor.levels`).
    """
    cells = cells_of(frame, roles)
    empty = pd.DataFrame(
        {name: [cell is None for cell in cells[name]] for name in roles},
        index=range(len(frame)),
        dtype=bool,
    )
    modality = modality_of(roles)
    missing = pd.DataFrame(
        {kind: empty[[n for n in roles if modality[n] == kind]].all(axis=1)
         for kind in dict.fromkeys(modality.values())},
        index=empty.index,
    )  # fmt: skip
    unknown = pd.DataFrame(
        {name: [cell is not None and cell not in known for cell in cells[name]]
         for name, known in levels.items()},
        index=empty.index,
    )  # fmt: skip
    return pd.DataFrame(
        {
            "input_key": keys_of_cells(cells),
            "missing": _named(missing),
            "unknown": _named(unknown),
        }
    )


def modality_of(roles: Mapping[str, str]) -> dict[str, str]:
    """The modality of each column that a model reads, as the log names it."""
    return {name: "attributes" if role in _ATTRIBUTES else role for name, role in roles.items()}


def _named(flags: pd.DataFrame) -> list[str]:
    """Names of the columns that are true in each row, with commas between."""
    names = list(map(str, flags))
    return [
        ",".join(name for name, flag in zip(names, row) if flag)
        for row in flags.itertuples(index=False, name=None)
    ]

"""Rows of an export that are in no content, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ni_platform.data.importers.exports.raw_rows import CELLS, LINE, SOURCE, WORDS

TOTALS = "a row of totals"
_NOT_SHOWN = (SOURCE, LINE, CELLS, WORDS)


@dataclass
class SetAside:
    """Rows that are in no content, each with its reason."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, table: pd.DataFrame, reason: str) -> None:
        """List rows of a table of facts."""
        for row in table.to_dict("records"):
            facts = {name: value for name, value in row.items() if name not in _NOT_SHOWN}
            self.rows.append(
                {
                    "file": row[SOURCE],
                    "line": row[LINE],
                    "reason": reason,
                    "row": "; ".join(f"{k}={v}" for k, v in facts.items() if not _is_none(v)),
                }
            )

    @property
    def by_reason(self) -> dict[str, int]:
        """How many rows each reason took."""
        reasons = [row["reason"] for row in self.rows]
        return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}


def _is_none(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))

"""Logged predictions of a model, as observations per day."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ni_platform.metrics.scored import Floats
from ni_platform.prediction_log.table import read_log


@dataclass(frozen=True, kw_only=True, eq=False)
class Logged:
    """What a model predicted where people saw it."""

    rows: pd.DataFrame
    """Columns of the log, in the order of time."""

    @classmethod
    def read(cls, place: str, run_id: str) -> Logged:
        """Read the predictions of a run's model; those in the shadow of another one are left out.

        Raises:
            DatasetError: The folder is not there, or a file of it is none of this log.
        """
        rows = read_log(place)
        seen = (rows["model_run"] == run_id) & ~rows["shadow"].fillna(value=False).astype(bool)
        return cls(rows=rows[seen & rows["time"].notna() & rows["prediction"].notna()])

    @cached_property
    def _days(self) -> tuple[NDArray[np.datetime64], NDArray[np.int64]]:
        times = self.rows["time"].dt.tz_localize(None).to_numpy().astype("datetime64[D]")
        days, code = np.unique(times, return_inverse=True)
        return days, code

    @property
    def days(self) -> NDArray[np.datetime64]:
        """Days (UTC) with predictions, ascending [D]."""
        return self._days[0]

    @property
    def predictions(self) -> Floats:
        """Predicted rates [N]."""
        return self.rows["prediction"].to_numpy(dtype=np.float64)

    def by_key(self) -> pd.Series:
        """The last prediction of each input, by its key."""
        last = self.rows.drop_duplicates("input_key", keep="last")
        return last.set_index("input_key")["prediction"]

    def per_day(self, values: Floats) -> Floats:
        """The mean of the predictions' values [N] on each day [D]."""
        _, code = self._days
        size = len(self.days)
        total = np.bincount(code, values, minlength=size)
        return total / np.bincount(code, minlength=size)


def named(lists: pd.Series, name: str) -> Floats:
    """1 for each list [N] of names, with commas between, that has this one, else 0."""
    code, texts = pd.factorize(lists.fillna(""))
    found = np.array([name in text.split(",") for text in texts], dtype=np.float64)
    return found[code]

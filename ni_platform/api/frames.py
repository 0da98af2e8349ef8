"""Tables of any library as Arrow or pandas: pandas, Polars, PyArrow, and whatever narwhals knows.

Datasets of Hugging Face and of MLflow are unwrapped; neither library is imported for it.
"""

from __future__ import annotations

import sys
from typing import Any

import narwhals as nw
import pandas as pd
import pyarrow as pa

from ni_platform.errors import DatasetError

TABLES = (
    "a DataFrame of pandas or Polars, a table of PyArrow or a dataset of Hugging Face or MLflow"
)


def as_arrow(table: Any) -> pa.Table:
    """Return a table of any library as Arrow: the same cells; a named index becomes a column.

    Raises:
        DatasetError: It is no table, or a column of it mixes types that Arrow cannot hold.
    """
    table = _unwrapped(table)
    if isinstance(table, pd.DataFrame):
        # Only an index with a name says something, such as the ids of contents.
        table = table.reset_index(drop=all(name is None for name in table.index.names))
    try:
        return _frame(table).to_arrow()
    except (pa.ArrowException, TypeError) as error:
        raise DatasetError(
            f"cells of a column must be of one type, but {error.args}: convert the column, to "
            "texts if nothing else fits"
        ) from error


def as_pandas(table: Any) -> pd.DataFrame:
    """Return a table of any library as pandas; one of pandas as it is, with its index.

    Raises:
        DatasetError: It is no table.
    """
    table = _unwrapped(table)
    return table if isinstance(table, pd.DataFrame) else _frame(table).to_pandas()


def _frame(table: Any) -> nw.DataFrame[Any]:
    try:
        frame = nw.from_native(table)
    except TypeError as error:
        raise DatasetError(f"a table is {TABLES}, but got {type(table).__name__}") from error
    return frame.collect() if isinstance(frame, nw.LazyFrame) else frame


def _unwrapped(table: Any) -> Any:
    """What an MLflow or Hugging Face dataset holds; other tables as they are."""
    mlflow = sys.modules.get("mlflow.data.dataset")
    if mlflow is not None and isinstance(table, mlflow.Dataset):
        held = next((getattr(table, name) for name in ("df", "ds") if hasattr(table, name)), None)
        if held is None:
            raise DatasetError(f"a table is {TABLES}, but {type(table).__name__} holds no table")
        table = held
    datasets = sys.modules.get("datasets")
    if datasets is not None and isinstance(table, datasets.Dataset):
        return table.with_format("arrow")[:]
    return table

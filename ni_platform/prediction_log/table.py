"""The table of logged predictions: a row per prediction, of plans and of served models alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ni_platform.data import storage
from ni_platform.data.reading.parquet_file import read_parquet
from ni_platform.errors import DatasetError

_TEXT = pa.string()
SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", tz="UTC")),
        ("source", _TEXT),  # plan or served
        ("request", _TEXT),  # what was asked together: the run of a plan, or one request
        ("model_run", _TEXT),  # the run that trained the model; null if it is not known
        ("model", _TEXT),  # its URI: models:/NAME/VERSION where that is known
        ("shadow", pa.bool_()),  # whether nobody saw it: of a model beside the one in use
        ("input_key", _TEXT),  # see `keys.py`
        ("prediction", pa.float64()),
        ("missing", _TEXT),  # modalities that the input lacked, with commas between
        ("unknown", _TEXT),  # columns with a level that the model never saw, likewise
        ("content_id", _TEXT),  # what a plan calls the draft; null of what was served
        ("low", pa.float64()),  # of the 95 % interval of the rate; null where not given
        ("high", pa.float64()),
        ("share", pa.float64()),  # of the planned test's traffic; null where not in the test
        ("covariance", pa.list_(pa.float64())),  # of logits with each row of the request, in order
    ]
)
"""No row holds what was asked, nor by whom: only a key of it."""
DROPPED = b"ni.dropped"
"""Key of a part's Parquet metadata: predictions that its writer could not log since the part
before."""
_THREADS = 16
_Read = TypeVar("_Read")


def log_table(rows: pd.DataFrame | Mapping[str, Sequence[Any]]) -> pa.Table:
    """Rows as they are stored, each with a time; columns that are not there become nulls."""
    given = [
        pa.array(rows[field.name], field.type, from_pandas=True)
        if field.name in rows
        else pa.nulls(len(rows["time"]), field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(given, schema=SCHEMA)


def write_part(place: str | Path, rows: pa.Table, *, now: datetime | None = None) -> str:
    """Write some rows as a file of their own below a folder or `s3://` prefix; return its place.

    Files are named by the time, and never changed.

    Raises:
        DatasetError: The place cannot be written to.
    """
    when = now or datetime.now(UTC)
    name = f"{when:%Y-%m-%d}/{when:%H%M%S%f}-{uuid4().hex[:12]}.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    part = storage.join(place, name)
    storage.write_bytes(part, sink.getvalue().to_pybytes())
    return part


def read_log(place: str | Path) -> pd.DataFrame:
    """Read all rows below a folder or `s3://` prefix, in the order of their time.

    Raises:
        DatasetError: The folder is not there, or a file of it is none of this log.
    """
    return joined(_of_parts(place, _rows))


def dropped(place: str | Path) -> int:
    """Count the predictions that were made and could not be logged, by the parts' own word.

    What a writer drops after its last part is told in its process' log only.

    Raises:
        DatasetError: As `read_log`.
    """
    return sum(_of_parts(place, _dropped))


def joined(parts: list[pa.Table]) -> pd.DataFrame:
    """Tables of the log as one, in the order of time."""
    table = pa.concat_tables([SCHEMA.empty_table(), *parts]).sort_by("time")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def checked(table: pa.Table, place: str) -> pa.Table:
    """Return a table of the log with its columns as they should be.

    Raises:
        DatasetError: It is no such table.
    """
    if missing := [name for name in SCHEMA.names if name not in table.column_names]:
        raise DatasetError(
            f"{place} is no log of predictions, as it lacks the column {missing[0]!r}: keep other "
            "files out of the folder."
        )
    try:
        return table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DatasetError(
            f"{place} is no log of predictions ({error}): keep other files out of the folder."
        ) from error


def _of_parts(place: str | Path, read: Callable[[bytes, str], _Read]) -> list[_Read]:
    """What `read` makes of the bytes and name of each file of a log."""
    found = [name for name in storage.list_files(place) if name.endswith(".parquet")]
    names = [storage.join(place, name) for name in found]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda name: read(storage.read_bytes(name), name), names))


def _rows(data: bytes, name: str) -> pa.Table:
    return checked(read_parquet(data, name), name)


def _dropped(data: bytes, name: str) -> int:
    _rows(data, name)  # a file that is none of the log says nothing of it
    return int((pq.read_schema(BytesIO(data)).metadata or {}).get(DROPPED, 0))

"""Tables of every library give the same dataset."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import ni_platform as ni
from ni_platform.errors import DatasetError
from tests.api.tables import HEADLINES, import_headlines


def _hugging_face(frame: pd.DataFrame) -> Any:
    import datasets

    return datasets.Dataset.from_pandas(frame, preserve_index=False)


def _mlflow(frame: pd.DataFrame) -> Any:
    import mlflow.data

    return mlflow.data.from_pandas(frame)


def _mlflow_of_hugging_face(frame: pd.DataFrame) -> Any:
    import mlflow.data

    return mlflow.data.from_huggingface(_hugging_face(frame), source="here")


LIBRARIES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "pandas with an index": lambda frame: frame.set_index("ad_id"),
    "polars": pl.from_pandas,
    "lazy polars": lambda frame: pl.from_pandas(frame).lazy(),
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "Hugging Face": _hugging_face,
    "MLflow": _mlflow,
    "MLflow of Hugging Face": _mlflow_of_hugging_face,
}


@pytest.fixture(scope="module")
def of_a_file(tmp_path_factory) -> str:
    """The fingerprint of the dataset that a Parquet file gives."""
    folder = tmp_path_factory.mktemp("file")
    HEADLINES.to_parquet(folder / "ads.parquet", index=False)
    return import_headlines(folder / "ads.parquet", folder / "ads").stored.fingerprint()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_table_in_memory_gives_the_dataset_that_its_file_gives(library, of_a_file, tmp_path):
    """Down to the fingerprint."""
    table = LIBRARIES[library](HEADLINES)
    ads = import_headlines(table, tmp_path / "ads")
    assert len(ads) == len(HEADLINES)
    assert ads.stored.fingerprint() == of_a_file or "index" in library
    assert ads.frame["headline"].tolist() == HEADLINES["headline"].tolist()


def test_ids_of_64_bits_keep_their_digits(tmp_path):
    """Through pandas' nullable integers, which a float would round."""
    first = 2**62 + 1
    ids = pd.array([first + n for n in range(len(HEADLINES))], dtype="Int64")
    ads = import_headlines(HEADLINES.assign(ad_id=ids), tmp_path / "ads")
    assert ads.frame.index[0] == str(first)


@pytest.mark.parametrize("table", [3, [{"a": 1}], None])
def test_what_is_no_table_is_told(table, tmp_path):
    """With what is one."""
    with pytest.raises(DatasetError, match="a table is a DataFrame of pandas or Polars"):
        import_headlines(table, tmp_path / "ads")


def test_a_column_of_mixed_types_is_told(tmp_path):
    """Arrow, as Parquet, holds one type."""
    mixed = HEADLINES.assign(headline=[1, "x", *HEADLINES["headline"][2:]])
    with pytest.raises(DatasetError, match=r"one type.*headline"):
        import_headlines(mixed, tmp_path / "ads")


def test_no_library_is_imported_that_the_user_did_not_import(tmp_path):
    """Neither Polars nor `datasets` is needed for a table of pandas."""
    script = (
        "import sys\n"
        "from tests.api.tables import HEADLINES, import_headlines\n"
        f"import_headlines(HEADLINES, {str(tmp_path / 'ads')!r})\n"
        "print([name for name in ('polars', 'datasets', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert ni.open_dataset(tmp_path / "ads").name == "ads"

"""Dataset folders that people write themselves: any Parquet, and a manifest that declares it."""

import datetime
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.errors import DatasetError

MANIFEST = """
name: handmade
columns: {content_id: id, ab_test: test, domain: place, text: [title], categorical: [segment],
  numeric: [price]}
target: {impressions: shown, clicks: clicked}
assignment: randomised
"""
COLUMNS = {
    "id": pa.array(["a", "b", "c"]),
    "test": pa.array([2**53 + 1, 2**53 + 2, None]),
    "place": pa.array([1, 2, None]),
    "title": pa.array(["007", "NA", None]),
    "segment": pa.array([1.0, 2.0, None]),
    "price": pa.array([Decimal("1.10"), None, Decimal("2.00")]),
    "shown": pa.array([100, 200, 300]),
    "clicked": pa.array([Decimal("1"), Decimal("2"), Decimal("3")]),
}


def opened(folder, **changed):
    """The folder with some columns otherwise."""
    (folder / "dataset.yaml").write_text(MANIFEST)
    pq.write_table(pa.table(COLUMNS | changed), folder / "contents.parquet")
    return Dataset.open(folder)


def test_cells_are_read_as_they_are_declared(tmp_path):
    """64-bit ids keep their digits, levels their one text, decimals their value."""
    dataset = opened(tmp_path)
    assert dataset.ab_test.tolist() == ["9007199254740993", "9007199254740994", None]
    assert dataset.domain.tolist() == ["1", "2", None]
    assert dataset.contents["segment"].tolist()[:2] == ["1", "2"]
    assert dataset.contents["title"].tolist()[:2] == ["007", "NA"]
    assert dataset.contents["price"].tolist()[::2] == [1.1, 2.0]
    assert dataset.clicks.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "segment",
    [
        pa.array([1, 2, None], pa.int8()),
        pa.array(["1", "2.0", None]),
        pa.array([Decimal("1.0"), Decimal("2.0"), None]),
        pa.array(["1", "2", None]).dictionary_encode(),
    ],
)
def test_the_type_of_a_column_changes_no_content(tmp_path, segment):
    """The same values in another type have the same fingerprint."""
    first = opened(tmp_path).fingerprint()
    assert opened(tmp_path, segment=segment).fingerprint() == first


def test_the_index_of_pandas_changes_no_row(tmp_path):
    """A shuffled table keeps each row together, and is told from one in another order."""
    opened(tmp_path)
    frame = pa.table(COLUMNS).to_pandas(types_mapper=pd.ArrowDtype)
    frame.iloc[[2, 0, 1]].to_parquet(tmp_path / "contents.parquet")
    dataset = Dataset.open(tmp_path)
    assert dataset.content_id.tolist() == ["c", "a", "b"]
    assert dataset.impressions.tolist() == [300, 100, 200]
    assert dataset.ab_test.tolist() == [None, "9007199254740993", "9007199254740994"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"test": pa.array([2.0**60, 1.0, None])}, ["'test'", "several integers", "as text"]),
        ({"title": pa.array([["a"], ["b"], None])}, ["'title'", "a list"]),
        ({"segment": pa.array([b"\xff", b"a", None])}, ["'segment'", "no UTF-8"]),
        ({"price": pa.array(["1", "x", None])}, ["row 2", "'price'", "'x'", "no number"]),
        ({"shown": pa.array([datetime.date(2024, 1, 1)] * 3)}, ["'shown'", "date32", "no numbers"]),
    ],
)
def test_cells_that_are_not_what_they_are_declared_are_told(tmp_path, changed, words):
    """One error with the column, the value and the remedy."""
    with pytest.raises(DatasetError) as caught:
        opened(tmp_path, **changed)
    assert all(word in str(caught.value) for word in words), str(caught.value)

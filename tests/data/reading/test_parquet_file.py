"""Parquet tables that pandas and others wrote."""

import datetime
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ni_platform.data.reading.table import SourceTable, read_table, typed
from ni_platform.errors import DatasetError

ROLES = {"id": "label", "title": "text", "shown": "count"}
FRAME = pd.DataFrame({"id": ["a", "b", "c"], "title": ["A", "B", "C"], "shown": [1, 2, 3]})


def read(frame, folder, **options):
    """A frame that pandas wrote, read back by its roles."""
    frame.to_parquet(folder / "t.parquet", **options)
    return read_table(folder / "t.parquet", ROLES)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME.iloc[[2, 0, 1]],
        FRAME[FRAME["shown"] > 1],
        FRAME.set_index("id"),
        FRAME.iloc[[1, 2]].set_index(["id", "title"]),
        FRAME.set_axis([5, 5, 5]),
    ],
    ids=["shuffled", "filtered", "named", "several levels", "repeated"],
)
def test_no_index_decides_about_rows(frame, tmp_path):
    """Rows come in the order of the file, ids that were the index among the columns."""
    found = read(frame, tmp_path)
    expected = frame.reset_index()[["id", "title", "shown"]]
    assert found[["id", "title", "shown"]].to_numpy().tolist() == expected.to_numpy().tolist()
    assert set(found.columns) == {"id", "title", "shown"}
    assert found.index.tolist() == list(range(len(frame)))


def test_ids_that_were_a_range_with_a_name_are_found(tmp_path):
    """As start, stop and step pandas keeps such an index, not as a column."""
    frame = FRAME.drop(columns="id").set_axis(pd.RangeIndex(10, 16, 2, name="id"))
    assert read(frame, tmp_path)["id"].tolist() == ["10", "12", "14"]


def test_undeclared_columns_are_kept_exactly(tmp_path):
    """Large integers with nulls, decimals, dates and lists go through a dataset unchanged."""
    extra = pa.table(
        {
            "big": pa.array([2**53 + 1, None, 3]),
            "price": pa.array([Decimal("1.10"), None, Decimal("2.00")]),
            "day": pa.array([datetime.date(2024, 1, 2), None, None]),
            "tags": pa.array([["a"], [], None]),
            "flag": pa.array([True, None, False]),
        }
    )
    table = pa.Table.from_pandas(FRAME)
    for name in extra.column_names:
        table = table.append_column(name, extra[name])
    pq.write_table(table, tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", ROLES)
    found.to_parquet(tmp_path / "again.parquet", index=False)
    again = pq.read_table(tmp_path / "again.parquet").select(extra.column_names)
    assert again.to_pydict() == extra.to_pydict()


def test_a_column_that_comes_twice_is_refused(tmp_path):
    """Arrow allows it; which one is meant nobody knows."""
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["id", "id"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match=r"'id' more than once"):
        read_table(tmp_path / "t.parquet", ROLES)


@pytest.mark.parametrize(
    ("titles", "words"),
    [
        (pa.array([["a", "b"], ["c"], None]), "column 'title' holds a list"),
        (pa.array([b"\x89PNG\xff", b"a", None]), "column 'title' holds bytes that are no UTF-8"),
        (pa.array([{"x": 1}, None, None]), "column 'title' holds a record"),
    ],
)
def test_what_is_no_text_is_refused(titles, words, tmp_path):
    """Never `['a' 'b']` or `b'...'` as a headline."""
    table = pa.Table.from_pandas(FRAME.drop(columns="title")).append_column("title", titles)
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match=words):
        read_table(tmp_path / "t.parquet", ROLES)


def test_bytes_that_are_utf8_are_text(tmp_path):
    """Some writers leave the mark of text out."""
    titles = pa.array(["Zoë".encode(), b"007", None])
    table = pa.Table.from_pandas(FRAME.drop(columns="title")).append_column("title", titles)
    pq.write_table(table, tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", ROLES)["title"]
    assert found.tolist()[:2] == ["Zoë", "007"]
    assert found.isna().tolist() == [False, False, True]


def test_one_that_is_cut_short_is_told(tmp_path):
    """Also where only the last byte is missing."""
    FRAME.to_parquet(tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    for end in (len(whole) - 1, len(whole) // 2, 4):
        (tmp_path / "t.parquet").write_bytes(whole[:end])
        with pytest.raises(DatasetError, match="cut short or damaged"):
            read_table(tmp_path / "t.parquet", ROLES)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["x", None, "z"], pa.string_view()),
        ([b"x", None, b"z"], pa.binary_view()),
        ([["x"], None, []], pa.list_(pa.string_view())),
        ([{"a": "x"}, None, {"a": "z"}], pa.struct([("a", pa.string_view())])),
    ],
)
def test_rows_of_views_can_be_chosen(tmp_path, cells, kind):
    """Types of which Arrow cannot take rows are kept as their like, also undeclared and nested."""
    table = pa.Table.from_pandas(FRAME).append_column("note", pa.array(cells, kind))
    pq.write_table(table, tmp_path / "t.parquet")
    chosen = read_table(tmp_path / "t.parquet", ROLES).iloc[[2, 0]]
    assert chosen["id"].tolist() == ["c", "a"]
    assert pa.array(chosen["note"]).to_pylist() == [cells[2], cells[0]]


def test_lists_of_a_fixed_size_with_null_rows_are_told(tmp_path):
    """PyArrow writes and cannot read them: the message says so, and does not call them damaged."""
    path = tmp_path / "t.parquet"
    vectors = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"id": ["a", "b", "c"], "vector": vectors}), path)
    with pytest.raises(DatasetError, match=r"null rows of lists of a fixed size.* in vector"):
        read_table(path, {"id": "label"})


def test_texts_that_are_no_utf8_are_refused():
    """Arrow does not look at the bytes that it is given as text."""
    bytes_of_two = [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    table = pa.table({"title": pa.Array.from_buffers(pa.string(), 1, bytes_of_two)})
    with pytest.raises(DatasetError, match="'title' holds bytes that are no UTF-8 text"):
        typed(SourceTable(name="t", columns=table), ROLES)

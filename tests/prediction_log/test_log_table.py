"""Logged predictions: keys of what was asked, and the files that keep them."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.data.importers.table import import_table
from ni_platform.data.storage import MissingFileError
from ni_platform.errors import DatasetError
from ni_platform.prediction_log.keys import prediction_keys
from ni_platform.prediction_log.table import SCHEMA, log_table, read_log, write_part

ROLES = {"title": "text", "place": "domain", "kind": "categorical", "size": "numeric"}


def keys(**cells: list[object]) -> list[str]:
    """Keys of a frame of these cells."""
    return list(prediction_keys(pd.DataFrame(cells), ROLES))


def test_the_same_question_has_the_same_key_in_every_form() -> None:
    """Spaces, whole floats, labels as numbers and other columns do not count."""
    row = {"title": ["Buy  now "], "place": [3], "kind": ["a"], "size": [1]}
    other = {"title": ["Buy now"], "place": ["3.0"], "kind": ["a"], "size": [1.0]}
    assert keys(**row) == keys(**other)
    assert keys(**other | {"extra": ["not read"]}) == keys(**row)
    assert keys(size=[-0.0]) == keys(size=[0])


@pytest.mark.parametrize(
    ("column", "cell"),
    [("title", "Buy Now"), ("place", "4"), ("kind", "A"), ("size", 1.5), ("size", None)],
)
def test_another_question_has_another_key(column: str, cell: object) -> None:
    """Every column counts."""
    row = {"title": ["Buy now"], "place": ["3"], "kind": ["a"], "size": [1.0]}
    assert keys(**row) != keys(**row | {column: [cell]})


def test_a_value_does_not_move_from_one_column_to_another() -> None:
    """Names stand in the key; what is absent is empty."""
    assert keys(title=["a"], kind=["b"]) != keys(title=["b"], kind=["a"])
    assert keys(title=["a"]) == keys(title=["a"], place=[None], kind=[np.nan], size=[np.nan])
    assert keys(title=[""]) == keys(title=[None])


def test_pictures_count_by_their_bytes(tmp_path: Path) -> None:
    """A path and the bytes are one; a missing file is no picture."""
    (tmp_path / "one.jpg").write_bytes(b"1")
    (tmp_path / "two.jpg").write_bytes(b"2")
    cells = [str(tmp_path / "one.jpg"), b"1", str(tmp_path / "two.jpg"), str(tmp_path / "no"), None]
    found = prediction_keys(pd.DataFrame({"picture": cells}), {"picture": "image"})
    assert found[0] == found[1] != found[2]
    assert found[3] == found[4]


def test_a_draft_is_known_again_in_the_dataset(tmp_path: Path) -> None:
    """As an import has written it."""
    table = tmp_path / "t.csv"
    table.write_text(
        "id,title,place,kind,size,shown,clicked\n1,Buy now,3,a,1,10,1\n2,x,4,b,2,10,1\n"
    )
    import_table(
        table, tmp_path / "d", content_id="id", text=["title"], domain="place",
        categorical=["kind"], numeric=["size"], impressions="shown", clicks="clicked",
    )  # fmt: skip
    of_dataset = prediction_keys(Dataset.open(tmp_path / "d").inputs(), ROLES)
    draft = keys(title=["Buy now"], place=["3"], kind=["a"], size=[1.0])
    assert of_dataset[0] == draft[0] != of_dataset[1]


def test_parts_come_back_in_the_order_of_time(tmp_path: Path) -> None:
    """Whatever order they were written in; a folder per day."""
    early, late = (datetime(2026, 5, day, 12, tzinfo=UTC) for day in (1, 2))
    for when, rate in ((late, 0.2), (early, 0.1)):
        rows = pd.DataFrame({"time": [when], "source": "served", "prediction": rate})
        write_part(tmp_path, log_table(rows), now=when)
    found = read_log(tmp_path)
    assert found["prediction"].tolist() == [0.1, 0.2]
    assert list(found) == SCHEMA.names
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["2026-05-01", "2026-05-02"]


def test_no_log_is_empty_and_no_folder_an_error(tmp_path: Path) -> None:
    """A wrong path must not look like nothing."""
    assert read_log(tmp_path).empty
    with pytest.raises(MissingFileError):
        read_log(tmp_path / "nowhere")


def test_a_table_that_is_no_log_is_refused(tmp_path: Path) -> None:
    """With the column that it lacks."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="lacks the column 'time'"):
        read_log(tmp_path)

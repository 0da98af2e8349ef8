"""Columns of vectors: what is accepted, kept, fingerprinted and told apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ni_platform.data.content_keys import content_keys
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.importers.table import import_table
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.splits import SplitConfig, row_groups
from ni_platform.data.vectors import digests, stacked
from ni_platform.errors import DatasetError

TARGET = Target(impressions="shown", clicks="clicked")
MANIFEST = Manifest(
    name="v",
    columns=Columns(content_id="id", text=("title",), vector=("embedding",)),
    target=TARGET,
)


def contents(vectors, **columns):
    """One row per vector."""
    rows = len(vectors)
    frame = pd.DataFrame(
        {"id": [f"c{i}" for i in range(rows)], "shown": 100, "clicked": 1, "title": "tea"}
    )
    return frame.assign(embedding=pd.Series(vectors, dtype=object), **columns)


def long_vector(changed=None):
    """More numbers than NumPy prints; one may be changed in a digit that printing would drop."""
    vector = np.linspace(0, 1, 3000)
    if changed is not None:
        vector[changed] += 1e-12
    return vector


def test_vectors_stack_with_zeros_for_missing_ones():
    """Lists, tuples and arrays stack to a matrix; a null row is zeros and marked."""
    cells = pd.Series([[1, 2], None, (3.0, 4.5), np.array([5, 6], np.float32), np.nan])
    values, present = stacked(cells)
    assert values.tolist() == [[1, 2], [0, 0], [3, 4.5], [5, 6], [0, 0]]
    assert present.tolist() == [True, False, True, True, False]


def test_a_column_without_any_vector_has_no_width():
    """Nothing but nulls gives N rows of no numbers."""
    values, present = stacked(pd.Series([None, None], dtype=object))
    assert values.shape == (2, 0)
    assert not present.any()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ([1.0, np.nan], ["row 1", "'embedding'", "finite"]),
        ([1.0, np.inf], ["finite"]),
        ([1.0, 2.0, 3.0], ["must have 2 numbers", "row 1 has 3"]),
        ([], ["list of finite numbers", "[]"]),
        (7.0, ["list of finite numbers", "7.0"]),
        ("[1, 2]", ["list of finite numbers", "only Parquet"]),
        ([[1.0], [2.0]], ["list of finite numbers"]),
        (["a", "b"], ["list of finite numbers"]),
        ([1.0, None], ["finite"]),
    ],
)
def test_a_cell_that_is_no_vector_is_refused_unwritten(tmp_path, cell, words):
    """The message names column, row and value, and no folder appears."""
    with pytest.raises(DatasetError) as caught:
        write_dataset(tmp_path / "data", MANIFEST, contents([[1.0, 2.0], cell]))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_vectors_survive_writing(tmp_path):
    """Numbers and nulls come back as they were, and are inputs."""
    dataset = write_dataset(tmp_path / "data", MANIFEST, contents([[0.1, 0.2], None]))
    values, present = stacked(Dataset.open(tmp_path / "data").inputs()["embedding"])
    assert values.tolist() == [[0.1, 0.2], [0, 0]]
    assert present.tolist() == [True, False]
    assert dataset.manifest.columns.inputs == ("title", "embedding")


def test_the_fingerprint_follows_every_number_and_not_its_storage():
    """A change past what printing shows changes it; float32 in place of float64 does not."""

    def fingerprint(vectors):
        return Dataset("memory", MANIFEST, contents(vectors)).fingerprint()

    base = fingerprint([long_vector(), None])
    assert fingerprint([long_vector(1500), None]) != base
    assert fingerprint([None, long_vector()]) != base
    assert fingerprint([long_vector().tolist(), None]) == base
    short = [0.5, 0.25]
    assert fingerprint([np.array(short, np.float32)]) == fingerprint([np.array(short)])


def test_content_keys_follow_every_number():
    """Contents that differ in one number of a long vector have different keys, equal ones equal."""
    vectors = [long_vector(), long_vector(1500), long_vector().tolist(), None]
    keys = content_keys(Dataset("memory", MANIFEST, contents(vectors)))
    assert keys[0] == keys[2]
    assert len(set(keys)) == 3


def test_derived_columns_leave_keys_and_groups_of_contents_alone():
    """What was computed from a row's inputs neither renames a content nor ties or parts rows."""
    words = [f"word{i}" for i in range(30)]
    titles = [" ".join(words[:10]), " ".join([*words[:9], "other"]), "something else"]
    frame = contents([[1.0], [2.0], [3.0]], title=titles)
    frame["ocr"] = [" ".join(words[10:20]), " ".join(words[20:30]), " ".join(words[10:20])]
    before = Dataset(
        "memory",
        Manifest(name="v", columns=Columns(content_id="id", text=("title",)), target=TARGET),
        frame,
    )
    after = Dataset(
        "memory",
        Manifest(
            name="v",
            columns=Columns(content_id="id", text=("title", "ocr"), vector=("embedding",)),
            target=TARGET,
            derived=("ocr", "embedding"),
        ),
        frame,
    )
    similarity = SplitConfig().near_duplicate_similarity
    assert content_keys(after).tolist() == content_keys(before).tolist()
    assert row_groups(after, similarity).tolist() == row_groups(before, similarity).tolist()
    assert row_groups(before, similarity).tolist() == [0, 0, 1]


def test_only_inputs_can_be_derived():
    """A derived column that no model reads is a mistake of the manifest."""
    with pytest.raises(DatasetError, match=r"derived.*\['note'\]"):
        Manifest(name="v", columns=Columns(content_id="id"), target=TARGET, derived=("note",))


def test_a_parquet_table_brings_its_vectors(tmp_path):
    """`vector` columns of a Parquet table are imported; a CSV's text is refused with the reason."""
    frame = contents([[0.5, 1.5], None])
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    columns = {"content_id": "id", "vector": ["embedding"], "impressions": "shown"}
    dataset = import_table(tmp_path / "t.parquet", tmp_path / "a", clicks="clicked", **columns)
    assert stacked(dataset.contents["embedding"])[0].tolist() == [[0.5, 1.5], [0, 0]]
    with pytest.raises(DatasetError, match="only Parquet tables hold lists"):
        import_table(tmp_path / "t.csv", tmp_path / "b", clicks="clicked", **columns)
    assert not (tmp_path / "b").exists()


def test_digests_of_nulls_are_null():
    """A missing vector has no digest."""
    assert digests(pd.Series([None, [1.0]], dtype=object)).isna().tolist() == [True, False]

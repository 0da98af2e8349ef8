import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import DatasetError

CLICKS = Target(impressions="shown", clicks="clicked")
MANIFEST = Manifest(
    name="tiny",
    images="images",
    columns=Columns(
        content_id="id", ab_test="test", image="image", text=("title",), numeric=("price",)
    ),
    target=CLICKS,
    assignment="randomised",
)
CONTENTS = pd.DataFrame(
    {
        "id": ["x", "y", "z"],
        "test": ["t1", "t1", None],
        "title": ["one", None, "three"],
        "price": [1.0, 2.0, np.nan],
        "image": ["a.png", None, "sub/b.png"],
        "shown": [100, 50, 0],
        "clicked": [25, 0, 0],
        "note": ["kept", "kept", "kept"],
    }
)


@pytest.fixture
def files(pictures):
    """The files behind the two names in the image column."""
    return {"a.png": pictures / "a.png", "sub/b.png": pictures / "b.png"}


def test_a_written_dataset_opens_with_the_same_rows(tmp_path, files):
    """Every column, null, outcome and picture comes back as it was written."""
    write_dataset(tmp_path / "data", MANIFEST, CONTENTS, files)
    dataset = Dataset.open(tmp_path / "data")
    assert len(dataset) == 3
    assert dataset.content_id.tolist() == ["x", "y", "z"]
    assert dataset.ab_test.tolist() == ["t1", "t1", None]
    assert dataset.domain is None
    assert dataset.arm is None
    assert dataset.impressions.tolist() == [100.0, 50.0, 0.0]
    assert dataset.clicks.tolist() == [25.0, 0.0, 0.0]
    np.testing.assert_array_equal(dataset.success_rate, [0.25, 0.0, np.nan])
    root = str(tmp_path / "data")
    assert dataset.image_uri.tolist() == [f"{root}/images/a.png", None, f"{root}/images/sub/b.png"]
    assert dataset.contents["note"].tolist() == ["kept"] * 3


def test_inputs_hold_declared_columns_only(tmp_path, files):
    """Ids, tests, outcomes and undeclared columns never reach a model."""
    dataset = write_dataset(tmp_path / "data", MANIFEST, CONTENTS, files)
    frame = dataset.inputs([2, 0])
    assert frame.columns.tolist() == ["title", "price", "image"]
    assert frame["title"].tolist() == ["three", "one"]
    assert frame.index.tolist() == [0, 1]
    assert frame["image"].tolist() == [dataset.image_uri[2], dataset.image_uri[0]]


def test_ratings_become_a_rate_between_lowest_and_highest_bucket():
    """Bucket means 1, 2 and 3 of three buckets are rates 0, 1/2 and 1, weighted by ratings."""
    manifest = Manifest(
        name="r", columns=Columns(content_id="id"), target=Target(ratings=("n1", "n2", "n3"))
    )
    contents = pd.DataFrame({"id": [1, 2, 3], "n1": [4, 1, 0], "n2": [0, 2, 0], "n3": [0, 1, 5]})
    dataset = Dataset("nowhere", manifest, contents)
    assert dataset.impressions.tolist() == [4.0, 4.0, 5.0]
    assert dataset.success_rate.tolist() == [0.0, 0.5, 1.0]
    assert dataset.clicks.tolist() == [0.0, 2.0, 5.0]


def test_the_fingerprint_follows_content_and_not_the_order_of_columns(tmp_path, files, pictures):
    """It changes with a cell, the manifest or a picture's bytes, and with nothing else."""
    first = write_dataset(tmp_path / "1", MANIFEST, CONTENTS, files).fingerprint()
    reordered = CONTENTS[CONTENTS.columns[::-1]].astype({"id": object})
    assert write_dataset(tmp_path / "2", MANIFEST, reordered, files).fingerprint() == first
    cell = CONTENTS.assign(price=[1.0, 2.5, np.nan])
    picture = {**files, "a.png": pictures / "c.png"}
    declared = Manifest(
        name="tiny",
        images="images",
        columns=Columns(content_id="id", ab_test="test", image="image", text=("title", "note")),
        target=CLICKS,
        assignment="randomised",
    )
    others = [
        write_dataset(tmp_path / "3", MANIFEST, cell, files).fingerprint(),
        write_dataset(tmp_path / "4", MANIFEST, CONTENTS, picture).fingerprint(),
        write_dataset(tmp_path / "5", declared, CONTENTS, files).fingerprint(),
    ]
    assert len({first, *others}) == 4


def test_equal_pictures_have_equal_digests(tmp_path, files, pictures):
    """Digests compare bytes, not names, and are None where there is no picture."""
    same = {"a.png": pictures / "a.png", "sub/b.png": pictures / "a.png"}
    digests = write_dataset(tmp_path / "1", MANIFEST, CONTENTS, same).image_digests.tolist()
    assert digests[0] == digests[2]
    assert digests[1] is None
    different = write_dataset(tmp_path / "2", MANIFEST, CONTENTS, files).image_digests.tolist()
    assert different[0] == digests[0] != different[2]


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (CONTENTS.rename(columns={"title": "titel"}), ["columns.text[0]", "'titel'"]),
        (CONTENTS.drop(columns="clicked"), ["target.clicks", "'clicked'"]),
        (CONTENTS.assign(price=["a", "b", "c"]), ["columns.numeric[0]", "'price'", "numbers"]),
        (CONTENTS.assign(shown=["a", "b", "c"]), ["target.impressions", "'shown'", "numbers"]),
        (CONTENTS.iloc[:0], ["no rows"]),
        (CONTENTS.assign(image=["../../etc/passwd", None, None]), ["relative", "etc/passwd"]),
        (CONTENTS.assign(image=["/etc/passwd", None, None]), ["relative", "/etc/passwd"]),
        (CONTENTS.assign(image=["s3://b/x.png", None, None]), ["relative", "s3://b/x.png"]),
    ],
)
def test_a_table_that_does_not_fit_the_manifest_is_refused_unwritten(tmp_path, contents, words):
    """The message names the key and the column, and no folder appears."""
    with pytest.raises(DatasetError) as caught:
        write_dataset(tmp_path / "data", MANIFEST, contents)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_dataset_is_named(tmp_path):
    """Opening a missing or other folder says what is missing and what to do."""
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DatasetError, match=r"holds no dataset\.yaml.*ni data import"):
            Dataset.open(folder)


def test_a_damaged_table_is_an_error_with_its_path(tmp_path, files):
    """A truncated Parquet file is named instead of a traceback from Arrow."""
    write_dataset(tmp_path / "data", MANIFEST, CONTENTS, files)
    path = tmp_path / "data" / "contents.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"contents\.parquet is not a readable Parquet table"):
        Dataset.open(tmp_path / "data")


def test_a_folder_in_use_is_left_alone(tmp_path, files):
    """Writing over an existing dataset is refused and changes nothing."""
    first = write_dataset(tmp_path / "data", MANIFEST, CONTENTS, files).fingerprint()
    with pytest.raises(DatasetError, match="already there"):
        write_dataset(tmp_path / "data", MANIFEST, CONTENTS.iloc[:1], files)
    assert Dataset.open(tmp_path / "data").fingerprint() == first


class InterruptedPictures(Mapping):
    """Pictures whose second one brings an interruption."""

    def __init__(self, files, interrupt):
        self.files, self.interrupt = files, interrupt

    def __len__(self):
        return len(self.files)

    def __getitem__(self, name):
        if name != next(iter(self.files)):
            self.interrupt()
        return self.files[name]

    def __iter__(self):
        return iter(self.files)


def test_an_interrupted_write_leaves_nothing(tmp_path, files):
    """Control-C in the middle leaves neither the folder nor a partial one, and goes on up."""

    def interrupt():
        raise KeyboardInterrupt

    out = tmp_path / "out" / "data"
    with pytest.raises(KeyboardInterrupt):
        write_dataset(out, MANIFEST, CONTENTS, InterruptedPictures(files, interrupt))
    assert list(out.parent.iterdir()) == []


def test_a_killed_write_leaves_no_folder_that_looks_complete(tmp_path, files):
    """After SIGKILL in the middle there is no dataset, nowhere a manifest, and a retry works."""
    script = (
        "import os, sys, signal; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from test_dataset import *\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files = {'a.png': Path(sys.argv[3]), 'sub/b.png': Path(sys.argv[3])}\n"
        "write_dataset(sys.argv[2], MANIFEST, CONTENTS, InterruptedPictures(files, kill))\n"
    )
    out = tmp_path / "out" / "data"
    arguments = [os.path.dirname(__file__), str(out), str(files["a.png"])]
    ended = subprocess.run([sys.executable, "-c", script, *arguments], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not out.exists()
    assert list(out.parent.rglob("dataset.yaml")) == []
    assert len(write_dataset(out, MANIFEST, CONTENTS, files)) == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, files, monkeypatch):
    """A table that the kernel answers with ENOSPC gives one message and no folder."""
    write = pd.DataFrame.to_parquet
    monkeypatch.setattr(
        pd.DataFrame, "to_parquet", lambda self, path, **options: write(self, "/dev/full")
    )
    out = tmp_path / "out" / "data"
    with pytest.raises(
        DatasetError, match=r"disk is full while writing .*data.*MiB free after"
    ) as caught:
        write_dataset(out, MANIFEST, pd.concat([CONTENTS] * 2000), files)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("cells", [["a", True], ["a", [1]], [2**70, 1], ["\ud800", "a"]])
def test_a_frame_that_parquet_cannot_hold_is_refused(tmp_path, cells):
    """Mixed cells, numbers beyond 64 bits and halves of characters are one error, not Arrow's."""
    manifest = Manifest(
        name="mixed",
        columns=Columns(content_id="id", text=("title",)),
        target=Target(impressions="shown", clicks="clicked"),
    )
    frame = pd.DataFrame({"id": ["1", "2"], "shown": [9, 9], "clicked": [1, 1]})
    frame["title"] = pd.Series(cells, dtype=object)
    with pytest.raises(DatasetError, match="of one type that Parquet holds"):
        write_dataset(tmp_path / "data", manifest, frame)
    assert list(tmp_path.iterdir()) == []

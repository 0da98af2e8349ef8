"""Names that a URL would write otherwise: in S3 a key is exactly the text that the table holds."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import boto3
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.images import decode
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.transfer import pull, push
from ni_platform.errors import DatasetError

COMPOSED = unicodedata.normalize("NFC", "café.png")
DECOMPOSED = unicodedata.normalize("NFD", "café.png")
NAMES = (
    "a b.png",
    "a%20b.png",
    "a+b.png",
    "a%2Bb.png",
    "a#b.png",
    "a?versionId=1.png",
    "a&b=c;d,e.png",
    "A.png",
    "a.png",
    COMPOSED,
    DECOMPOSED,
    "50%.png",
    "%.png",
    "%zz.png",
    " first.png",
    "last .png",
    "a'b\"c.png",
    "[a]{b}(c)!*~.png",
    "a\\b.png",
    "sub folder/a#1/b.png",
    "日本 🎉.png",
    "a\tb.png",
    "a..b.png",
    "...png",
    ".hidden.png",
    ".deep/er.png",
)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """A content for each name, whose picture is of a colour of its own."""
    (tmp_path / "from").mkdir()
    pictures = {}
    for number, name in enumerate(NAMES):
        path = tmp_path / "from" / f"{number}.png"
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
        pictures[name] = path
    contents = pd.DataFrame(
        {
            "id": [f"c{number}" for number in range(len(NAMES))],
            "image": NAMES,
            "shown": 100,
            "clicked": np.arange(len(NAMES)),
        }
    )
    manifest = Manifest(
        name="names",
        images="my pictures #1",
        columns=Columns(content_id="id", image="image"),
        target=Target(impressions="shown", clicks="clicked"),
    )
    return write_dataset(tmp_path / "data", manifest, contents, pictures)


def colours(dataset: Dataset) -> list[int]:
    """The number that each content's picture carries."""
    return [decode(uri).getpixel((0, 0))[0] for uri in dataset.image_uri]


def test_a_key_is_the_name(bucket):
    """Written, read, listed, measured and deleted under exactly this key, among all the others."""
    for name in NAMES:
        storage.write_bytes(f"{bucket}/p q/{name}", name.encode())
    assert storage.list_files(f"{bucket}/p q") == sorted(NAMES)
    found = boto3.client("s3").list_objects_v2(Bucket=bucket.removeprefix("s3://"))["Contents"]
    assert {item["Key"] for item in found} == {f"p q/{name}" for name in NAMES}
    stamps = storage.object_stamps(f"{bucket}/p q")
    for name in NAMES:
        uri = f"{bucket}/p q/{name}"
        assert storage.exists(uri)
        assert storage.read_bytes(uri) == name.encode()
        assert storage.size(uri) == len(name.encode())
        assert storage.read_with_stamp(uri) == (name.encode(), stamps[name])
        with storage.local_copy(uri) as path:
            assert path.read_bytes() == name.encode()
    storage.delete(f"{bucket}/p q/a%20b.png")
    assert not storage.exists(f"{bucket}/p q/a%20b.png")
    assert storage.exists(f"{bucket}/p q/a b.png")


def test_there_and_back(dataset, bucket, tmp_path, monkeypatch):
    """Pushed, used in place, kept on this machine, and pulled: every picture stays its row's."""
    expected = list(range(len(NAMES)))
    assert colours(dataset) == expected
    push(dataset.root, f"{bucket}/team ä/data %41")
    monkeypatch.setenv("NI_CACHE_DIR", str(tmp_path / "kept #1"))
    monkeypatch.setenv("NI_CACHE_GB", "1")
    pushed = Dataset.open(f"{bucket}/team ä/data %41")
    for _ in range(2):  # from S3, and from this machine's disk
        assert colours(pushed) == expected
    assert len(list((tmp_path / "kept #1").glob("??/*"))) == len(NAMES)
    assert pushed.image_digests.equals(dataset.image_digests)
    assert pushed.fingerprint() == dataset.fingerprint()

    pull(f"{bucket}/team ä/data %41", tmp_path / "back ?")
    back = Dataset.open(tmp_path / "back ?")
    assert colours(back) == expected
    assert back.fingerprint() == dataset.fingerprint()


def test_pictures_beside_the_manifest_and_behind_a_link(dataset, bucket, tmp_path):
    """`images: .` is the dataset's own prefix, and a linked folder is copied as what it holds."""
    root = tmp_path / "linked"
    root.mkdir()
    (root / "sub folder").symlink_to(Path(dataset.images_root) / "sub folder")
    contents = dataset.contents.assign(image="sub folder/a#1/b.png")
    contents.to_parquet(root / "contents.parquet")
    replace(dataset.manifest, images=".").save(root / "dataset.yaml")
    push(root, f"{bucket}/linked")
    pushed = Dataset.open(f"{bucket}/linked")
    assert set(colours(pushed)) == {NAMES.index("sub folder/a#1/b.png")}
    assert pushed.fingerprint() == Dataset.open(root).fingerprint()


def test_marks_of_folders_are_no_files(dataset, bucket, tmp_path):
    """A console leaves empty objects that end in a slash."""
    push(dataset.root, f"{bucket}/data")
    for key in ("data/", "data/my pictures #1/", "data/new folder/"):
        boto3.client("s3").put_object(Bucket=bucket.removeprefix("s3://"), Key=key)
    pull(f"{bucket}/data", tmp_path / "back")
    assert colours(Dataset.open(tmp_path / "back")) == list(range(len(NAMES)))


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "a//b.txt", "./a"]
)
def test_a_key_that_is_no_name_of_a_file_is_refused(dataset, bucket, tmp_path, name):
    """Nothing is written outside of the folder, and no two keys into one file."""
    push(dataset.root, f"{bucket}/data")
    boto3.client("s3").put_object(
        Bucket=bucket.removeprefix("s3://"), Key=f"data/{name}", Body=b"evil"
    )
    with pytest.raises(DatasetError, match="no name of a file in it"):
        pull(f"{bucket}/data", tmp_path / "sub" / "back")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_key_below_another_is_an_error(dataset, bucket, tmp_path):
    """In S3 a file may lie below a file; no folder can hold both."""
    push(dataset.root, f"{bucket}/data")
    storage.write_bytes(f"{bucket}/data/contents.parquet/more", b"x")
    with pytest.raises(DatasetError, match=r"contents\.parquet"):
        pull(f"{bucket}/data", tmp_path / "back")


def test_a_file_name_in_another_encoding_is_named(dataset, bucket):
    """Such as Latin-1 from an old archive."""
    try:
        Path(dataset.root, "caf\udce9.txt").write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    with pytest.raises(DatasetError, match=r"caf\\udce9.txt.* rename the file"):
        push(dataset.root, f"{bucket}/data")

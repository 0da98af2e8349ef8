import os
import time

import pandas as pd
import pytest

from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.images import decode, probe
from ni_platform.data.importers.table import import_table
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import DatasetError, ImageError


def test_bytes_come_back_from_s3(bucket):
    """What is written is read, listed relative to its prefix, and known to exist."""
    storage.write_bytes(f"{bucket}/folder/a.bin", b"one")
    storage.write_bytes(f"{bucket}/folder/sub/b.bin", b"two")
    storage.write_bytes(f"{bucket}/folder2/c.bin", b"three")
    assert storage.read_bytes(f"{bucket}/folder/sub/b.bin") == b"two"
    assert storage.list_files(f"{bucket}/folder") == ["a.bin", "sub/b.bin"]
    assert storage.exists(f"{bucket}/folder/a.bin")
    assert not storage.exists(f"{bucket}/folder/none.bin")


def test_a_listing_of_several_pages_is_complete(bucket, monkeypatch):
    """Objects beyond the first page of the listing are found."""
    monkeypatch.setattr(storage, "_LISTING_PAGE", 2)
    for name in "abcde":
        storage.write_bytes(f"{bucket}/p/{name}", b"x")
    assert storage.list_files(f"{bucket}/p") == list("abcde")


def test_local_files_behave_the_same(tmp_path):
    """Writing makes parent folders, leaves no temporary file, and listing is relative."""
    storage.write_bytes(tmp_path / "sub" / "a.bin", b"one")
    storage.write_bytes(tmp_path / "sub" / "a.bin", b"two")
    assert storage.read_bytes(tmp_path / "sub" / "a.bin") == b"two"
    assert storage.list_files(tmp_path) == ["sub/a.bin"]


def test_join_keeps_remote_and_absolute_names():
    """A relative name goes below the root; a remote or absolute one stands for itself."""
    assert storage.join("s3://b/root/", "images/a.png") == "s3://b/root/images/a.png"
    assert storage.join("/root", "images") == os.path.join("/root", "images")
    assert storage.join("/root", "s3://b/images") == "s3://b/images"
    assert storage.join("s3://b/root", "/mnt/images") == "/mnt/images"


def test_missing_objects_and_buckets_are_named(bucket):
    """A wrong key and a wrong bucket give the URI; a missing picture gives ImageError."""
    for uri in (f"{bucket}/none.png", "s3://no-such-bucket-here/none.png"):
        with pytest.raises(DatasetError, match="does not exist"):
            storage.read_bytes(uri)
        with pytest.raises(ImageError, match=r"none\.png does not exist"):
            decode(uri)
    with pytest.raises(DatasetError, match="s3://BUCKET/KEY"):
        storage.read_bytes("s3:///key")


def test_an_unreachable_store_and_missing_credentials_are_explained(bucket, monkeypatch):
    """The message names the endpoint setting or the credentials, and comes within seconds."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(DatasetError, match=r"127\.0\.0\.1:9.*AWS_ENDPOINT_URL"):
        storage.read_bytes(f"{bucket}/a.bin")
    assert time.monotonic() - start < 60
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:10")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(DatasetError, match="AWS_ACCESS_KEY_ID"):
        storage.read_bytes(f"{bucket}/a.bin")


def test_a_whole_dataset_lives_on_s3(bucket, pictures):
    """A dataset written to S3 opens from there, with decodable pictures and a fingerprint."""
    manifest = Manifest(
        name="remote",
        images="images",
        columns=Columns(content_id="id", image="image", text=("title",)),
        target=Target(impressions="shown", clicks="clicked"),
    )
    contents = pd.DataFrame(
        {"id": ["x", "y"], "image": ["a.png", None], "title": ["one", "two"]}
    ).assign(shown=[10, 20], clicked=[1, 2])
    root = f"{bucket}/data"
    write_dataset(root, manifest, contents, {"a.png": pictures / "a.png"})
    dataset = Dataset.open(root)
    assert dataset.image_uri.tolist() == [f"{root}/images/a.png", None]
    assert decode(dataset.image_uri[0]).getpixel((0, 0)) == (255, 0, 0)
    before = dataset.fingerprint()
    assert before == Dataset.open(root).fingerprint()
    storage.write_bytes(f"{root}/images/a.png", (pictures / "b.png").read_bytes())
    assert Dataset.open(root).fingerprint() != before
    with pytest.raises(DatasetError, match="already there"):
        write_dataset(root, manifest, contents)


def test_an_interrupted_upload_is_no_dataset(bucket, pictures):
    """When a picture cannot be uploaded, the manifest is not there either."""
    manifest = Manifest(
        name="remote",
        images="images",
        columns=Columns(content_id="id", image="image"),
        target=Target(impressions="shown", clicks="clicked"),
    )
    contents = pd.DataFrame({"id": ["x"], "image": ["a.png"], "shown": [10], "clicked": [1]})
    with pytest.raises(DatasetError):
        write_dataset(f"{bucket}/data", manifest, contents, {"a.png": pictures / "none.png"})
    with pytest.raises(DatasetError, match="not a dataset folder"):
        Dataset.open(f"{bucket}/data")


def test_a_table_may_leave_its_pictures_on_s3(bucket, pictures, table, tmp_path):
    """Pictures at an s3:// prefix are not copied; equal and missing ones are recognised."""
    for name, file in {"a.png": "a", "b.png": "a"}.items():
        storage.write_bytes(f"{bucket}/pics/{name}", (pictures / f"{file}.png").read_bytes())
    dataset = import_table(
        table,
        tmp_path / "data",
        content_id="id",
        image="image",
        images=f"{bucket}/pics",
        impressions="shown",
        clicks="clicked",
    )
    assert dataset.image_uri[0] == f"{bucket}/pics/a.png"
    digests = dataset.image_digests.tolist()
    assert digests[0] == digests[1] is not None
    assert digests[2:] == [None, None]
    assert sorted(os.listdir(tmp_path / "data")) == ["contents.parquet", "dataset.yaml"]
    assert "does not exist" in probe(dataset.image_uri[2]).problem


def test_what_is_deleted_is_gone(bucket, tmp_path):
    """On disk and on S3; nothing there is no error."""
    for place in (f"{bucket}/probe", str(tmp_path / "probe")):
        storage.write_bytes(place, b"x")
        assert storage.exists(place)
        storage.delete(place)
        assert not storage.exists(place)
        storage.delete(place)

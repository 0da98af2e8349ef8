"""Datasets to a bucket and back, interrupted and damaged on the way."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner

from ni_platform.cli.data import command
from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.data.transfer import pull, push
from ni_platform.errors import DatasetError


@pytest.fixture
def dataset(tmp_path):
    """A small dataset with pictures."""
    return make_synthetic(tmp_path / "data", tests=3, image_size=32)


def files(folder: Path) -> dict[str, bytes]:
    """Content of each file by its name."""
    return {name: (folder / name).read_bytes() for name in storage.list_files(folder)}


def test_there_and_back(dataset, bucket, tmp_path):
    """What is pulled is what was pushed, and the pushed one can be used in place."""
    total, sent = push(dataset.root, f"{bucket}/team/data")
    assert total == sent == len(files(Path(dataset.root)))
    assert Dataset.open(f"{bucket}/team/data").contents.equals(dataset.contents)

    assert pull(f"{bucket}/team/data", tmp_path / "back") == (total, total)
    assert files(tmp_path / "back") == files(Path(dataset.root))
    assert Dataset.open(tmp_path / "back").fingerprint() == dataset.fingerprint()


def test_a_copy_is_recognised_as_the_same_dataset(dataset, bucket, tmp_path):
    """Folder, pushed and pulled copy share a fingerprint; a picture that is replaced changes it."""
    push(dataset.root, f"{bucket}/data")
    pushed = Dataset.open(f"{bucket}/data")
    pull(f"{bucket}/data", tmp_path / "back")
    expected = Dataset.open(dataset.root).fingerprint()
    assert pushed.fingerprint() == expected
    assert Dataset.open(tmp_path / "back").fingerprint() == expected
    assert pushed.image_digests.equals(dataset.image_digests)

    first, second = dataset.image_uri.dropna().unique()[:2]
    name = Path(first).relative_to(dataset.images_root).as_posix()
    storage.write_bytes(f"{pushed.images_root}/{name}", Path(second).read_bytes())
    assert Dataset.open(f"{bucket}/data").fingerprint() != expected

    push(dataset.root, f"{bucket}/data")
    assert Dataset.open(f"{bucket}/data").fingerprint() == expected


def test_checksums_that_cannot_be_read_are_none(dataset, bucket):
    """Without what the push wrote down, a dataset on S3 has a fingerprint all the same."""
    push(dataset.root, f"{bucket}/data")
    storage.write_bytes(f"{bucket}/data/.checksums.json", b"{half")
    assert Dataset.open(f"{bucket}/data").fingerprint() != dataset.fingerprint()
    assert Dataset.open(f"{bucket}/data").image_digests.notna().all()


def test_a_push_that_stopped_goes_on(dataset, bucket, monkeypatch):
    """Files that arrived are not sent again; until the last the prefix is no dataset."""
    original, seen = storage.upload, []

    def failing(path: Path, uri: str, **options: str) -> None:
        seen.append(uri)
        if len(seen) == 5:
            raise DatasetError("the line is down")
        original(path, uri, **options)

    monkeypatch.setattr(storage, "upload", failing)
    with pytest.raises(DatasetError, match="line is down"):
        push(dataset.root, f"{bucket}/data")
    assert not storage.exists(f"{bucket}/data/dataset.yaml")
    monkeypatch.setattr(storage, "upload", original)
    there = len(storage.list_files(f"{bucket}/data"))

    total, sent = push(dataset.root, f"{bucket}/data")
    assert sent == total - there
    assert 0 < sent < total
    assert push(dataset.root, f"{bucket}/data") == (total, 0)


def test_a_pull_that_stopped_goes_on(dataset, bucket, tmp_path, monkeypatch):
    """What came whole is kept, what came in half is fetched again, and no folder looks complete."""
    total, _ = push(dataset.root, f"{bucket}/data")
    original, seen = storage.download, []

    def failing(uri: str, path: Path) -> None:
        seen.append(uri)
        if len(seen) == 6:
            path.write_bytes(b"half")
            raise DatasetError("the line is down")
        original(uri, path)

    monkeypatch.setattr(storage, "download", failing)
    with pytest.raises(DatasetError, match="line is down"):
        pull(f"{bucket}/data", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    monkeypatch.setattr(storage, "download", original)

    _, fetched = pull(f"{bucket}/data", tmp_path / "back")
    assert 0 < fetched < total
    assert files(tmp_path / "back") == files(Path(dataset.root))
    assert not (tmp_path / ".back.pulling").exists()


def test_a_damaged_object_is_told(dataset, bucket, tmp_path):
    """An object whose bytes are not those of its checksum is refused by name."""
    push(dataset.root, f"{bucket}/data")
    client, name = boto3.client("s3"), bucket.removeprefix("s3://")
    checksum = client.head_object(Bucket=name, Key="data/contents.parquet")["Metadata"]
    client.put_object(Bucket=name, Key="data/contents.parquet", Body=b"x", Metadata=checksum)

    with pytest.raises(DatasetError, match=r"contents\.parquet must have the SHA-256"):
        pull(f"{bucket}/data", tmp_path / "back")


def test_places_that_do_not_fit(dataset, bucket, tmp_path):
    """A prefix without dataset, two local places and a folder in use are refused."""
    with pytest.raises(DatasetError, match="not a dataset"):
        pull(f"{bucket}/nothing", tmp_path / "back")
    with pytest.raises(DatasetError, match="already there"):
        pull(f"{bucket}/nothing", dataset.root)
    with pytest.raises(DatasetError, match="s3://"):
        push(dataset.root, str(tmp_path / "elsewhere"))


def test_the_commands(dataset, bucket, tmp_path):
    """`ni data push` and `ni data pull` say how many files they moved."""
    runner = CliRunner()
    sent = runner.invoke(command, ["push", dataset.root, f"{bucket}/data"], catch_exceptions=False)
    words = ["pull", f"{bucket}/data", str(tmp_path / "back")]
    fetched = runner.invoke(command, words, catch_exceptions=False)

    total = len(files(Path(dataset.root)))
    assert f"{total} of them sent" in sent.output
    assert f"{total} of them fetched" in fetched.output.replace("\n", " ")

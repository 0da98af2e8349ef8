"""Pictures of a dataset on S3 are fetched once and kept within a bound, by several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pandas as pd
import pytest

from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.images import decode
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.picture_cache import PictureCache, read_picture
from ni_platform.errors import ConfigError, ImageError

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch) -> Path:
    """The folder of this test's cache."""
    monkeypatch.setenv("NI_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.delenv("NI_CACHE_GB", raising=False)
    return tmp_path / "kept"


@pytest.fixture
def root(bucket, pictures) -> str:
    """A dataset on S3 with the pictures a.png, b.png and c.png."""
    manifest = Manifest(
        name="remote",
        images="images",
        columns=Columns(content_id="id", image="image"),
        target=Target(impressions="shown", clicks="clicked"),
    )
    names = ["a.png", "b.png", "c.png"]
    contents = pd.DataFrame({"id": [1, 2, 3], "image": names}).assign(shown=10, clicked=1)
    write_dataset(f"{bucket}/data", manifest, contents, {n: pictures / n for n in names})
    return f"{bucket}/data"


@pytest.fixture
def fetched(bucket) -> Iterator[list[str]]:
    """Key of each object that this process gets from S3, in order."""
    keys: list[str] = []
    events = storage._client().meta.events

    def note(params: dict, **_: object) -> None:
        keys.append(params["url_path"].rpartition("/")[2])

    events.register("before-call.s3.GetObject", note)
    yield keys
    events.unregister("before-call.s3.GetObject", note)


def epoch(dataset: Dataset) -> list[tuple[int, int, int]]:
    """Read every picture as a model does; the colour of each."""
    return [decode(cell).getpixel((0, 0)) for cell in dataset.inputs()["image"]]


def sizes(folder: Path) -> int:
    """Bytes of the pictures in a cache."""
    return sum(path.stat().st_size for path in folder.glob("??/*"))


def test_a_second_epoch_asks_for_nothing(root, fetched):
    """Each picture is fetched once, also when the dataset is opened again later."""
    dataset = Dataset.open(root)
    del fetched[:]
    assert epoch(dataset) == [RED, GREEN, BLUE]
    assert sorted(fetched) == ["a.png", "b.png", "c.png"]
    assert epoch(dataset) == [RED, GREEN, BLUE]
    assert epoch(Dataset.open(root)) == [RED, GREEN, BLUE]
    assert [name for name in fetched if name.endswith(".png")] == ["a.png", "b.png", "c.png"]


def test_a_changed_picture_is_fetched_again(root, fetched, pictures):
    """Whoever opens the dataset after a change sees the new picture; the others stay kept."""
    epoch(Dataset.open(root))
    storage.write_bytes(f"{root}/images/a.png", (pictures / "c.png").read_bytes())
    del fetched[:]
    assert epoch(Dataset.open(root)) == [BLUE, GREEN, BLUE]
    assert [name for name in fetched if name.endswith(".png")] == ["a.png"]


def test_a_picture_that_changes_after_the_listing_is_kept_as_what_it_is(root, pictures):
    """A picture replaced between listing and reading, then put back, is never mixed up."""
    dataset = Dataset.open(root)
    assert decode(dataset.image_uri[1]).getpixel((0, 0)) == GREEN  # lists the objects
    storage.write_bytes(f"{root}/images/a.png", (pictures / "c.png").read_bytes())
    assert decode(dataset.image_uri[0]).getpixel((0, 0)) == BLUE
    storage.write_bytes(f"{root}/images/a.png", (pictures / "a.png").read_bytes())
    assert epoch(Dataset.open(root)) == [RED, GREEN, BLUE]


def test_only_pictures_of_datasets_are_kept(bucket, pictures, kept):
    """A picture that somebody names by its URI is read from S3 each time; a missing one is told."""
    storage.write_bytes(f"{bucket}/loose/a.png", (pictures / "a.png").read_bytes())
    assert decode(f"{bucket}/loose/a.png").getpixel((0, 0)) == RED
    assert not kept.exists()
    with pytest.raises(ImageError, match="does not exist"):
        decode(f"{bucket}/loose/none.png")


def test_the_least_recently_used_go_first(tmp_path):
    """Of ten files of 100 bytes the one read last stays; the next two make room to nine tenths."""
    cache = PictureCache(tmp_path / "kept", 1000)
    for number in range(10):
        cache.put(f"s3://b/{number}", "100-x", bytes([number]) * 100)
        path = cache._path(f"s3://b/{number}", "100-x")
        os.utime(path, ns=(number, number))
    assert sizes(tmp_path / "kept") == 1000
    assert cache.get("s3://b/0", "100-x") == bytes(100)
    cache.put("s3://b/new", "100-x", b"n" * 100)
    there = [n for n in range(10) if cache.get(f"s3://b/{n}", "100-x") is not None]
    assert there == [0, 3, 4, 5, 6, 7, 8, 9]
    assert cache.get("s3://b/new", "100-x") == b"n" * 100
    assert sizes(tmp_path / "kept") == 900
    cache.put("s3://b/large", "901-x", b"l" * 901)
    assert cache.get("s3://b/large", "901-x") is None
    assert sizes(tmp_path / "kept") == 900


def test_half_a_file_is_not_served(root, kept, fetched):
    """A kept file that lost its end, as after a power failure, is fetched again."""
    dataset = Dataset.open(root)
    epoch(dataset)
    for path in kept.glob("??/*"):
        path.write_bytes(path.read_bytes()[:20])
    assert epoch(dataset) == [RED, GREEN, BLUE]


_READ = """
import sys
from ni_platform.data import storage
from ni_platform.data.picture_cache import read_picture, watch
root, bound = sys.argv[1], int(sys.argv[2])
watch(root)
for _ in range(3):
    for number in range(40):
        assert read_picture(f"{root}/{number}.bin") == bytes([number]) * 1000
"""


def test_processes_share_folder_and_bound(bucket, kept, monkeypatch):
    """Three processes that read 40 kB at once through 20 kB get it right and stay within."""
    for number in range(40):
        storage.write_bytes(f"{bucket}/many/{number}.bin", bytes([number]) * 1000)
    monkeypatch.setenv("NI_CACHE_GB", "0.00002")
    command = [sys.executable, "-c", _READ, f"{bucket}/many", "20000"]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert errors == ""
    assert 10_000 < sizes(kept) <= 20_000
    assert int((kept / ".bytes").read_text()) >= sizes(kept)
    assert list(kept.glob(".new-*")) == []


def test_a_disk_without_room_is_no_obstacle(root, kept, caplog):
    """Where nothing can be kept, pictures come from S3 and the reason is said once."""
    kept.write_text("a file in the way")
    dataset = Dataset.open(root)
    for _ in range(2):
        assert epoch(dataset) == [RED, GREEN, BLUE]
    assert [record.message[:21] for record in caplog.records if "kept" in record.message] == [
        "pictures are not kept"
    ]


def test_the_bound_can_be_nothing_but_not_nonsense(root, kept, monkeypatch):
    """NI_CACHE_GB=0 keeps nothing; what is no amount is refused with the rule."""
    monkeypatch.setenv("NI_CACHE_GB", "0")
    assert epoch(Dataset.open(root)) == [RED, GREEN, BLUE]
    assert not kept.exists()
    for nonsense in ("much", "-1", "nan"):
        monkeypatch.setenv("NI_CACHE_GB", nonsense)
        with pytest.raises(ConfigError, match=f"NI_CACHE_GB.*{nonsense}"):
            epoch(Dataset.open(root))


def test_keys_and_prefixes_that_look_alike(bucket, pictures, kept):
    """A prefix that only begins like a watched one is not taken for it."""
    name = bucket.removeprefix("s3://")
    boto3.client("s3").put_object(Bucket=name, Key="data/images2/a.png", Body=b"other")
    assert read_picture(f"{bucket}/data/images2/a.png") == b"other"
    assert not kept.exists()

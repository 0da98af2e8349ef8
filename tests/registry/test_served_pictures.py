"""What a logged model reads as a picture: never a file that its server did not name."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import boto3
import mlflow
import numpy as np
import pandas as pd
import pytest

from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError, ImageError
from ni_platform.registry.logged_model import log_model
from ni_platform.registry.served_pictures import VARIABLE, ServedPictures
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store

JPEG = b"\xff\xd8\xff" + b"x" * 100


def served(*roots: object) -> ServedPictures:
    """As a process reads it whose environment names the roots."""
    return ServedPictures.of_environment({VARIABLE: os.pathsep.join(map(str, roots))})


def test_a_path_is_never_taken_for_base64() -> None:
    """Only text that decodes to the first bytes of a picture is a picture."""
    unset = ServedPictures.of_environment({})
    for path in ("/9j/4AAQ.jpg", "images/abcd", "s3://bucket/key", "abcd", "", "data:,x", "/a/c="):
        with pytest.raises(ImageError, match=f"is read only below what the variable {VARIABLE}"):
            unset.source(path)
    text = base64.encodebytes(JPEG).decode()
    for cell in (JPEG, bytearray(JPEG), text, f"data:image/jpeg;base64,{text}"):
        assert unset.source(cell) == JPEG
    for cell in (None, float("nan"), pd.NA):
        assert unset.source(cell) is None
    for cell in (3, True, ["a"], {"a": 1}, np.zeros(3)):
        with pytest.raises(ImageError, match=f"of type {type(cell).__name__}"):
            unset.source(cell)


def test_a_long_text_is_not_repeated_whole() -> None:
    """Broken base64 of megabytes makes an error of a line."""
    with pytest.raises(ImageError) as caught:
        served().source("x" * 1_000_000)
    assert len(str(caught.value)) < 500


def test_only_what_lies_below_a_named_folder(tmp_path: Path) -> None:
    """Neither `..`, a link that leaves it, a neighbour of a longer name nor a relative path."""
    inside, outside = tmp_path / "pictures", tmp_path / "pictures-evil"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    for folder in (inside, inside / "deep", outside):
        (folder / "a.png").write_bytes(b"x")
    (inside / "link.png").symlink_to(outside / "a.png")
    (inside / "folder").symlink_to(outside)
    (inside / "alias.png").symlink_to(inside / "a.png")
    pictures = served(inside)

    real = os.path.realpath(inside)
    assert pictures.source(str(inside / "a.png")) == f"{real}/a.png"
    assert pictures.source(inside / "deep" / "a.png") == f"{real}/deep/a.png"
    assert pictures.source(f"{inside}/deep/../a.png") == f"{real}/a.png"
    assert pictures.source(str(inside / "alias.png")) == f"{real}/a.png"
    assert pictures.source(str(inside / "none.png")) == f"{real}/none.png"
    for path in (
        outside / "a.png",
        inside / ".." / "pictures-evil" / "a.png",
        inside / "link.png",
        inside / "folder" / "a.png",
        "/etc/passwd",
        os.path.relpath(inside / "a.png"),
        "a.png",
        f"file://{inside}/a.png",
        f"http://localhost{inside}/a.png",
        f"s3:/{inside}/a.png",
        f"s3://bucket{inside}/a.png",
        f"{inside}/a\0.png",
        f"{inside}/\ud800.png",
    ):
        with pytest.raises(ImageError, match="is read only below"):
            pictures.source(str(path))


def test_a_folder_that_is_a_link_is_the_one_it_leads_to(tmp_path: Path) -> None:
    """The root itself may be reached by a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "named").symlink_to(tmp_path / "real")
    assert served(tmp_path / "named").source(str(tmp_path / "named" / "a.png")) == (
        f"{os.path.realpath(tmp_path)}/real/a.png"
    )


def test_only_what_lies_below_a_named_prefix(tmp_path: Path) -> None:
    """Folders and prefixes stand side by side; a prefix ends where its name does."""
    pictures = served(tmp_path, "s3://bucket/ads/", "s3://other", tmp_path)
    for uri in ("s3://bucket/ads/a.png", "s3://bucket/ads/x/a b#.png", "s3://other/a.png"):
        assert pictures.source(uri) == uri
    assert pictures.source(str(tmp_path / "a.png")) is not None
    for uri in (
        "s3://bucket/ads",
        "s3://bucket/ads-evil/a.png",
        "s3://bucket/a.png",
        "s3://bucket/ads/../secret.png",
        "s3://bucket/ads/./../secret.png",
        "s3://other-evil/a.png",
        "S3://bucket/ads/a.png",
        "s3a://bucket/ads/a.png",
        "s3://bucket/ads/\ud800",
    ):
        with pytest.raises(ImageError, match="is read only below"):
            pictures.source(uri)


@pytest.mark.parametrize(
    "root", ["pictures", "./", "s3://", "s3:///a", "file:///a", "/no/such/folder"]
)
def test_a_root_that_names_nothing_is_said_at_the_start(root: str) -> None:
    """A mistake in the variable is no silent refusal of every picture."""
    with pytest.raises(ConfigError, match=VARIABLE):
        served(root)


def test_a_loaded_model_reads_what_its_process_named(
    dataset: Dataset, scorer_folder: Path, monkeypatch: pytest.MonkeyPatch, s3: str
) -> None:
    """Paths and URIs below the roots, and those of its dataset, give the rates of the bytes."""
    with RunRecord.start(open_store(), "planted") as run:
        uri = log_model(run, scorer_folder, dataset.inputs([0, 1]), pictures=dataset.images_root)
    boto3.client("s3").create_bucket(Bucket="served")
    frame = dataset.inputs([5, 6])
    data = [Path(path).read_bytes() for path in frame["image"]]
    remote = [f"s3://served/ads/{row}.png" for row in range(2)]
    for place, content in zip(remote, data, strict=True):
        storage.write_bytes(place, content)
    model = mlflow.pyfunc.load_model(uri)
    expected = model.predict(frame.assign(image=pd.Series(data, dtype=object)))
    local = list(frame["image"])
    np.testing.assert_array_equal(model.predict(frame), expected)
    for cells in (remote, ["/etc/passwd", None], [f"{dataset.root}/dataset.yaml", None]):
        with pytest.raises(mlflow.MlflowException, match=VARIABLE):
            model.predict(frame.assign(image=cells))

    monkeypatch.setenv(VARIABLE, "s3://served/ads")
    model = mlflow.pyfunc.load_model(uri)
    for cells in (local, remote):
        np.testing.assert_array_equal(model.predict(frame.assign(image=cells)), expected)

"""Attributes of a dataset folder: columns, manifest, report, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ni_platform.attributes import AttributesConfig, add_attributes
from ni_platform.cli.main import group
from ni_platform.data.attributes.columns import DerivedColumn, write_columns
from ni_platform.data.attributes.dominant_colour import DominantColour
from ni_platform.data.attributes.ocr import Ocr
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.vectors import stacked
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.modalities.text import TextEncoderConfig
from tests.attributes.drawn import banner, plain
from tests.models.test_pretrained import save_bert

PICTURES = {
    "a.png": banner("Free tea"),
    "b.png": plain("red"),
    "copy of b.png": plain("red"),
    "bad.png": b"<html>404</html>",
}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five contents: a banner, red twice, a picture that does not decode, and none."""
    source = tmp_path / "pictures"
    source.mkdir()
    for name, data in PICTURES.items():
        (source / name).write_bytes(data)
    contents = pd.DataFrame(
        {
            "id": ["1", "2", "3", "4", "5"],
            "image": [*PICTURES, None],
            "title": ["free shoes", "today", None, " ", "today"],
            "shown": 100,
            "clicks": range(5),
            "note": pd.array([1, None, 3, 4, 5], dtype="Int64"),
        }
    )
    manifest = Manifest(
        name="ads",
        images="images",
        columns=Columns(content_id="id", image="image", text=("title",)),
        target=Target(impressions="shown", clicks="clicks"),
    )
    write_dataset(tmp_path / "ads", manifest, contents, {name: source / name for name in PICTURES})
    return tmp_path / "ads"


@pytest.fixture
def config(tmp_path) -> AttributesConfig:
    """Everything, with a tiny BERT, in this process."""
    save_bert(tmp_path / "bert")
    return AttributesConfig(
        ocr=Ocr(),
        dominant_colour=DominantColour(),
        embed=("title", "ocr"),
        encoder=TextEncoderConfig(weights=str(tmp_path / "bert"), pooling="mean", max_tokens=16),
        workers=1,
    )


def files(folder: Path) -> dict[str, bytes]:
    """Every file but the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_columns_manifest_and_report(folder, config, tmp_path):
    """All columns are right, declared as derived inputs, and reported; other columns stay."""
    before = Dataset.open(folder)
    dataset, report = add_attributes(folder, config, tmp_path / "store")
    contents = dataset.contents
    assert contents["ocr"].str.lower().str.replace(" ", "").tolist()[0] == "freetea"
    assert contents["ocr"].isna().tolist() == [False, True, True, True, True]
    colours = contents["dominant_colour"].astype(object).where(contents["dominant_colour"].notna())
    assert colours.tolist()[:3] == ["white", "red", "red"]
    assert colours.isna().tolist() == [False, False, False, True, True]
    vectors, present = stacked(contents["title_embedding"])
    assert present.tolist() == [True, True, False, False, True]
    assert vectors.shape == (5, 32)
    assert np.array_equal(vectors[1], vectors[4])
    columns = dataset.manifest.columns
    assert columns.text == ("title", "ocr")
    assert columns.categorical == ("dominant_colour",)
    assert columns.vector == ("title_embedding", "ocr_embedding")
    assert set(dataset.manifest.derived) == {*columns.inputs} - {"title", "image"}
    for name in before.contents:
        pd.testing.assert_series_equal(contents[name], before.contents[name])
    saved = json.loads((folder / "attributes.json").read_text())["columns"]
    assert saved == report
    assert list(saved["ocr"]["unreadable"]) == ["bad.png"]
    assert (saved["ocr"]["computed"], saved["ocr"]["rows_with_a_value"]) == (3, 1)
    assert (saved["title_embedding"]["computed"], saved["title_embedding"]["from_store"]) == (2, 0)


def test_a_second_run_takes_everything_from_the_store(folder, config, tmp_path):
    """Nothing is computed, and table and manifest are the same bytes."""
    first, _ = add_attributes(folder, config, tmp_path / "store")
    before = files(folder)
    again, report = add_attributes(folder, config, tmp_path / "store")
    assert {name: found["computed"] for name, found in report.items()} == dict.fromkeys(report, 0)
    assert {name: found["from_store"] for name, found in report.items()} == {
        "ocr": 3, "dominant_colour": 3, "title_embedding": 2, "ocr_embedding": 1,
    }  # fmt: skip
    after = files(folder)
    assert {**before, "attributes.json": b""} == {**after, "attributes.json": b""}
    assert again.fingerprint() == first.fingerprint()


def test_columns_can_be_added_one_after_another(folder, config, tmp_path):
    """A later run keeps what an earlier one wrote, and may embed its text."""
    add_attributes(folder, replace(config, embed=(), dominant_colour=None), tmp_path / "store")
    dataset, report = add_attributes(folder, replace(config, ocr=None), tmp_path / "store")
    assert list(report) == ["dominant_colour", "title_embedding", "ocr_embedding"]
    assert dataset.manifest.columns.text == ("title", "ocr")
    assert stacked(dataset.contents["ocr_embedding"])[1].tolist() == [True, *[False] * 4]
    saved = json.loads((folder / "attributes.json").read_text())["columns"]
    assert list(saved) == ["ocr", *report]


def test_a_column_of_nulls_is_not_declared(folder, config, tmp_path):
    """Where no picture has any text, the column is kept but no model is told to read it."""
    (folder / "images" / "a.png").unlink()
    (folder / "images" / "a.png").write_bytes(plain("blue"))
    only_ocr = replace(config, dominant_colour=None, embed=())
    dataset, _ = add_attributes(folder, only_ocr, tmp_path / "store")
    assert dataset.contents["ocr"].isna().all()
    assert dataset.manifest.columns.text == ("title",)
    assert dataset.manifest.derived == ()
    (folder / "images" / "a.png").write_bytes(banner("Free tea"))
    dataset, report = add_attributes(folder, only_ocr, tmp_path / "store")
    assert dataset.manifest.columns.text == ("title", "ocr")
    assert report["ocr"]["computed"] == 1


def test_a_column_that_is_not_ours_is_never_replaced(folder, config, tmp_path):
    """An owner's column of the same name is an error before any work, and nothing changes."""
    dataset = Dataset.open(folder)
    dataset.contents.assign(ocr="mine").to_parquet(folder / "contents.parquet")
    before = files(folder)
    with pytest.raises(DatasetError, match=r"'ocr'.*not written by `ni data attributes`.*rename"):
        add_attributes(folder, config, tmp_path / "store")
    assert files(folder) == before
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"embed": ("titel",)}, ConfigError, "'titel'.*did you mean 'title'"),
        ({"ocr": None, "embed": ("ocr",)}, ConfigError, r"'ocr' \(add --ocr\)"),
        ({"ocr": None, "dominant_colour": None, "embed": ()}, ConfigError, "no attribute"),
        ({"workers": 0}, ConfigError, "at least 1"),
    ],
)
def test_wishes_that_cannot_be_met(folder, config, tmp_path, changes, error, words):
    """Each is one clear error, and nothing is written."""
    before = files(folder)
    with pytest.raises(error, match=words):
        add_attributes(folder, replace(config, **changes), tmp_path / "store")
    assert files(folder) == before


def test_a_dataset_without_pictures_and_a_remote_one(config, tmp_path):
    """OCR without an image column, and a dataset on S3, are told with the remedy."""
    manifest = Manifest(
        name="texts",
        columns=Columns(content_id="id", text=("title",)),
        target=Target(impressions="shown", clicks="clicks"),
    )
    frame = pd.DataFrame({"id": ["1"], "title": ["today"], "shown": [9], "clicks": [1]})
    write_dataset(tmp_path / "texts", manifest, frame)
    with pytest.raises(DatasetError, match="declares no image column"):
        add_attributes(tmp_path / "texts", config, tmp_path / "store")
    remote = Dataset("s3://bucket/texts", manifest, frame)
    with pytest.raises(DatasetError, match="ni data pull"):
        write_columns(remote, [])


def test_a_table_that_changed_meanwhile_is_not_overwritten(folder):
    """Rows that came while attributes were computed are not lost."""
    opened = Dataset.open(folder)
    grown = pd.concat([opened.contents, opened.contents.head(1).assign(id="6")])
    grown.to_parquet(folder / "contents.parquet", index=False)
    before = files(folder)
    column = DerivedColumn(name="ocr", role="text", cells=["x"] * 5, report={})
    with pytest.raises(DatasetError, match="changed while"):
        write_columns(opened, [column])
    assert files(folder) == before


@pytest.mark.parametrize("moment", ["attributes.json", "contents.parquet", "dataset.yaml"])
def test_a_kill_while_writing_leaves_a_valid_dataset(folder, moment):
    """After SIGKILL just before any of the three files appears, the folder opens and a retry works.

    The rename of a finished temporary file is where each file appears.
    """
    script = (
        "import os, signal, sys\n"
        "from ni_platform.data.attributes.columns import DerivedColumn, write_columns\n"
        "from ni_platform.data.dataset import Dataset\n"
        "replace = os.replace\n"
        "def killing(source, target):\n"
        "    if os.path.basename(target) == sys.argv[2]:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    replace(source, target)\n"
        "dataset = Dataset.open(sys.argv[1])\n"
        "os.replace = killing\n"
        "cells = [f'text {row}' for row in range(5)]\n"
        "write_columns(dataset, [DerivedColumn(name='ocr', role='text', cells=cells, report={})])\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, folder, moment], check=False)
    assert ended.returncode == -signal.SIGKILL
    dataset = Dataset.open(folder)
    assert dataset.manifest.columns.text == ("title",)
    column = DerivedColumn(name="ocr", role="text", cells=["again"] * 5, report={})
    assert write_columns(dataset, [column]).contents["ocr"].tolist() == ["again"] * 5


def test_two_runs_at_once_keep_both_columns(folder):
    """Writers that opened the dataset before each other's columns were there lose none."""
    first, second = Dataset.open(folder), Dataset.open(folder)
    for dataset, name in ((first, "ocr"), (second, "dominant_colour")):
        role = "text" if name == "ocr" else "categorical"
        write_columns(dataset, [DerivedColumn(name=name, role=role, cells=["x"] * 5, report={})])
    dataset = Dataset.open(folder)
    assert dataset.manifest.derived == ("ocr", "dominant_colour")
    assert {"ocr", "dominant_colour"} <= set(dataset.contents)


def test_the_command(folder, config, tmp_path, monkeypatch):
    """`ni data attributes` prints a line per column and per unreadable picture, and the JSON."""
    monkeypatch.setenv("NI_HOME", str(tmp_path / "home"))
    arguments = ["data", "attributes", str(folder), "--dominant-colour", "--embed", "title"]
    arguments += ["--encoder", str(config.encoder.weights), "--workers", "1", "--json"]
    # The tiny BERT has 20 positions, fewer than the command's 128 tokens.
    refused = CliRunner().invoke(group, arguments)
    assert isinstance(refused.exception, ConfigError)
    assert "max_tokens must be at most 20" in str(refused.exception)
    assert "dominant_colour" not in Dataset.open(folder).contents
    done = CliRunner().invoke(group, [*arguments, "--max-tokens", "16"])
    assert done.exit_code == 0, done.output
    assert "Unreadable: bad.png: The picture" in done.stdout
    report = json.loads(done.stdout.splitlines()[-1])
    # The refused run had read the pictures before, and that is kept.
    assert (report["dominant_colour"]["computed"], report["dominant_colour"]["from_store"]) == (
        0,
        3,
    )
    assert (report["title_embedding"]["computed"], report["title_embedding"]["rows"]) == (2, 5)
    assert (tmp_path / "home" / "attributes" / "values.db").is_file()
    assert os.listdir(tmp_path / "home") == ["attributes"]

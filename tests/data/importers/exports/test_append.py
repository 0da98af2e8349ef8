"""A newer export of the same account adds to the dataset that an older one made."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.data.importers.exports.importing import ExportImport, import_export
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.errors import ConfigError, DatasetError

_HEADER = "date,test_id,variant,headline,impressions,clicks\n"


def _add(tmp_path: Path, name: str, rows: str, **options: object) -> ExportImport:
    path = tmp_path / name
    path.write_text(_HEADER + rows)
    return import_export([path], tmp_path / "out", **options)  # type: ignore[arg-type]


@pytest.fixture
def first(tmp_path: Path) -> ExportImport:
    """One test, two days."""
    rows = "2026-05-01,T1,A,x,100,5\n2026-05-01,T1,B,y,100,7\n2026-05-02,T1,A,x,50,2\n"
    return _add(tmp_path, "may.csv", rows, assignment="randomised", assignment_reason="A coin.")


def _counts(dataset: Dataset) -> dict[str, tuple[int, int]]:
    rows = dataset.contents.to_dict("records")
    return {row["content_id"]: (row["impressions"], row["clicks"]) for row in rows}


def test_new_days_and_tests_are_added_and_changes_told(first: ExportImport, tmp_path: Path) -> None:
    """Rows of the same content and day take the place of the old ones; nothing counts twice."""
    rows = "2026-05-02,T1,A,x,60,3\n2026-05-03,T1,B,y,10,1\n2026-05-03,T2,A,z,20,2\n"
    second = _add(tmp_path, "june.csv", rows)
    assert _counts(second.dataset) == {
        "T1 | B": (110, 8),
        "T1 | A": (160, 8),
        "T2 | A": (20, 2),
    }
    entry = second.entry
    assert {name: entry[name] for name in ("new_rows", "new_contents", "new_tests")} == {
        "new_rows": 2, "new_contents": 1, "new_tests": 1,
    }  # fmt: skip
    assert entry["changes"] == ["T1 | A 2026-05-02: impressions 50 to 60, clicks 2 to 3"]
    assert second.dataset.fingerprint() != first.dataset.fingerprint()
    # What the first import was told still holds.
    manifest = Dataset.open(tmp_path / "out").manifest
    assert (manifest.assignment, manifest.assignment_reason) == ("randomised", "A coin.")
    record = json.loads((tmp_path / "out" / "import.json").read_text())
    assert [entry["files"][0]["name"] for entry in record["imports"]] == ["may.csv", "june.csv"]
    assert not list(tmp_path.glob(".out*"))


def test_the_same_file_adds_nothing(first: ExportImport, tmp_path: Path) -> None:
    """It is known by its bytes, whatever it is called, and passed over beside a new one."""
    again, new, said = tmp_path / "copy.csv", tmp_path / "june.csv", list[str]()
    again.write_bytes((tmp_path / "may.csv").read_bytes())
    result = import_export([again], tmp_path / "out", say=said.append)
    assert result.dataset.fingerprint() == first.dataset.fingerprint()
    assert result.entry == {}
    assert said[0].startswith("copy.csv was imported on 20")
    new.write_text(_HEADER + "2026-05-03,T1,B,y,10,1\n")
    result = import_export([again, new], tmp_path / "out")
    assert [file["name"] for file in result.entry["files"]] == ["june.csv"]
    assert _counts(result.dataset)["T1 | B"] == (110, 8)


@pytest.mark.usefixtures("first")
def test_what_does_not_belong_is_refused_and_the_folder_stays(tmp_path: Path) -> None:
    """Another export, another meaning, a rate for a count."""
    before = Dataset.open(tmp_path / "out").fingerprint()
    other = tmp_path / "other.csv"
    other.write_text("test_id,variant,impressions,clicks\nT9,A,10,1\n")
    with pytest.raises(DatasetError, match=r"no export of the profile variant_days"):
        import_export([other], tmp_path / "out")
    with pytest.raises(ConfigError, match="imported with content_id not given, but now it is"):
        _add(tmp_path, "x.csv", "2026-05-04,T1,A,x,1,0\n", wishes=Wishes(content_id=("test",)))
    with pytest.raises(DatasetError, match="line 2: clicks must be a count"):
        _add(tmp_path, "x.csv", "2026-05-04,T1,A,x,1,0.5\n")
    assert Dataset.open(tmp_path / "out").fingerprint() == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """A dataset that no export made, and a folder of files."""
    rows = "2026-05-01,T1,A,x,100,5\n"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="is already there"):
        _add(tmp_path, "may.csv", rows, assignment="randomised")
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_folder_that_was_being_replaced_is_put_back(first: ExportImport, tmp_path: Path) -> None:
    """A process that was killed between two renames loses nothing."""
    (tmp_path / "out").rename(tmp_path / ".out.replaced")
    second = _add(tmp_path, "june.csv", "2026-05-03,T1,B,y,10,1\n")
    assert _counts(second.dataset)["T1 | A"] == _counts(first.dataset)["T1 | A"]


def test_what_is_set_aside_is_listed_once(tmp_path: Path) -> None:
    """A content that changed is found again by each import, and listed by the first."""
    rows = "2026-05-01,T1,A,x,9,1\n2026-05-02,T1,A,other,9,1\n2026-05-01,T1,B,y,9,1\n"
    _add(tmp_path, "may.csv", rows, assignment="randomised")
    _add(tmp_path, "june.csv", "2026-05-03,T1,B,y,10,1\n,T1,B,y,5,1\n")
    listed = pd.read_csv(tmp_path / "out" / "set_aside.csv")
    assert listed[["import", "file", "line", "reason"]].to_numpy().tolist() == [
        [1, "may.csv", 2, "its headline changed while it was shown"],
        [1, "may.csv", 3, "its headline changed while it was shown"],
        [2, "june.csv", 3, "it has no day"],
    ]

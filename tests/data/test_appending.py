"""Results that are added to a dataset: what becomes of old and new rows, and what is refused."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from ni_platform.data.appending import append_results
from ni_platform.data.dataset import Dataset
from ni_platform.data.importers.exports.importing import import_export
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.data.importers.table import import_table
from ni_platform.errors import DatasetError
from tests import export_files

HEAD = "id,test,title,shown,clicked,picture,since,other\n"
FIRST = HEAD + "1,a,Red,100,10,r.png,2026-05-01,x\n2,a,Blue,100,20,b.png,2026-05-01,y\n"


def _picture(path: Path, colour: str) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two arms with pictures; the later table lies in `new`, with pictures of its own."""
    _picture(tmp_path / "old/r.png", "red")
    _picture(tmp_path / "old/b.png", "blue")
    for name, colour in (("r", "red"), ("b", "blue"), ("g", "green")):
        _picture(tmp_path / f"new/{name}.png", colour)
    (tmp_path / "old/t.csv").write_text(FIRST)
    import_table(
        tmp_path / "old/t.csv", tmp_path / "data", content_id="id", ab_test="test",
        assignment="randomised", text=["title"], image="picture", day="since",
        impressions="shown", clicks="clicked",
    )  # fmt: skip
    return tmp_path / "data"


def _results(folder: Path, rows: str) -> Path:
    path = folder.parent / "new/t.csv"
    path.write_text(HEAD + rows)
    return path


def test_new_contents_and_new_counts(folder: Path) -> None:
    """A known id gets the new counts in its place; undeclared columns are kept."""
    before = Dataset.open(folder).fingerprint()
    rows = "2,a,Blue,300,50,b.png,01/05/2026,z\n3,b,Green,50,5,g.png,31/05/2026,q\n"
    found = append_results([_results(folder, rows)], folder)
    dataset = Dataset.open(folder)
    assert dataset.content_id.tolist() == ["1", "2", "3"]
    assert dataset.impressions.tolist() == [100, 300, 50]
    assert dataset.clicks.tolist() == [10, 50, 5]
    assert dataset.contents["other"].tolist() == ["x", "z", "q"]
    assert dataset.day.tolist() == ["2026-05-01", "2026-05-01", "2026-05-31"]
    assert found.new.tolist() == [False, False, True]
    assert found.changed.tolist() == [False, True, False]
    assert found.before == before != dataset.fingerprint()
    assert all(Path(uri).is_file() for uri in dataset.image_uri)
    again = append_results([_results(folder, rows)], folder)
    assert not again.new.any()
    assert not again.changed.any()
    assert again.before is None


def test_counts_that_fell_are_told(folder: Path) -> None:
    """As those of an older file do."""
    rows = "1,a,Red,90,10,r.png,2026-05-01,x\n2,a,Blue,300,50,b.png,2026-05-01,z\n"
    found = append_results([_results(folder, rows)], folder)
    assert found.fell.tolist() == [True, False]


def test_a_day_that_was_not_known_may_come_later(folder: Path) -> None:
    """A first day that was told stays; one that was not does no harm."""
    append_results([_results(folder, "3,b,Green,50,5,g.png,,q\n")], folder)
    append_results([_results(folder, "3,b,Green,50,5,g.png,2026-06-01,q\n")], folder)
    assert Dataset.open(folder).day.tolist()[2] == "2026-06-01"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("2,a,Azure,300,50,b.png,2026-05-01,z\n", r"'2' has another title in \S+new/t\.csv than"),
        ("2,c,Blue,300,50,b.png,2026-05-01,z\n", "'2' has another test"),
        ("2,a,Blue,300,500,b.png,2026-05-01,z\n", "clicks <= impressions"),
        ("9,a,Blue,300,50,missing.png,2026-05-01,z\n", "1 pictures are not in"),
        ("9,a,Blue,300,50,b.png,03/04/2026,z\n", "say --dates day-first or month-first"),
    ],
)
def test_what_does_not_fit_changes_nothing(folder: Path, rows: str, words: str) -> None:
    """One error, and the folder as it was."""
    before = Dataset.open(folder).fingerprint()
    with pytest.raises(DatasetError, match=words):
        append_results([_results(folder, rows)], folder)
    assert Dataset.open(folder).fingerprint() == before


def test_a_picture_that_is_another_under_the_same_name_is_refused(folder: Path) -> None:
    """It would take the place of the one that was shown."""
    _picture(folder.parent / "new/b.png", "black")
    with pytest.raises(DatasetError, match=r"The picture 'b.png' of the results is another"):
        append_results([_results(folder, "3,b,Green,50,5,b.png,2026-05-31,q\n")], folder)


def test_an_export_is_continued_by_its_profile(tmp_path: Path) -> None:
    """As `ni data import` adds a newer export."""
    first, more = tmp_path / "first", tmp_path / "more"
    first.mkdir()
    more.mkdir()
    import_export(
        export_files.klaviyo(first, tests=5), tmp_path / "d", wishes=Wishes(success="clicks")
    )
    found = append_results(export_files.klaviyo(more, tests=8), tmp_path / "d")
    assert len(found.dataset) == len(found.new)
    assert found.dataset.ab_test.nunique() == 8
    assert found.new.sum() == len(found.dataset) * 3 / 8


def test_counts_of_a_click_log_are_not_continued(folder: Path) -> None:
    """Its events are; the remedy names the command."""
    (folder / "aggregation.json").write_text("{}")
    with pytest.raises(DatasetError, match="ni data aggregate"):
        append_results([_results(folder, "3,b,Green,50,5,g.png,2026-05-31,q\n")], folder)


def test_what_results_do_not_say_stays(folder: Path) -> None:
    """A known content keeps its first day, its other columns and what else lies in the folder."""
    (folder / "notes").mkdir()
    (folder / "notes/why.txt").write_text("asked for by the board")
    (folder / "images/unused.png").write_bytes(b"kept")
    path = folder.parent / "new/t.csv"
    head = "id,test,title,shown,clicked,picture,since\n"
    path.write_text(f"{head}1,a,Red,300,30,r.png,2026-06-01\n2,a,Blue,300,50,b.png,\n")
    append_results([path], folder)
    dataset = Dataset.open(folder)
    assert dataset.contents["other"].tolist() == ["x", "y"]
    assert dataset.day.tolist() == ["2026-05-01", "2026-05-01"]
    assert dataset.impressions.tolist() == [300, 300]
    assert (folder / "notes/why.txt").read_text() == "asked for by the board"
    assert (folder / "images/unused.png").read_bytes() == b"kept"


def test_whole_numbers_stay_exact_and_equal(tmp_path: Path) -> None:
    """Of an undeclared column that results lack, or have as text; of ages some of which are parts.

    2 to the power of 53, and 1, has no float.
    """
    large = 2**53 + 1
    table = pd.DataFrame({"id": ["1", "2"], "test": "a", "title": ["R", "B"], "age": [30, 31.5]})
    table = table.assign(shown=100, clicked=1, account=[large, large + 2])
    table.to_parquet(tmp_path / "t.parquet")
    import_table(
        tmp_path / "t.parquet", tmp_path / "data", content_id="id", ab_test="test",
        assignment="randomised", text=["title"], numeric=["age"], impressions="shown",
        clicks="clicked",
    )  # fmt: skip
    (tmp_path / "a.csv").write_text("id,test,title,age,shown,clicked\n1,a,R,30,200,2\n")
    (tmp_path / "b.csv").write_text(
        f"id,test,title,age,shown,clicked,account\n3,b,G,4,200,2,{large}\n"
    )
    found = append_results([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "data").dataset
    assert found.contents["account"].tolist() == [large, large + 2, large]
    assert found.impressions.tolist() == [200, 100, 200]
    (tmp_path / "b.csv").write_text(
        "id,test,title,age,shown,clicked,account\n4,b,G,4,200,2,unknown\n"
    )
    with pytest.raises(DatasetError, match=r"'account' of the results .* holds int64"):
        append_results([tmp_path / "b.csv"], tmp_path / "data")


def test_pictures_that_lie_elsewhere_stay_there(folder: Path) -> None:
    """The manifest names an absolute folder, which has the new pictures as well."""
    pictures = folder.parent / "new"
    manifest = folder / "dataset.yaml"
    manifest.write_text(manifest.read_text().replace("images: images", f"images: {pictures}"))
    rows = "3,b,Green,50,5,g.png,2026-05-31,q\n"
    dataset = append_results([_results(folder, rows)], folder).dataset
    assert dataset.image_uri.tolist() == [str(pictures / f"{name}.png") for name in "rbg"]


def test_a_link_to_a_folder_stays_one(folder: Path) -> None:
    """What it names takes the results."""
    link = folder.parent / "link"
    link.symlink_to(folder)
    append_results([_results(folder, "3,b,Green,50,5,g.png,2026-05-31,q\n")], link)
    assert link.is_symlink()
    assert len(Dataset.open(folder)) == 3
    assert not list(folder.parent.glob(".*"))

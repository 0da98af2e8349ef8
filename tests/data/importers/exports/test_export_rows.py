"""What bad exports get: one message, or rows that are set aside and listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ni_platform.data.importers.exports.importing import ExportImport, import_export
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.errors import DatasetError, NiError

_DAYS = "date,test_id,variant,headline,impressions,clicks\n"
_ADS = (
    "Reporting starts,Reporting ends,Ad name,Ad set name,Campaign name,Age,Impressions,"
    "Link clicks\n"
)


def _import(tmp_path: Path, text: str, name: str = "e.csv", **options: Any) -> ExportImport:
    path = tmp_path / name
    path.write_text(text)
    options.setdefault("assignment", "randomised")
    return import_export([path], tmp_path / "out", **options)


def _counts(result: ExportImport) -> dict[str, tuple[int, int]]:
    table = result.dataset.contents
    return {
        row["content_id"]: (row["impressions"], row["clicks"]) for row in table.to_dict("records")
    }


def _set_aside(tmp_path: Path) -> list[list[Any]]:
    table = pd.read_csv(tmp_path / "out" / "set_aside.csv")
    return table[["line", "reason"]].to_numpy().tolist()


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        ("2026-05-01,T1,A,x,100,5\n,T1,A,x,50,5\n", 3, "it has no day"),
        ("2026-05-01,T1,A,x,100,5\n2026-05-01,T1,,x,50,5\n", 3, "no content is named"),
        ("2026-05-01,T1,A,x,100,5\n2026-05-01,,B,x,50,5\n", 3, "no content is named"),
        ("2026-05-01,T1,A,x,100,5\n2026-05-01,T1,B,x,,5\n", 3, "impressions is empty"),
        ("2026-05-01,T1,A,x,100,5\n2026-05-01,T1,B,x,9,\n", 3, "clicks is empty"),
        ("2026-05-01,T1,A,x,100,5\n2026-05-01,T1,B,x,9,10\n", 3, "more successes than impressions"),
        ("2026-05-01,T1,A,x,100,5\n2026-05-01,T1,B,x,-9,-1\n", 3, "corrections exceed its counts"),
    ],
)
def test_a_row_that_cannot_count_is_listed(
    rows: str, line: int, reason: str, tmp_path: Path
) -> None:
    """With its line and why; the others count."""
    result = _import(tmp_path, _DAYS + rows)
    assert _counts(result) == {"T1 | A": (100, 5)}
    [[found, why]] = _set_aside(tmp_path)
    assert found == line
    assert reason in why


def test_a_correction_is_added_up(tmp_path: Path) -> None:
    """A negative row takes back what an earlier one counted too much."""
    rows = "2026-05-01,T1,A,x,100,5\n2026-05-02,T1,A,x,-10,-1\n"
    assert _counts(_import(tmp_path, _DAYS + rows)) == {"T1 | A": (90, 4)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_DAYS + "2026-05-01,T1,A,x,€100,5\n", "line 2: column 'impressions' holds '€100'"),
        (_ADS + "2026-05-01,2026-05-01,a,s,c,18,100,€5\n", "line 2: column 'Link clicks' holds"),
        (_DAYS + "2026-05-01,T1,A,x,100,4.5\n", "line 2: clicks must be a count"),
        (_DAYS + "2026-05-01,T1,A,x,100,5%\n", "line 2: column 'clicks' holds '5%'"),
        (_DAYS + "1/7/2026,T1,A,x,100,5\n", "line 2: day holds '1/7/2026', which may be"),
        (_DAYS + "soon,T1,A,x,100,5\n", "line 2: day holds 'soon', which is no day"),
        (_DAYS + "2026-05-01,T1,A,x,many,5\n", "line 2: column 'impressions' holds 'many'"),
        (_DAYS, "no row is about a content"),
        (
            _ADS
            + "2026-05-01,2026-05-07,a,s,c,18-24,100,5\n2026-05-05,2026-05-09,a,s,c,18-24,9,1\n",
            r"'c \| s \| a' has rows of 2026-05-01 to 2026-05-07 and of 2026-05-05",
        ),
        (
            "test_id,variant,impressions,clicks\nT1 | A,B,9,1\nT1,A | B,9,1\n",
            "so that different ones look alike",
        ),
        (
            "Title,Subject,List,Successful Deliveries,Unique Opens,Unique Clicks,Unique Id\n"
            "a,s,l,10,5,1,u\na,s,l,10,4,1,u\n",
            r"lines 2 and 3 are both of 'u': deliveries counts people",
        ),
    ],
)
def test_what_is_wrong_in_the_whole_file_is_one_error(
    text: str, message: str, tmp_path: Path
) -> None:
    """It names file, line, value and remedy; nothing is written."""
    wishes = Wishes(success="clicks") if text.startswith("Title") else Wishes()
    with pytest.raises(NiError, match=message):
        _import(tmp_path, text, wishes=wishes)
    assert not (tmp_path / "out").exists()


def test_people_are_not_added_up_over_days(tmp_path: Path) -> None:
    """Who opened on Monday may open on Tuesday, too; groups of people may be added up."""
    (tmp_path / "profiles").mkdir()
    header = "day,variant,test_id,age,unique users,clicks\n"
    profile = (
        "name: people\ntitle: People\nrow: a day\nfields:\n  day: {names: [day], holds: day}\n"
        "  variant: {names: [variant]}\n  test: {names: [test_id]}\n  age: {names: [age]}\n"
        "  impressions: {names: [unique users], holds: people}\n"
        "  clicks: {names: [clicks], holds: count}\ncontent: [[test, variant]]\n"
        "ab_test: [[test]]\nsuccess: {clicks: clicks}\nday: day\naudience: [age]\n"
        "assignment: randomised\nreason: So it is.\n"
    )
    (tmp_path / "profiles" / "people.yaml").write_text(profile)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(DatasetError, match=r"impressions counts each person once .* has 2"):
            _import(tmp_path, header + "2026-05-01,A,T,18,100,5\n2026-05-02,A,T,18,100,5\n")
        result = _import(tmp_path, header + "2026-05-01,A,T,18,100,5\n2026-05-01,A,T,30,60,4\n")
    assert _counts(result) == {"T | A": (160, 9)}


def test_contents_by_audience(tmp_path: Path) -> None:
    """Summed over ages, or a content per age, where asked."""
    rows = (
        "2026-05-01,2026-05-07,a,s,c,18-24,100,5\n2026-05-01,2026-05-07,a,s,c,25-34,50,1\n"
        "2026-05-01,2026-05-07,b,s,c,18-24,90,\n"
    )
    result = _import(tmp_path, _ADS + rows)
    assert _counts(result) == {"c | s | a": (150, 6), "c | s | b": (90, 0)}
    path = tmp_path / "e.csv"
    split = import_export([path], tmp_path / "by", wishes=Wishes(by=("age",)))
    assert _counts(split) == {
        "c | s | a | 18-24": (100, 5),
        "c | s | a | 25-34": (50, 1),
        "c | s | b | 18-24": (90, 0),
    }
    assert split.dataset.manifest.columns.categorical == ("age",)
    assert split.dataset.manifest.shares == "unknown"


def test_ids_of_several_fields(tmp_path: Path) -> None:
    """The same ad name in two ad sets is two ads, and one ad where the user says so."""
    rows = "2026-05-01,2026-05-07,a,s1,c,18,100,5\n2026-05-01,2026-05-07,a,s2,c,18,50,1\n"
    assert _counts(_import(tmp_path, _ADS + rows)) == {
        "c | s1 | a": (100, 5),
        "c | s2 | a": (50, 1),
    }
    path = tmp_path / "e.csv"
    wishes = Wishes(content_id=("Campaign name", "ad"))
    with pytest.raises(DatasetError, match=r"'c \| a' is in 'c \| s1' and 'c \| s2': name the"):
        import_export([path], tmp_path / "ad", wishes=wishes)
    wishes = Wishes(content_id=("campaign", "ad"), ab_test=("campaign",))
    assert _counts(import_export([path], tmp_path / "ad", wishes=wishes)) == {"c | a": (150, 6)}


def test_a_text_that_changed_is_set_aside(tmp_path: Path) -> None:
    """A content is what was shown; two headlines are not one."""
    rows = "2026-05-01,T1,A,x,100,5\n2026-05-02,T1,A,y,100,5\n2026-05-01,T1,B,z,100,7\n"
    assert _counts(_import(tmp_path, _DAYS + rows)) == {"T1 | B": (100, 7)}
    assert _set_aside(tmp_path) == [
        [2, "its headline changed while it was shown"],
        [3, "its headline changed while it was shown"],
    ]


def test_tests_that_teach_nothing_are_told(tmp_path: Path) -> None:
    """One arm, or arms with equal content: kept, and said."""
    rows = "2026-05-01,T1,A,x,100,5\n2026-05-01,T2,A,y,100,5\n2026-05-01,T2,B,y,100,7\n"
    notes = _import(tmp_path, _DAYS + rows).notes
    assert [note.split(",")[0] for note in notes] == [
        "1 A/B tests have one arm",
        "1 A/B tests have arms with equal content",
    ]


def test_two_files_count_the_same_once(tmp_path: Path) -> None:
    """Overlapping exports agree, or are refused with both figures."""
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text(_DAYS + "2026-05-01,T1,A,x,100,5\n2026-05-02,T1,A,x,90,4\n")
    second.write_text(_DAYS + "2026-05-02,T1,A,x,90,4\n2026-05-03,T1,A,x,80,3\n")
    result = import_export([first, second], tmp_path / "out", assignment="randomised")
    assert _counts(result) == {"T1 | A": (270, 12)}
    second.write_text(_DAYS + "2026-05-02,T1,A,x,91,4\n")
    with pytest.raises(DatasetError, match=r"'T1 \| A' on 2026-05-02 .* 90 and 4 in .* 91 and 4"):
        import_export([first, second], tmp_path / "again", assignment="randomised")


def test_a_name_that_nobody_saw_may_change(tmp_path: Path) -> None:
    """An ad that was renamed is the same ad, by its newest name."""
    header = "Reporting starts,Reporting ends,Ad name,Ad set name,Ad ID,Impressions,Link clicks\n"
    rows = "2026-05-01,2026-05-01,old,s,1,100,5\n2026-05-02,2026-05-02,new,s,1,50,2\n"
    result = _import(tmp_path, header + rows)
    assert result.dataset.contents[["ad", "impressions", "clicks"]].to_numpy().tolist() == [
        ["new", 150, 7]
    ]


@pytest.mark.parametrize(("total", "told"), [(150, False), (900, True)])
def test_a_total_that_is_not_the_sum_is_told(total: int, told: bool, tmp_path: Path) -> None:
    """As of an export that was cut short; the rows count as they are."""
    header = "Ad name,Ad group name,Text,Cost,Impressions,Clicks (destination)\n"
    rows = f"a,g,x,1,100,5\nb,g,y,1,50,2\nTotal of 2 results,-,-,2,{total},7\n"
    said = list[str]()
    result = _import(tmp_path, header + rows, say=said.append)
    assert _counts(result) == {"g | a": (100, 5), "g | b": (50, 2)}
    assert any("says 900 impressions, but the rows add up to 150" in note for note in said) == told

"""What real exports hold that looks right and would count wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ni_platform.data.importers.exports.importing import ExportImport, import_export
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.errors import ConfigError, DatasetError

_DAYS = "date,test_id,variant,headline,impressions,clicks\n"
_KLAVIYO = (
    "Campaign Name,Variant Name,Subject,Send Time,Successful Deliveries,Unique Clicks,Campaign ID\n"
)
_META = (
    "Reporting starts,Reporting ends,Ad name,Ad set name,Ad ID,Age,Gender,Reach,Impressions,"
    "Link clicks\n"
)
_MAY = "2026-05-01,2026-05-31"
_MAILCHIMP = """"Title:","May, early"
"Recipients Who Clicked:","900 (9.1%)"

"Combination 1 Stats"
"Subject Line:","Sale (50%)"
"Successful Deliveries:","1,740"
"Recipients Who Opened:","141 (8.1%)"
"Recipients Who Clicked:","20 (1.1%)"

"Combination 2 Stats"
"Subject Line:","Now, or never"
"Successful Deliveries:","1,742"
"Recipients Who Opened:","151 (8.6%)"
"Recipients Who Clicked:","30 (1.7%)"

"Winning Combination Stats"
"Successful Deliveries:","14,900"
"Recipients Who Clicked:","300 (1.7%)"
"""


def _import(tmp_path: Path, text: str, success: str | None = None, **options: Any) -> ExportImport:
    path = tmp_path / options.pop("name", "export.csv")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    wishes = options.pop("wishes", Wishes(success=success) if success else None)
    return import_export([path], tmp_path / "out", wishes=wishes, **options)


def _counts(result: ExportImport) -> dict[str, tuple[int, int]]:
    return {
        row["content_id"]: (row["impressions"], row["clicks"])
        for row in result.dataset.contents.to_dict("records")
    }


def test_a_name_that_begins_like_a_total_is_a_content(tmp_path: Path) -> None:
    """Only a cell that says that it is one makes a row of totals."""
    name = "Total Body Workout"
    rows = f"{name},A,x,t,1000,100,\n{name},B,y,t,1001,90,\nTotal,,,,2001,190,\n"
    result = _import(tmp_path, _KLAVIYO + rows, "clicks")
    assert _counts(result) == {
        "Total Body Workout | A": (1000, 100),
        "Total Body Workout | B": (1001, 90),
    }
    assert result.entry["set_aside"] == {"a row of totals": 1}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("May,A,x,t,1000,100,c\nMay,A,x,t,1000,100,c\n", "lines 2 and 3 .* equal in all columns"),
        (
            "May,A,x,1 May,1000,100,\nMay,A,x,9 May,900,80,\n",
            "lines 2 and 3 .* 'May | A': deliveries counts people",
        ),
    ],
)
def test_people_are_counted_once(rows: str, message: str, tmp_path: Path) -> None:
    """A row that stands twice, and a campaign that was sent twice."""
    with pytest.raises(DatasetError, match=message):
        _import(tmp_path, _KLAVIYO + rows, "clicks")


def test_a_campaign_that_was_sent_twice_is_told_apart(tmp_path: Path) -> None:
    """By the field that the message asks for."""
    rows = "May,A,x,1 May,1000,100,\nMay,A,x,9 May,900,80,\n"
    names = ("campaign", "send_time")
    wishes = Wishes(success="clicks", content_id=(*names, "variant"), ab_test=names)
    result = _import(tmp_path, _KLAVIYO + rows, wishes=wishes)
    assert _counts(result) == {"May | 1 May | A": (1000, 100), "May | 9 May | A": (900, 80)}


def test_a_row_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """Of a day, too; rows that differ in numbers alone are added up, and told."""
    row = f"{_MAY},a,s,,,,80,100,5\n"
    with pytest.raises(DatasetError, match=r"lines 2 and 3 are both of 's \| a': equal in all"):
        _import(tmp_path, _META + row + row, "link_clicks")
    said: list[str] = []
    other = f"{_MAY},a,s,,,,90,120,6\n"
    result = _import(tmp_path, _META + row + other, "link_clicks", say=said.append)
    assert _counts(result) == {"s | a": (220, 11)}
    assert "only numbers tell apart, such as 's | a' in export.csv lines 2 and 3" in said[0]


def test_rows_of_a_breakdown_that_no_field_reads_are_parts(tmp_path: Path) -> None:
    """A column of words, such as the placement, tells them apart without a word."""
    said: list[str] = []
    header = _META.replace("Reach", "Placement")
    rows = f"{_MAY},a,s,,,,feed,100,5\n{_MAY},a,s,,,,story,100,5\n"
    result = _import(tmp_path, header + rows, "link_clicks", say=said.append)
    assert (_counts(result), said) == ({"s | a": (200, 10)}, [])


def test_sums_over_an_audience_are_totals(tmp_path: Path) -> None:
    """A row without age and gender beside rows with them counts the same people again."""
    parts = f"{_MAY},a,s,,18-24,f,9,100,5\n{_MAY},a,s,,18-24,m,9,50,1\n{_MAY},a,s,,25-34,f,9,7,1\n"
    sums = f"{_MAY},a,s,,,,9,157,7\n{_MAY},a,s,,18-24,,9,150,6\n{_MAY},b,s,,,,9,60,2\n"
    result = _import(tmp_path, _META + parts + sums, "link_clicks")
    assert _counts(result) == {"s | a": (157, 7), "s | b": (60, 2)}
    assert result.entry["set_aside"] == {"a row of totals": 2}
    with pytest.raises(DatasetError, match=r"line 5 is of 's \| a' without age and gender"):
        _import(tmp_path, _META + parts + sums.replace("157", "156"), "link_clicks", name="b.csv")


def test_an_id_that_a_spreadsheet_has_rounded_is_refused(tmp_path: Path) -> None:
    """With a decimal comma, too: several ads would be one."""
    text = (_META + f"{_MAY},a,s,1#2E+17,,,9,100,5\n").replace(",", ";").replace("#", ",")
    with pytest.raises(DatasetError, match=r"'1,2E\+17', digits that a spreadsheet"):
        _import(tmp_path, text, "link_clicks")


def test_files_of_one_name_and_one_file_twice(tmp_path: Path) -> None:
    """Rows of two files must not look like parts of one."""
    paths = [tmp_path / folder / "may.csv" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(_DAYS + "2026-05-01,T,A,x,100,5\n")
    said: list[str] = []
    out = tmp_path / "out"
    files = [paths[0], *paths]
    result = import_export(files, out, assignment="randomised", say=said.append)
    assert _counts(result) == {"T | A": (100, 5)}
    assert [line.split(" is the same as ")[0] for line in said] == [str(path) for path in paths]
    paths[1].write_text(_DAYS + "2026-05-01,T,A,x,100,6\n")
    with pytest.raises(DatasetError, match=r"a/may.csv and .*b/may.csv have the same: rename"):
        import_export(paths, tmp_path / "other", assignment="randomised")


def test_sections_keep_texts_and_their_own_counts(tmp_path: Path) -> None:
    """A percentage in a subject stays, and no arm gets the counts of all together."""
    result = _import(tmp_path, _MAILCHIMP.replace("\n", "\r\n"), "clicks")
    assert result.dataset.contents["subject"].tolist() == ["Sale (50%)", "Now, or never"]
    assert list(_counts(result).values()) == [(1740, 20), (1742, 30)]
    lacking = _MAILCHIMP.replace('"Recipients Who Clicked:","30 (1.7%)"\n', "")
    result = import_export(
        [_file(tmp_path, lacking)], tmp_path / "lacking", wishes=Wishes(success="clicks")
    )
    assert list(_counts(result).values()) == [(1740, 20)]
    assert result.entry["set_aside"] == {"unique_clicks is empty": 1}


def test_a_test_of_send_time_has_one_subject(tmp_path: Path) -> None:
    """It stands above the arms; an empty label of an arm is no text."""
    text = '"Subject Line:","One, for all"\n' + _MAILCHIMP.replace("Sale (50%)", "").replace(
        '"Subject Line:","Now, or never"\n', ""
    )
    result = _import(tmp_path, text, "clicks")
    assert result.dataset.contents["subject"].tolist() == ["One, for all"] * 2
    assert "equal content" in result.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"Now, or never"', "Now, or never", "line 11: a label has one value, but 'Subject Line"),
        ('"1,742"', "1,742", "line 12: a label has one value, but 'Successful Deliveries:' has 2"),
        ('"Sale (50%)"', '"Sale (50%)', "line 6: ',' expected after"),
        ('"Sale (50%)"', '"Sale (50%)\n"', "line 6: the value of 'Subject Line:' goes over"),
    ],
)
def test_sections_without_quotes_are_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    """Half a subject, or the thousands of a count, would be left."""
    with pytest.raises(DatasetError, match=message):
        _import(tmp_path, _MAILCHIMP.replace(old, new), "clicks")


def test_a_total_whose_name_no_field_reads(tmp_path: Path) -> None:
    """A dash names no ad."""
    text = (
        "Status,Campaign name,Ad group name,Ad name,Cost,Impressions,Clicks (all)\n"
        "Active,c,g,a,1,100,5\nActive,c,g,b,1,90,4\nTotal of 2 results,-,-,-,2,190,9\n"
    )
    result = _import(tmp_path, text, "all_clicks")
    assert _counts(result) == {"c | g | a": (100, 5), "c | g | b": (90, 4)}


def test_assets_by_day(tmp_path: Path) -> None:
    """A newer month adds to an older one."""
    header = "Campaign,Ad group,Asset type,Asset,Day,Impr.,Clicks\n"
    totals = "Total: Account, --, --, --, --,900,9\n"
    _import(tmp_path, header + 'c,g,Headline,Total care,2026-05-01,"1,000",9\n' + totals)
    june = header + "c,g,Headline,Total care,2026-06-01,900,9\n" + totals
    result = _import(tmp_path, june, name="june.csv")
    assert _counts(result) == {"c | g | Headline | Total care": (1900, 18)}


def test_results_of_growthbook_are_counted_once(tmp_path: Path) -> None:
    """By dimension and as a whole, exported again, and phase by phase."""
    whole = _result({"": [(1000, 100), (1010, 90)]})
    parts = _result({"chrome": [(600, 60), (610, 50)], "safari": [(400, 40), (400, 40)]})
    both = _result({"": [(1000, 100), (1010, 90)]} | {"de": [(1000, 100), (1010, 90)]})
    wanted = {"x | 0 | v0": (1000, 100), "x | 0 | v1": (1010, 90)}
    for number, documents in enumerate([[whole], [parts], [both], [whole, whole], [whole, parts]]):
        path = _file(tmp_path, json.dumps(documents), f"{number}.json")
        assert _counts(import_export([path], tmp_path / str(number))) == wanted
    path = _file(tmp_path, json.dumps([whole, _result({"": [(50, 5), (51, 4)]}, "1")]))
    result = import_export([path], tmp_path / "phases")
    assert _counts(result) == wanted | {"x | 1 | v0": (50, 5), "x | 1 | v1": (51, 4)}
    path = _file(tmp_path, json.dumps([whole, _result({"": [(50, 5), (51, 4)]})]))
    with pytest.raises(DatasetError, match="1000 and 100 in e document 1; 50 and 5 in e document"):
        import_export([path], tmp_path / "again")


def test_only_visitors_are_successes_of_optimizely(tmp_path: Path) -> None:
    """The same event is counted per visitor and in all, and a sum of revenue is no count."""
    metrics = [
        {
            "name": name,
            "aggregator": kind,
            "results": {"1": {"name": "a", "value": 10 * n}, "2": {"name": "b", "value": 12 * n}},
        }
        for name, kind, n in (("Click", "unique", 1), ("Click", "count", 3), ("Revenue", "sum", 2))
    ]
    reach = {"variations": {"1": {"count": 1000}, "2": {"count": 1010}}}
    path = _file(tmp_path, json.dumps({"experiment_id": 5, "reach": reach, "metrics": metrics}))
    result = import_export([path], tmp_path / "out")
    assert _counts(result) == {"5 | 1": (1000, 10), "5 | 2": (1010, 12)}
    assert result.entry["set_aside"] == {"its aggregator is not unique": 4}
    with pytest.raises(ConfigError, match="has none called 'Revenue'"):
        import_export([path], tmp_path / "revenue", wishes=Wishes(metric="Revenue"))


def test_a_list_with_an_experiment_without_reach(tmp_path: Path) -> None:
    """The message names the document that lacks it."""
    text = json.dumps([{"experiment_id": 5, "reach": {}}, {"experiment_id": 6, "metrics": []}])
    with pytest.raises(DatasetError, match="lacks one of reach at the top of its document 2"):
        import_export([_file(tmp_path, text)], tmp_path / "out")


def test_a_newer_export_without_a_column(tmp_path: Path) -> None:
    """What it has no column for is as it was, and no change; a lower count is told."""
    _import(tmp_path, _DAYS + "2026-05-01,T,A,x,100,5\n", assignment="randomised")
    short = "date,test_id,variant,impressions,clicks\n2026-05-01,T,A,90,4\n2026-05-02,T,A,50,2\n"
    result = _import(tmp_path, short, name="june.csv")
    assert _counts(result) == {"T | A": (140, 6)}
    assert result.dataset.contents["headline"].tolist() == ["x"]
    assert result.entry["changes"][-1].startswith("counts of 1 rows fell: if this export is the")


def test_shares_that_were_corrected_stay(tmp_path: Path) -> None:
    """As the assignment does."""
    first = _import(tmp_path, _DAYS + "2026-05-01,T,A,x,100,5\n", assignment="randomised")
    assert first.dataset.manifest.shares is None
    manifest = tmp_path / "out" / "dataset.yaml"
    manifest.write_text(manifest.read_text() + "shares: unknown\n")
    second = _import(tmp_path, _DAYS + "2026-05-02,T,A,x,100,5\n", name="june.csv")
    assert second.dataset.manifest.shares == "unknown"


def _file(tmp_path: Path, text: str, name: str = "e") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def _result(rows: dict[str, list[tuple[int, int]]], phase: str = "0") -> dict[str, Any]:
    """Results of GrowthBook: users and successes of each variation by value of the dimension."""
    results = [
        {
            "dimension": value,
            "metrics": [
                {
                    "metricId": "m",
                    "variations": [
                        {
                            "variationId": f"v{number}",
                            "users": users,
                            "analyses": [{"numerator": successes}, {"numerator": successes}],
                        }
                        for number, (users, successes) in enumerate(arms)
                    ],
                }
            ],
        }
        for value, arms in rows.items()
    ]
    return {"result": {"experimentId": "x", "phase": phase, "results": results}}

"""Files of a click log as people have them: packed, cut, in other encodings, put together badly."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ni_platform.cli.data import command
from ni_platform.data.click_log import Aggregation, LogSpec, aggregate, csv_pieces, texts
from ni_platform.data.dataset import Dataset
from ni_platform.data.reading.csv_file import CsvFormat
from ni_platform.errors import DatasetError

SPEC = LogSpec(
    name="ads",
    content="ad",
    clicked="clicked",
    categorical=("device",),
    min_impressions=1,
    min_level_impressions=0,
)
PLAIN = b"ad,device,clicked\na,phone,1\na,phone,0\nb,desk,1\n"
COUNTS = [["a", "phone", 2, 1], ["b", "desk", 1, 1]]


def spec(**changes: object) -> LogSpec:
    """SPEC with changes."""
    return LogSpec(**{**vars(SPEC), **changes})


def counted(path: Path, made: LogSpec = SPEC, notes: list[str] | None = None) -> list[list]:
    """Ad, device, impressions and clicks of a log's combinations."""
    say = (lambda note: None) if notes is None else notes.append
    out = path.parent / f"out-{path.name}"
    dataset, _ = aggregate([str(path)], str(out), made, say=say)
    return rows_of(dataset)


def rows_of(dataset: Dataset) -> list[list]:
    """The counts of a dataset."""
    found = dataset.contents.astype(object).where(dataset.contents.notna(), None)
    return found[["ad", "device", "impressions", "clicks"]].to_numpy().tolist()


def rejects(path: Path) -> list[tuple[int, str]]:
    """Lines and reasons that `counted` has set aside."""
    found = pd.read_csv(path.parent / f"out-{path.name}" / "rejects.csv")
    return list(zip(found["line"].tolist(), found["reason"].tolist()))


def zipped(data: bytes) -> bytes:
    """An archive of one file, with what a Mac puts beside it."""
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.csv", data)
        archive.writestr("__MACOSX/._log.csv", b"x")
    return place.getvalue()


def tarred(data: bytes, mode: str = "w:gz") -> bytes:
    """An archive of one file."""
    place = io.BytesIO()
    with tarfile.open(fileobj=place, mode=mode) as archive:  # type: ignore[call-overload]
        item = tarfile.TarInfo("log.csv")
        item.size = len(data)
        archive.addfile(item, io.BytesIO(data))
    return place.getvalue()


def zstandard(data: bytes) -> bytes:
    """One frame of zstd."""
    place = pa.BufferOutputStream()
    with pa.CompressedOutputStream(place, "zstd") as stream:
        stream.write(data)
    return place.getvalue().to_pybytes()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "csv.gz": gzip.compress,
    "CSV.BZ2": bz2.compress,
    "csv.xz": lzma.compress,
    "csv.zst": zstandard,
    "csv.zip": zipped,
    "csv.tar.gz": tarred,
    "csv.tar": lambda data: tarred(data, "w"),
}


@pytest.mark.parametrize("ending", PACKINGS)
def test_a_packed_log_is_read_and_a_cut_one_is_told(ending, tmp_path):
    """Every packing that a table may have; half of the bytes are one error, not half a log."""
    lines = b"".join(b"a,phone,%d\n" % (n * n % 7 % 2) for n in range(4000))
    data = PACKINGS[ending](PLAIN + lines)
    whole, cut = tmp_path / f"log.{ending}", tmp_path / "cut" / f"log.{ending}"
    whole.write_bytes(data)
    cut.parent.mkdir()
    cut.write_bytes(data[: len(data) // 2])

    assert [row[2] for row in counted(whole)] == [4002, 1]
    with pytest.raises(DatasetError, match="cut short or damaged"):
        counted(cut)
    assert [path.name for path in cut.parent.iterdir()] == [cut.name]


@pytest.mark.parametrize("ending", ["gz", "zst", "zip"])
def test_packed_parquet(ending, tmp_path):
    """Parquet in a compressed file is Parquet, whatever the name says; a cut one is told."""
    place = io.BytesIO()
    pd.read_csv(io.BytesIO(PLAIN)).to_parquet(place)
    data = place.getvalue()
    (tmp_path / f"log.{ending}").write_bytes(PACKINGS[f"csv.{ending}"](data))
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])

    assert counted(tmp_path / f"log.{ending}") == COUNTS
    with pytest.raises(DatasetError, match="cut short or damaged"):
        counted(tmp_path / "cut.parquet")


def test_a_workbook_is_refused_with_the_remedy(tmp_path):
    """An Excel file is no log, and what to do is said."""
    with zipfile.ZipFile(tmp_path / "log.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")

    with pytest.raises(DatasetError, match="save the sheet as CSV"):
        counted(tmp_path / "log.xlsx")


def test_a_log_without_rows_is_told(tmp_path):
    """A header and nothing below it, and a file of no bytes."""
    (tmp_path / "log.csv").write_bytes(b"ad,device,clicked\n")
    with pytest.raises(DatasetError, match="no event left to count in 0 rows"):
        counted(tmp_path / "log.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(DatasetError, match="is empty"):
        counted(tmp_path / "empty.csv")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("semicolon.csv", PLAIN.replace(b",", b";"), "with the separator ';'"),
        ("tab.tsv", PLAIN.replace(b",", b"\t"), "with the separator '\\t'"),
        ("pipe.txt", PLAIN.replace(b",", b"|"), "with the separator '|'"),
        ("sep.csv", b"sep=;\r\n" + PLAIN.replace(b",", b";"), "with the separator ';'"),
        ("utf16.csv", PLAIN.decode().encode("utf-16"), "as utf-16"),
        ("excel.csv", PLAIN.decode().replace(",", "\t").encode("utf-16"), "as utf-16, with the"),
        ("mark.csv", b"\xef\xbb\xbf" + PLAIN, None),
        ("crlf.csv", PLAIN.replace(b"\n", b"\r\n"), None),
        ("mac.csv", PLAIN.replace(b"\n", b"\r"), None),
        ("report.csv", b"My report\n1 May - 2 May\n\n" + PLAIN, "3 lines above the header"),
        (
            "quoted.csv",
            b'"ad","device","clicked"\n"a","phone","1"\n"a","phone","0"\nb,"desk",1',
            None,
        ),
        ("open.csv", PLAIN.removesuffix(b"\n"), None),
    ],
)
def test_separators_and_encodings_are_found_out_and_said(name, data, said, tmp_path):
    """What a log is written like is said once, and the counts are those of the plain file."""
    (tmp_path / name).write_bytes(data)
    notes: list[str] = []

    assert counted(tmp_path / name, notes=notes) == COUNTS
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]
    assert Aggregation.of(str(tmp_path / f"out-{name}")).found_out == notes


def test_what_is_alike_in_many_files_is_said_once(tmp_path):
    """Two files with semicolons and one with commas give one note."""
    (tmp_path / "log").mkdir()
    for name in ("1.csv", "2.csv"):
        (tmp_path / "log" / name).write_bytes(PLAIN.replace(b",", b";"))
    (tmp_path / "log/3.csv").write_bytes(PLAIN)
    notes: list[str] = []

    assert counted(tmp_path / "log", notes=notes) == [["a", "phone", 6, 3], ["b", "desk", 3, 3]]
    (note,) = notes
    assert note.endswith("1.csv is read with the separator ';' (so are 1 other files)")


def test_windows_1252_is_read_and_other_encodings_are_named(tmp_path, monkeypatch):
    """German letters tell, also where they come late; Polish ones do not, until the spec says."""
    monkeypatch.setattr(texts, "_BYTES_AT_ONCE", 64)
    late = b"a,phone,1\n" * 40 + "a,Schönes Telefon,1\n".encode("cp1252")
    (tmp_path / "german.csv").write_bytes(PLAIN + late)
    notes: list[str] = []
    assert counted(tmp_path / "german.csv", notes=notes)[0] == ["a", "Schönes Telefon", 1, 1]
    assert notes == [f"{tmp_path / 'german.csv'} is read as cp1252"]

    polish = PLAIN + "a,źdźbło,1\n".encode("cp1250")
    (tmp_path / "polish.csv").write_bytes(polish)
    with pytest.raises(DatasetError, match=r"line 5 .* encoding"):
        counted(tmp_path / "polish.csv")
    named = spec(csv=CsvFormat(encoding="cp1250"))
    assert ["a", "źdźbło", 1, 1] in counted(tmp_path / "polish.csv", named)


def test_two_encodings_in_one_log_are_told(tmp_path, monkeypatch):
    """UTF-8 above and broken bytes below: the row is a reject, for its text is not known."""
    monkeypatch.setattr(texts, "_BYTES_AT_ONCE", 64)
    data = PLAIN + "a,Fön,1\n".encode() * 20 + "a,Fön,1\n".encode("cp1252") + b"b,desk,0\n"
    (tmp_path / "log.csv").write_bytes(data)

    found = counted(tmp_path / "log.csv", spec(max_rejected=0.1))

    assert found == [["a", "Fön", 20, 20], ["a", "phone", 2, 1], ["b", "desk", 2, 1]]
    assert rejects(tmp_path / "log.csv") == [(25, "b'F\\xf6n' is no text in its encoding")]


@pytest.mark.parametrize("size", [48, 1 << 20])
def test_rows_that_do_not_fit_are_rejects_and_an_empty_last_field_is_fine(
    size, tmp_path, monkeypatch
):
    """Both counts are told by line, below fields of several lines too."""
    monkeypatch.setattr(texts, "_BYTES_AT_ONCE", size)
    (tmp_path / "log.csv").write_bytes(
        b"ad,note,device,clicked\n"
        b"a,x,phone,1\n"  # 2
        b'a,"two\nlines",phone,0,""\n'  # 3 and 4
        b"b,x,desk,1,7\n"  # 5
        b'b,5" screen,desk,1\n'  # 6
        b"b,desk,1\n"  # 7
        b'b,"a ""b"", c",desk,2\n'  # 8
        b",,,\n"  # 9
    )

    found = counted(tmp_path / "log.csv", spec(max_rejected=0.8))

    assert found == COUNTS
    assert rejects(tmp_path / "log.csv") == [
        (5, "has 5 columns, not 4"),
        (7, "has 3 columns, not 4"),
        (8, "clicked must be 0 or 1 (is '2')"),
        (9, "ad is empty"),
    ]


@pytest.mark.parametrize("size", [48, 1 << 20])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b'a,"say \\"hi\\" now",phone,1\n', r'line 6: .* written as \\"'),
        (b'a,"say \\"",phone,1\nb,"go \\"",desk,0\n', r'line 6: .* written as \\"'),
        (b'a,"Best ever,phone,1\nb,x,desk,0\nb,y",desk,1\n', r"line 6 .*holds rows \(b,x,desk,0"),
        (b'a,"Best,phone,1\nb,y",x,desk,1\n', r"line 6 has 5 columns, not 4, and goes on over 2"),
        (b'a,"5 inch,phone,1\nb,"7 inch,desk,0\n', "line 6: "),
        (b'a,"never closed,phone,1\nb,x,desk,0\n', "line 6: "),
        (b'a,"x" y,phone,1\n', "line 6: "),
    ],
)
def test_quotes_that_swallow_or_split_rows_are_one_error(
    size, rows, message, tmp_path, monkeypatch
):
    """In a column that nobody declared, too; the line is the one that the quote opens in."""
    monkeypatch.setattr(texts, "_BYTES_AT_ONCE", size)
    good = b'a,"two\nlines",phone,1\na,x,phone,1\na,"",phone,1\n'
    (tmp_path / "log.csv").write_bytes(b"ad,note,device,clicked\n" + good + rows + good * 3)

    with pytest.raises(DatasetError, match=message):
        counted(tmp_path / "log.csv")


def test_a_quote_that_nothing_closes(tmp_path, monkeypatch):
    """It is told by the line that it opens in, at the end or once a field would be enormous."""
    monkeypatch.setattr(texts, "_BYTES_AT_ONCE", 64)
    (tmp_path / "log.csv").write_bytes(b'ad,device,clicked\na,"phone,1\n' + b"a,phone,1\n" * 100)

    with pytest.raises(DatasetError, match=r"line 2: unexpected end of data"):
        counted(tmp_path / "log.csv")
    monkeypatch.setattr(csv_pieces, "_LARGEST_FIELD", 200)
    with pytest.raises(DatasetError, match=r"line 2: field larger than .* each be closed"):
        counted(tmp_path / "log.csv")


def test_concatenated_logs(tmp_path):
    """The header again is a reject; with columns in another order, nothing below it can be used."""
    (tmp_path / "log.csv").write_bytes(PLAIN + b"\xef\xbb\xbf" + PLAIN)
    doubled = counted(tmp_path / "log.csv", spec(max_rejected=0.5))
    assert doubled == [["a", "phone", 4, 2], ["b", "desk", 2, 2]]
    assert rejects(tmp_path / "log.csv") == [(5, "is the header again")]

    (tmp_path / "other.csv").write_bytes(PLAIN + b"device,ad,clicked\nphone,a,1\n")
    with pytest.raises(DatasetError, match=r"line 5 looks like another header"):
        counted(tmp_path / "other.csv", spec(max_rejected=1.0))


def test_a_total_row_is_never_counted(tmp_path):
    """The sum of a column of 0 and 1 is told with its value."""
    (tmp_path / "log.csv").write_bytes(PLAIN + b"Total,,2\n")

    assert counted(tmp_path / "log.csv", spec(max_rejected=0.5)) == COUNTS
    assert rejects(tmp_path / "log.csv") == [(5, "clicked must be 0 or 1 (is '2')")]


@pytest.mark.parametrize("twice", ["note", "device"])
def test_a_header_that_names_a_column_twice(twice, tmp_path):
    """Declared or not, in CSV and in Parquet, it is an error."""
    names = ["ad", "device", "clicked", twice, "note"]
    (tmp_path / "log.csv").write_text(",".join(names) + "\na,phone,1,x,y\n")
    table = pa.table([pa.array(["1"])] * 5, names=names)
    pq.write_table(table, tmp_path / "log.parquet")

    for name in ("log.csv", "log.parquet"):
        with pytest.raises(DatasetError, match=f"{twice!r} more than once"):
            counted(tmp_path / name)


def test_types_of_undeclared_columns_do_not_matter(tmp_path, monkeypatch):
    """A column that holds numbers in one block and texts in the next is nobody's business."""
    monkeypatch.setattr(texts, "_BYTES_AT_ONCE", 64)
    rows = b"a,1,phone,1\n" * 20 + b"a,x,phone,0\n" * 20
    (tmp_path / "log.csv").write_bytes(b"ad,note,device,clicked\n" + rows)

    assert counted(tmp_path / "log.csv") == [["a", "phone", 40, 20]]


def test_a_spec_says_how_files_are_written(tmp_path):
    """Separator, encoding and decimal sign of the log and of the creatives; notes go to people."""
    log = "ad^device^seconds^clicked\n1^Łódź^1.500,5^1\n1^Łódź^2,5^0\n"
    (tmp_path / "log.csv").write_bytes(log.encode("cp1250"))
    (tmp_path / "creatives.csv").write_text("id;price;slogan\n1;1.234;Hi\n", encoding="utf-16")
    (tmp_path / "log.yaml").write_text(
        "{name: x, content: ad, clicked: clicked, categorical: [device], min_impressions: 1,\n"
        "csv: {delimiter: ^, encoding: cp1250, decimal: ','},\n"
        "drop: [{column: seconds, above: 1000}],\n"
        "creatives: {table: creatives.csv, key: id, numeric: [price], text: [slogan],"
        " csv: {decimal: ','}}}\n"
    )
    words = ["aggregate", str(tmp_path / "log.csv"), str(tmp_path / "out")]
    result = CliRunner().invoke(command, [*words, "--spec", str(tmp_path / "log.yaml"), "--json"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["dropped"] == {"seconds > 1000.0": 1}
    assert "creatives.csv is read as utf-16" in result.stderr
    (row,) = Dataset.open(tmp_path / "out").contents.to_dict("records")
    assert (row["device"], row["price"], row["impressions"]) == ("Łódź", 1234, 1)

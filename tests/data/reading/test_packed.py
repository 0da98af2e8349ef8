"""Compressed tables, whole and cut short."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pyarrow as pa
import pytest

from ni_platform.data.reading.table import read_table
from ni_platform.errors import DatasetError

ROWS = "".join(f"a{i},{i * 7919 % 10007}\n" for i in range(5000))
CSV = f"id,shown\n{ROWS}".encode()


def zipped(**members):
    """A zip archive of files by name."""
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return place.getvalue()


def tarred(mode, **members):
    """A tar archive of files by name."""
    place = io.BytesIO()
    with tarfile.open(fileobj=place, mode=mode) as archive:
        for name, content in members.items():
            item = tarfile.TarInfo(name.replace("__", "."))
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    return place.getvalue()


PACKED = {
    "t.csv.gz": gzip.compress(CSV, mtime=0),
    "t.csv.bz2": bz2.compress(CSV),
    "t.csv.xz": lzma.compress(CSV),
    "t.csv.zst": pa.Codec("zstd").compress(CSV, asbytes=True),
    "t.csv.zip": zipped(t__csv=CSV),
    "t.csv.tar": tarred("w", t__csv=CSV),
    "t.csv.tar.gz": tarred("w:gz", t__csv=CSV),
    "t.tgz": tarred("w:gz", t__csv=CSV),
    "misnamed.csv": gzip.compress(CSV, mtime=0),
}


def read(folder, name, content):
    """Ids and counts of a table with this content."""
    (folder / name).write_bytes(content)
    table = read_table(folder / name, {"id": "label", "shown": "count"})
    return table["id"].tolist(), table["shown"].tolist()


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_table_is_read_whole(tmp_path, name):
    """Every row comes out, whatever the file is packed with."""
    ids, counts = read(tmp_path, name, PACKED[name])
    assert ids == [f"a{i}" for i in range(5000)]
    assert counts == [i * 7919 % 10007 for i in range(5000)]


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_one_that_is_cut_short_is_told(tmp_path, name, share):
    """A part of a file is never read as a whole one."""
    content = PACKED[name]
    cut = content[: int(len(CSV if name.endswith(".tar") else content) * share)]
    with pytest.raises(DatasetError, match=r"cut short|row has|damaged"):
        read(tmp_path, name, cut)


def test_an_archive_holds_one_table(tmp_path):
    """Several files are named; those that a Mac adds do not count."""
    with pytest.raises(DatasetError, match=r"must hold one table, .* 2 files \['a.csv', 'b.csv'\]"):
        read(tmp_path, "two.zip", zipped(a__csv=CSV, b__csv=CSV))
    with_mac = zipped(**{"a__csv": CSV, "__MACOSX/._a__csv": b"x"})
    assert len(read(tmp_path, "mac.zip", with_mac)[0]) == 5000


def test_a_workbook_is_refused_with_the_remedy(tmp_path):
    """Excel files, old and new, under any name."""
    new = zipped(**{"[Content_Types]__xml": b"<x/>", "xl/workbook__xml": b"<x/>"})
    for content in (new, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)):
        for name in ("t.xlsx", "t.csv"):
            with pytest.raises(DatasetError, match=r"workbook .*save the sheet as CSV UTF-8"):
                read(tmp_path, name, content)


def test_an_archive_that_lost_bytes_in_its_middle_is_damaged(tmp_path):
    """Its directory then points to before its start, which the system calls an invalid argument."""
    content = PACKED["t.csv.zip"]
    with pytest.raises(DatasetError, match="cut short or damaged"):
        read(tmp_path, "t.csv.zip", content[:100] + content[200:])


def test_a_small_zstd_file_is_read_whatever_is_collected_meanwhile(tmp_path):
    """Going back to the start of the stream must not close the file beneath it."""
    content = pa.Codec("zstd").compress(b"id,shown\na,1\n", asbytes=True)
    assert read(tmp_path, "t.csv.zst", content) == (["a"], [1])


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (28, b"\0\0"),  # the length of the name in the directory
        (10, b"\x63\0"),  # the way of compression
        (8, b"\0\x08"),  # the name is said to be UTF-8, and is none
    ],
    ids=["without a name", "unknown compression", "no UTF-8"],
)
def test_a_zip_whose_directory_is_damaged_is_one_error(tmp_path, at, value):
    """Whatever Python's zipfile raises for it."""
    content = bytearray(zipped(té__csv=CSV))
    directory = content.rindex(b"PK\x01\x02")
    content[directory + at : directory + at + 2] = value
    if at == 8:
        content[directory + 46 + 1] = 0xFF
    with pytest.raises(DatasetError, match="cut short or damaged"):
        read(tmp_path, "t.zip", bytes(content))

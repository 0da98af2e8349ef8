"""Texts and pictures that an export lacks: from a second file, a folder by id, or URLs."""

from __future__ import annotations

import io
from ipaddress import IPv4Address
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from ni_platform.data.dataset import Dataset
from ni_platform.data.importers.creatives import Creatives
from ni_platform.data.importers.download import DownloadLimits
from ni_platform.data.importers.exports.creatives import CreativeSource
from ni_platform.data.importers.exports.importing import ExportImport, import_export
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.errors import ConfigError, DatasetError
from tests import export_files
from tests.data.importers.web_server import serving

_ADS = (
    "Reporting starts,Reporting ends,Ad name,Ad set name,Ad ID,Impressions,Link clicks\n"
    "2026-05-01,2026-05-01,a,s,11,100,5\n2026-05-01,2026-05-01,b,s,12,90,9\n"
    "2026-05-01,2026-05-01,c,s,13,80,8\n"
)


def _import(
    tmp_path: Path, source: CreativeSource | None, rows: str = _ADS, field: str | None = None
) -> ExportImport:
    path = tmp_path / f"ads{len(list(tmp_path.glob('ads*')))}.csv"
    path.write_text(rows)
    wishes = Wishes(creative_field=field)
    return import_export([path], tmp_path / "out", creatives=source, wishes=wishes)


def _table(tmp_path: Path, rows: str) -> CreativeSource:
    path = tmp_path / "creatives.csv"
    path.write_text("ad,slogan,mood\n" + rows)
    creatives = Creatives(table=str(path), key="ad", text=("slogan",), categorical=("mood",))
    return CreativeSource(creatives=creatives)


def _picture(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(data, "PNG")
    return data.getvalue()


def test_texts_from_a_second_file(tmp_path: Path) -> None:
    """Joined by the ad's name; what found no partner is listed on both sides."""
    result = _import(
        tmp_path, _table(tmp_path, "a,Buy now,loud\nb,Take time,calm\nz,Unused,calm\n")
    )
    contents, columns = result.dataset.contents, result.dataset.manifest.columns
    assert contents[["content_id", "slogan", "mood", "clicks"]].to_numpy().tolist() == [
        ["11", "Buy now", "loud", 5],
        ["12", "Take time", "calm", 9],
    ]
    assert (columns.text, columns.categorical) == (("slogan",), ("mood",))
    assert result.entry["set_aside"] == {"it has no text or picture": 1}
    unmatched = pd.read_csv(tmp_path / "out" / "unmatched.csv")
    assert unmatched[["what", "id"]].to_numpy().tolist() == [
        ["content without a creative", "13"],
        ["creative without a content", "z"],
    ]


def test_another_field_may_name_the_creative(tmp_path: Path) -> None:
    """The id in place of the name, which the export must have."""
    source = _table(tmp_path, "11,Buy now,loud\n12,Take time,calm\n13,Go,loud\n")
    with pytest.raises(DatasetError, match="such as 'a', but no content has a row of"):
        _import(tmp_path, source)
    with pytest.raises(ConfigError, match=r"--creative-field takes .*'ad_id'.* but got 'colour'"):
        _import(tmp_path, source, field="colour")
    result = _import(tmp_path, source, field="ad_id")
    assert result.dataset.contents["slogan"].tolist() == ["Buy now", "Take time", "Go"]


def test_pictures_by_id_and_what_a_later_import_keeps(tmp_path: Path) -> None:
    """A second export adds an ad with its picture; those that were there keep theirs."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in (("a", "red"), ("b", "blue"), ("c", "green")):
        (folder / f"{name}.png").write_bytes(_picture(colour))
    source = CreativeSource(creatives=Creatives(images=str(folder)))
    first = _import(tmp_path, source).dataset
    assert first.image_uri is not None
    assert [Path(str(uri)).read_bytes() for uri in first.image_uri] == [
        _picture(colour) for colour in ("red", "blue", "green")
    ]
    for path in folder.iterdir():
        path.unlink()
    (folder / "d.png").write_bytes(_picture("black"))
    header = _ADS.splitlines()[0]
    rows = f"{header}\n2026-05-02,2026-05-02,d,s,14,70,7\n2026-05-02,2026-05-02,a,s,11,10,1\n"
    _import(tmp_path, source, rows)
    second = Dataset.open(tmp_path / "out")
    assert second.image_uri is not None
    found = dict(zip(second.content_id, second.image_uri))
    assert {name: Path(str(uri)).read_bytes() for name, uri in found.items()} == {
        "11": _picture("red"),
        "12": _picture("blue"),
        "13": _picture("green"),
        "14": _picture("black"),
    }
    rows = f"{header}\n2026-05-03,2026-05-03,a,s,11,10,1\n"
    third = _import(tmp_path, None, rows).dataset
    assert third.contents["clicks"].tolist() == [7, 9, 8, 7]
    assert third.image_digests is not None
    assert third.image_digests.nunique() == 4


def test_pictures_at_urls_of_the_export(tmp_path: Path) -> None:
    """Fetched into the dataset, never from a private address unless it was allowed."""
    [path] = export_files.google(tmp_path, tests=1)
    with serving() as web:
        web.answers = {"/red.png": _picture("red"), "/blue.png": _picture("blue")}
        lines = path.read_text().splitlines()
        for name, shown in (("red", 300), ("blue", 290)):
            lines.append(
                f"Search,Group T0,MARKETING_IMAGE,GOOD, --,{web.url(f'/{name}.png')},{shown},9"
            )
        path.write_text("\n".join(lines) + "\n")
        with pytest.raises(DatasetError, match="pictures"):
            import_export([path], tmp_path / "out")
        assert web.asked == []
        limits = DownloadLimits(allowed=lambda address: address == IPv4Address("127.0.0.1"))
        result = import_export([path], tmp_path / "out", creatives=CreativeSource(limits=limits))
        assert sorted(web.asked) == ["/blue.png", "/red.png"]
    dataset = result.dataset
    assert dataset.image_uri is not None
    by_shown = dict(zip(dataset.impressions, dataset.image_uri))
    assert Path(str(by_shown[300])).read_bytes() == _picture("red")
    assert by_shown[2014] is None
    assert dataset.contents["text"].notna().sum() == 2
    assert not list(tmp_path.glob("*.pictures"))


def test_pictures_may_be_left_where_they_are(tmp_path: Path) -> None:
    """Without a network the texts are a dataset, too; contents without any are listed."""
    [path] = export_files.google(tmp_path, tests=1)
    row = "Search,Group T0,MARKETING_IMAGE,GOOD, --,https://example.com/x.png,300,9\n"
    path.write_text(path.read_text() + row)
    result = import_export([path], tmp_path / "out", creatives=CreativeSource(fetch=False))
    assert result.dataset.manifest.columns.image is None
    assert result.entry["set_aside"] == {"it has no text or picture": 1}


def test_texts_of_two_files_stand_side_by_side(tmp_path: Path) -> None:
    """Its own subject stays beside what a table of creatives adds."""
    files = export_files.klaviyo(tmp_path)
    table = tmp_path / "previews.csv"
    table.write_text("variant,preview\nVariation A,First look\nVariation B,Second look\n")
    creatives = Creatives(table=str(table), key="variant", text=("preview",))
    source = CreativeSource(creatives=creatives)
    wishes = Wishes(success="clicks", creative_field="variant")
    result = import_export(files, tmp_path / "out", wishes=wishes, creatives=source)
    assert result.dataset.manifest.columns.text == ("subject", "preview")
    assert result.dataset.contents["preview"].tolist() == ["First look", "Second look"] * 2

import hashlib
import io
import ipaddress
import json

import boto3
import pandas as pd
import pytest
from PIL import Image

from ni_platform.data.click_log import LogSpec, aggregate
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.importers.creatives import Creatives, join_creatives
from ni_platform.data.importers.download import DownloadLimits
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import ConfigError, DatasetError
from tests.data.importers.web_server import serving

LOCAL = DownloadLimits(allowed=lambda address: address == ipaddress.ip_address("127.0.0.1"))


def png(colour):
    """Return a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


RED, GREEN, BLUE = png("red"), png("green"), png("blue")


def contents(*ads):
    """Return a content for each creative's key, with 10, 20, ... impressions."""
    return pd.DataFrame(
        {
            "content": [f"c{number}" for number in range(len(ads))],
            "ad": pd.Series(ads, dtype="str"),
            "shown": [10 * (number + 1) for number in range(len(ads))],
            "clicked": 1,
        }
    )


def joined(table, creatives, folder, **options):
    """Join below `folder`, which also keeps what is fetched."""
    return join_creatives(
        table, "ad", creatives, folder / "cache", content_id="content", impressions="shown",
        folder=folder, limits=LOCAL, **options,
    )  # fmt: skip


def table_of(folder, rows, **roles):
    """Write a table of creatives; return where they are."""
    (folder / "creatives.csv").write_text(rows)
    return Creatives(table="creatives.csv", key="id", **roles)


ABOUT = "id,title,colour,price\n7,Free tea,red,1.5\n8,Hot soup,blue,2\n9,Cold pie,red,\n"


def test_contents_get_texts_and_numbers_of_their_creative(tmp_path):
    """Two contents share one; one without a creative and one without a key are left out, listed."""
    about = table_of(tmp_path, ABOUT, text=("title",), categorical=("colour",), numeric=("price",))
    found = joined(contents("8", "7", "5", None, "8"), about, tmp_path)

    assert found.contents["content"].tolist() == ["c0", "c1", "c4"]
    assert found.contents["title"].tolist() == ["Hot soup", "Free tea", "Hot soup"]
    assert found.contents["colour"].tolist() == ["blue", "red", "blue"]
    assert found.contents["price"].tolist() == [2.0, 1.5, 2.0]
    assert found.without_creative.to_numpy().tolist() == [["c2", 30], ["c3", 40]]
    assert found.unused == ["9"]
    assert (found.images, found.pictures, found.without_picture) == (None, {}, [])
    assert found.unmatched().fillna("").to_numpy().tolist() == [
        ["content without a creative", "c2", 30, ""],
        ["content without a creative", "c3", 40, ""],
        ["creative without a content", "9", "", ""],
    ]


def test_contents_without_a_creative_may_stay(tmp_path):
    """They have nulls, keep their place, and are listed all the same."""
    about = table_of(tmp_path, ABOUT, text=("title",), numeric=("price",))
    found = joined(contents("8", "5", None, "7"), about, tmp_path, keep_unmatched=True)
    assert found.contents["content"].tolist() == ["c0", "c1", "c2", "c3"]
    assert found.contents["title"].isna().tolist() == [False, True, True, False]
    assert found.contents["price"].isna().tolist() == [False, True, True, False]
    assert found.without_creative["content"].tolist() == ["c1", "c2"]


def test_a_key_that_repeats_is_an_error_with_its_lines(tmp_path):
    """Also where it is written as 7 and 7.0; the header is line 1."""
    about = table_of(tmp_path, "id,title\n7,a\n8,b\n7.0,c\n", text=("title",))
    with pytest.raises(DatasetError, match=r"'7' has 2 \(.*csv line 2, .*csv line 4\): keep one"):
        joined(contents("7"), about, tmp_path)


def test_rows_without_a_key_are_said(tmp_path):
    """They are creatives of no content."""
    said = []
    about = table_of(tmp_path, "id,title\n7,a\n,b\n", text=("title",))
    joined(contents("7"), about, tmp_path, say=said.append)
    assert said == [f"{tmp_path / 'creatives.csv'}: 1 rows have no 'id', and are left out"]


@pytest.mark.parametrize(
    ("keys", "roles", "message"),
    [
        (
            ("1", "2"),
            {"text": ("title",)},
            "such as '1', but no content has a row of creatives.csv",
        ),
        (("7",), {"text": ("titel",)}, "no column 'titel'.*did you mean 'title'"),
        (("7",), {"text": ("shown",)}, r"must be new, but the contents have \['shown'\]"),
    ],
)
def test_tables_that_do_not_fit_are_told(keys, roles, message, tmp_path):
    """No partner at all, an unknown column, a column that contents have."""
    about = table_of(tmp_path, ABOUT, **roles)
    with pytest.raises(DatasetError, match=message):
        joined(contents(*keys), about, tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "there is neither"),
        ({"table": "a.csv"}, "name both or neither"),
        ({"images": "pictures", "text": ("title",)}, "no table for the columns"),
        ({"table": "a.csv", "key": "id", "text": ("id",)}, r"\['id'\] have several"),
    ],
)
def test_where_creatives_are_must_be_whole(values, message):
    """A table with its key, or a folder."""
    with pytest.raises(ConfigError, match=message):
        Creatives(**values)


def test_pictures_by_id_in_a_folder(tmp_path):
    """In any ending and spelling; contents without one are left out and listed, as are files."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("7.png", "CAF\u00c9.JPG", "1.5.webp", "old.gif", "7.txt"):
        (folder / name).write_bytes(RED)
    # The other way to encode the accent, in the other case.
    found = joined(contents("7", "cafe\u0301", "1.5", "6"), Creatives(images="pictures"), tmp_path)

    assert found.contents["image"].tolist() == ["7.png", "CAF\u00c9.JPG", "1.5.webp"]
    assert found.pictures == {name: folder / name for name in found.contents["image"]}
    assert found.without_creative.to_numpy().tolist() == [["c3", 40]]
    assert found.unused == ["old.gif"]
    assert found.images == "images"


def test_an_id_with_two_pictures_is_an_error(tmp_path):
    """Which of both was shown is not known."""
    (tmp_path / "pictures").mkdir()
    for name in ("7.png", "7.jpg"):
        (tmp_path / "pictures" / name).write_bytes(RED)
    with pytest.raises(DatasetError, match=r"'7' may be one of \['7.jpg', '7.png'\]"):
        joined(contents("7"), Creatives(images="pictures"), tmp_path)


def test_a_table_and_a_folder_by_id(tmp_path):
    """A creative without a picture stays, and its content is listed."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/7.png").write_bytes(RED)
    about = table_of(tmp_path, ABOUT, text=("title",), images="pictures")
    found = joined(contents("7", "8"), about, tmp_path)
    assert found.contents["image"].tolist() == ["7.png", None]
    assert [(item.content_id, item.place) for item in found.without_picture] == [("c1", "8")]
    assert found.without_creative.empty


def test_urls_become_pictures_of_the_dataset(tmp_path):
    """Google's column of URLs: each is fetched once, and the dataset holds it by its hash."""
    with serving() as web:
        web.answers |= {"/red": RED, "/green": GREEN}
        column = "asset.image_asset.full_size.url"
        rows = f"7,{web.url('/red')}\n8,{web.url('/green')}\n9,{web.url('/red')}\n6,\n"
        about = table_of(tmp_path, f"id,{column}\n{rows}", image=column)
        found = joined(contents("7", "8", "9", "6"), about, tmp_path)
        assert sorted(web.asked) == ["/green", "/red"]
        joined(contents("7", "8", "9", "6"), about, tmp_path)
        assert len(web.asked) == 2

    names = [f"{hashlib.sha256(data).hexdigest()}.png" for data in (RED, GREEN, RED)]
    assert found.contents[column].tolist() == [*names, None]
    manifest = Manifest(
        name="ads",
        images=found.images,
        columns=Columns(content_id="content", image=column),
        target=Target(impressions="shown", clicks="clicked"),
    )
    write_dataset(tmp_path / "data", manifest, found.contents, found.pictures)
    dataset = Dataset.open(tmp_path / "data")
    assert (tmp_path / "data/images" / names[1]).read_bytes() == GREEN
    assert dataset.image_digests.nunique() == 2
    assert len(list((tmp_path / "data/images").iterdir())) == 2


def test_urls_that_fail_are_listed_up_to_a_share(tmp_path):
    """One of three contents is within a third, not within a quarter; its cell is empty."""
    with serving() as web:
        web.answers |= {"/red": RED, "/green": GREEN}
        rows = "".join(
            f"{key},{web.url(path)}\n" for key, path in zip("789", ("/red", "/no", "/green"))
        )
        about = table_of(tmp_path, f"id,url\n{rows}", image="url")
        three = contents("7", "8", "9")
        found = joined(three, about, tmp_path, max_missing=0.34)
        assert found.contents["url"].isna().tolist() == [False, True, False]
        (problem,) = found.without_picture
        assert (problem.content_id, problem.place) == ("c1", web.url("/no"))
        assert "answers 404" in problem.reason
        with pytest.raises(DatasetError, match=r"25.00% .* but 1 of 3 are, such as c1 \(.*/no\)"):
            joined(three, about, tmp_path, max_missing=0.25)
        joined(three, about, tmp_path, max_missing=1)
        with pytest.raises(DatasetError, match="1 of 1"):
            joined(contents("8"), about, tmp_path, max_missing=1)


def test_this_machine_is_refused_unless_allowed(tmp_path):
    """The default takes no picture from it."""
    with serving() as web:
        web.answers["/red"] = RED
        about = table_of(tmp_path, f"id,url\n7,{web.url('/red')}\n", image="url")
        with pytest.raises(DatasetError, match=r"public addresses only, but 127\.0\.0\.1"):
            join_creatives(
                contents("7"), "ad", about, tmp_path / "cache", content_id="content",
                impressions="shown", folder=tmp_path,
            )  # fmt: skip
        assert web.asked == []


def test_of_several_pictures_the_first_is_taken_and_said(tmp_path):
    """TikTok's IMAGE_IDS, as lists, JSON, or ids with commas; a name may hold a comma."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("007.png", "b.png", "c.png", "x, y.png"):
        (folder / name).write_bytes(RED)
    cells = ['"007,b"', '"[""b"", ""c""]"', "\"['c']\"", '"x, y.png"', "[]", "[]", "b|c"]
    rows = "".join(f"{key},{cell}\n" for key, cell in enumerate(cells))
    about = table_of(tmp_path, f"id,IMAGE_IDS\n{rows}", image="IMAGE_IDS", images="pictures")
    said = []
    found = joined(contents(*"0123456"), about, tmp_path, say=said.append)
    first = ["007.png", "b.png", "c.png", "x, y.png", None, None, "b.png"]
    assert found.contents["IMAGE_IDS"].tolist() == first
    assert said == ["3 cells of the image column hold several pictures: the first is taken"]


def test_several_urls_in_a_cell(tmp_path):
    """A comma belongs to a URL unless another URL follows; JSON escapes slashes."""
    with serving() as web:
        web.answers |= {"/a,b": RED, "/green": GREEN}
        escaped = json.dumps([web.url("/green"), web.url("/no")]).replace("/", r"\/")
        two = f"{web.url('/a,b')}, {web.url('/no')}"
        table = pd.DataFrame({"id": ["7", "8"], "url": [two, escaped]})
        table.to_csv(tmp_path / "creatives.csv", index=False)
        about = Creatives(table="creatives.csv", key="id", image="url")
        found = joined(contents("7", "8"), about, tmp_path)
        assert sorted(web.asked) == ["/a,b", "/green"]
    assert sorted(file.read_bytes() for file in found.pictures.values()) == sorted([RED, GREEN])


def test_pictures_below_a_prefix_of_s3_stay_there(bucket, tmp_path):
    """By id, and by a column of paths; a URL among these is an error."""
    client = boto3.client("s3")
    for name in ("7.png", "sub/8.PNG"):
        client.put_object(Bucket=bucket[5:], Key=f"pictures/{name}", Body=RED)
    client.put_object(Bucket=bucket[5:], Key="creatives.csv", Body=b"id,file\n7,./7.png\n")
    by_id = joined(contents("7", "sub/8", "9"), Creatives(images=f"{bucket}/pictures"), tmp_path)
    assert by_id.contents["image"].tolist() == ["7.png", "sub/8.PNG"]
    assert (by_id.images, by_id.pictures) == (f"{bucket}/pictures", {})

    about = Creatives(
        table=f"{bucket}/creatives.csv", key="id", image="file", images=f"{bucket}/pictures"
    )
    found = joined(contents("7"), about, tmp_path)
    assert found.contents["file"].tolist() == ["7.png"]
    assert (found.images, found.pictures) == (f"{bucket}/pictures", {})

    client.put_object(Bucket=bucket[5:], Key="creatives.csv", Body=b"id,file\n7,http://a.test/b\n")
    with pytest.raises(DatasetError, match=r"paths below it, but .http://a\.test/b. is none"):
        joined(contents("7"), about, tmp_path)


def test_objects_of_s3_are_fetched_where_no_folder_is_named(bucket, tmp_path):
    """The cells are URIs; the dataset gets the pictures."""
    boto3.client("s3").put_object(Bucket=bucket[5:], Key="red.png", Body=RED)
    about = table_of(tmp_path, f"id,uri\n7,{bucket}/red.png\n", image="uri")
    found = joined(contents("7"), about, tmp_path)
    (file,) = found.pictures.values()
    assert file.read_bytes() == RED


def test_click_logs_join_the_same_way(tmp_path):
    """A picture by id and texts; what found no partner is in unmatched.csv, nothing left beside."""
    events = pd.DataFrame({"ad": ["7", "7", "5", "8"], "clicked": [1, 0, 1, 0]})
    events.to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/7.png").write_bytes(RED)
    about = table_of(tmp_path, ABOUT, text=("title",), images="pictures")
    spec = LogSpec(
        name="ads", content="ad", clicked="clicked", min_impressions=1, min_level_impressions=0,
        creatives=about,
    )  # fmt: skip
    dataset, report = aggregate(
        [str(tmp_path / "log.csv")], str(tmp_path / "data"), spec, folder=tmp_path
    )

    assert dataset.contents["title"].tolist() == ["Free tea", "Hot soup"]
    assert dataset.contents["image"].isna().tolist() == [False, True]
    assert (tmp_path / "data/images/7.png").read_bytes() == RED
    assert (report.without_creative, report.impressions_without_creative) == (1, 1)
    listed = pd.read_csv(tmp_path / "data/unmatched.csv", dtype=str)
    assert [
        (what, identifier.split("-")[0]) for what, identifier in zip(listed.what, listed.id)
    ] == [
        ("content without a creative", "5"),
        ("content without its picture", "8"),
        ("creative without a content", "9"),
    ]
    assert not (tmp_path / "data.pictures").exists()

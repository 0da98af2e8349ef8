import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from ni_platform.data.importers.table import import_table
from ni_platform.errors import DatasetError

COUNTS = {"impressions": "shown", "clicks": "clicked"}


def test_a_csv_becomes_a_dataset(table, pictures, tmp_path):
    """Ids keep zeros, the country NA stays a country, empty cells are null, pictures come along."""
    dataset = import_table(
        table,
        tmp_path / "data",
        content_id="id",
        image="image",
        images=pictures,
        text=["title"],
        numeric=["price"],
        domain="country",
        ab_test="test",
        assignment="randomised",
        **COUNTS,
    )
    assert dataset.manifest.name == "data"
    assert dataset.assignment.tolist() == ["randomised"] * 3 + ["observational"]
    assert dataset.content_id.tolist() == ["007", "008", "009", "010"]
    assert dataset.domain.tolist() == ["NA", "NA", "DE", "DE"]
    assert dataset.ab_test.tolist() == ["t1", "t1", "t2", None]
    assert dataset.contents["price"].isna().tolist() == [False, True, False, False]
    assert dataset.clicks.tolist() == [10.0, 10.0, 0.0, 10.0]
    assert [None if uri is None else os.path.exists(uri) for uri in dataset.image_uri] == [
        True,
        True,
        True,
        None,
    ]


def test_parquet_and_csv_give_the_same_inputs(table, tmp_path):
    """The same rows from either format have the same text, domain and numbers."""
    parquet = tmp_path / "table.parquet"
    frame = pd.read_csv(table, dtype={"id": str, "country": str}, keep_default_na=False)
    frame["price"] = pd.to_numeric(frame["price"])
    frame.to_parquet(parquet)
    arguments = {"content_id": "id", "text": ["title"], "domain": "country", "numeric": ["price"]}
    first = import_table(table, tmp_path / "1", **arguments, **COUNTS)
    second = import_table(parquet, tmp_path / "2", **arguments, **COUNTS)
    pd.testing.assert_frame_equal(first.inputs(), second.inputs(), check_dtype=False)


def test_paths_may_repeat_the_name_of_the_folder(table, pictures, tmp_path):
    """`pictures/a.png` with the folder `pictures` is `pictures/a.png`, copied as `a.png`."""
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    frame["image"] = [f"pictures/{name}" if name else "" for name in frame["image"]]
    frame.to_csv(table, index=False)
    dataset = import_table(
        table, tmp_path / "data", content_id="id", image="image", images=pictures, **COUNTS
    )
    assert dataset.contents["image"].tolist()[:3] == ["a.png", "b.png", "c.png"]


def edited(table, **columns):
    """Overwrite columns of the table on disk."""
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    frame.assign(**columns).to_csv(table, index=False)


@pytest.mark.parametrize(
    ("columns", "arguments", "words"),
    [
        ({}, {"text": ["titel"]}, ["no column 'titel' (text[0])", "did you mean 'title'?"]),
        ({}, {"content_id": "ID"}, ["no column 'ID' (content_id)", "'shown'"]),
        ({}, {"clicks": "clicks"}, ["no column 'clicks' (clicks)", "did you mean 'clicked'?"]),
        ({"clicked": [10, 10, 51, 11]}, {}, ["2 rows", "009 (clicked=51, shown=50)", "swapped"]),
        ({"clicked": [10, -1, 0, 1]}, {}, ["'clicked'", "0 or more", "008 (clicked=-1"]),
        ({"shown": [100, "", 50, 10]}, {}, ["'shown'", "0 or more", "008"]),
        ({"shown": [100, "many", 50, 10]}, {}, ["line 3", "'shown'", "'many'", "no number"]),
        ({"id": ["1", "1", "2", "3"]}, {}, ["Ids must be unique", "'1'"]),
        ({"id": ["1", "", "2", "3"]}, {}, ["Every content needs an id", "1 rows"]),
        ({"price": ["1", "x", "2", "3"]}, {"numeric": ["price"]}, ["line 3", "'price'", "'x'"]),
        ({}, {"numeric": ["clicked"]}, ["outcome cannot be an input", "'clicked'"]),
        ({"image": ["a.png", "d.png", "", ""]}, {}, ["1 pictures are not in", "008 (image=d.png)"]),
        ({"image": ["../pictures/a.png", "", "", ""]}, {}, ["stay inside", "'../pictures/a.png'"]),
        ({}, {"images": "nowhere"}, ["nowhere does not exist"]),
    ],
)
def test_bad_tables_are_refused_with_rows_and_nothing_is_written(
    table, pictures, tmp_path, columns, arguments, words
):
    """Each fault gives one message with column, sample ids and remedy, and no folder."""
    edited(table, **columns)
    given = {"content_id": "id", "image": "image", "images": pictures, **COUNTS, **arguments}
    out = tmp_path / "out" / "data"
    with pytest.raises(DatasetError) as caught:
        import_table(table, out, **given)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def test_ratings_are_imported_in_place_of_clicks(tmp_path):
    """Counts of ratings per bucket are a target of their own."""
    path = tmp_path / "t.csv"
    pd.DataFrame({"id": ["x"], "n1": [1], "n2": [3]}).to_csv(path, index=False)
    dataset = import_table(path, tmp_path / "data", content_id="id", ratings=["n1", "n2"])
    assert dataset.success_rate.tolist() == [0.75]


def test_a_missing_or_unreadable_table_is_named(tmp_path):
    """A wrong path and a file that is no table give the path and the formats."""
    with pytest.raises(DatasetError, match=r"none\.csv does not exist"):
        import_table(tmp_path / "none.csv", tmp_path / "data", content_id="id", **COUNTS)
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(DatasetError, match=r"bad\.parquet is not a readable Parquet table"):
        import_table(tmp_path / "bad.parquet", tmp_path / "data", content_id="id", **COUNTS)


@pytest.mark.parametrize(
    ("cell", "file"),
    [
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}.png", "cafe\N{COMBINING ACUTE ACCENT}.png"),
        ("Summer Sale.PNG", "summer sale.png"),
        ("50%20off #1?.png", "50%20off #1?.png"),
    ],
)
def test_a_picture_is_found_however_its_name_is_spelled(table, pictures, tmp_path, cell, file):
    """Accents and case may have changed on the way; other characters stand for themselves."""
    (pictures / "a.png").rename(pictures / file)
    edited(table, image=[cell, "b.png", "", ""])
    dataset = import_table(
        table, tmp_path / "data", content_id="id", image="image", images=pictures, **COUNTS
    )
    assert dataset.contents["image"].tolist()[:2] == [file, "b.png"]
    with open(dataset.image_uri[0], "rb") as copied:
        assert copied.read() == (pictures / file).read_bytes()


def test_a_name_that_may_be_two_pictures_is_refused(table, pictures, tmp_path):
    """Files that differ in case only: the one written just so is meant, another spelling none."""
    (pictures / "A.png").write_bytes((pictures / "b.png").read_bytes())
    edited(table, image=["A.png", "a.png", "", ""])
    given = {"content_id": "id", "image": "image", "images": pictures, **COUNTS}
    dataset = import_table(table, tmp_path / "data", **given)
    assert dataset.contents["image"].tolist()[:2] == ["A.png", "a.png"]
    edited(table, image=["a.PNG", "", "", ""])
    with pytest.raises(DatasetError, match=r"'a.PNG' may be one of \['A.png', 'a.png'\]"):
        import_table(table, tmp_path / "other", **given)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", ["has a header and no rows"]),
        ("a,x,10,1\nb,y,20,2\na,x,10,1\n", ["1 values of 'id'", "1 rows are in the table twice"]),
        ("a,x,10,1\na,y,20,2\n", ["'id' repeat", "name the columns that tell"]),
        (
            "a,x,10,1\nb,y,20,2\nc,z,30,4\nTotal, --,60,7\n",
            ["Total (shown=60, clicked=7)", "row of totals"],
        ),
    ],
)
def test_what_is_no_table_of_contents_is_refused(tmp_path, rows, words):
    """No rows, rows that are there twice, and the last line of a report."""
    (tmp_path / "t.csv").write_text(f"id,title,shown,clicked\n{rows}")
    with pytest.raises(DatasetError) as caught:
        import_table(tmp_path / "t.csv", tmp_path / "d", content_id="id", text=["title"], **COUNTS)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "d").exists()


def test_every_picture_stays_with_its_row_after_a_shuffle(tmp_path):
    """A table that pandas wrote after a shuffle carries its index, which decides nothing."""
    names = [f"p{i}.png" for i in range(12)]
    for i, name in enumerate(names):
        Image.new("RGB", (8, 8), (i * 20, 0, 0)).save(tmp_path / name)
    frame = pd.DataFrame(
        {"id": [f"a{i}" for i in range(12)], "image": names, "shown": 100, "clicked": range(12)}
    )
    frame.sample(frac=1.0, random_state=1).to_parquet(tmp_path / "t.parquet")
    dataset = import_table(
        tmp_path / "t.parquet", tmp_path / "d", content_id="id", image="image", **COUNTS
    )
    for name, uri in zip(dataset.content_id, dataset.image_uri):
        assert Image.open(uri).getpixel((0, 0)) == (int(name[1:]) * 20, 0, 0)


def test_several_columns_make_one_id(tmp_path: Path) -> None:
    """Ads are called alike in each campaign; both names together tell them apart."""
    path = tmp_path / "t.csv"
    path.write_text("campaign,ad,title,shown,clicked\nc1,a,x,10,1\nc2,a,y,20,2\n")
    dataset = import_table(
        path, tmp_path / "d", content_id=["campaign", "ad"], text=["title"], **COUNTS
    )
    assert dataset.content_id.tolist() == ["c1 | a", "c2 | a"]
    path.write_text("campaign,ad,title,shown,clicked\nc | a,b,x,10,1\nc,a | b,y,20,2\n")
    with pytest.raises(DatasetError, match="so that different ones look alike"):
        import_table(path, tmp_path / "e", content_id=["campaign", "ad"], text=["title"], **COUNTS)
    path.write_text("campaign,ad,content_id,shown,clicked\nc1,a,7,10,1\n")
    with pytest.raises(DatasetError, match="has a column 'content_id', which campaign, ad would"):
        import_table(path, tmp_path / "f", content_id=["campaign", "ad"], **COUNTS)


def test_how_arms_were_assigned_is_asked_for(table, tmp_path):
    """Never guessed: the error names the option. What is given stands in the manifest."""
    declared = {"content_id": "id", "ab_test": "test", **COUNTS}
    with pytest.raises(DatasetError, match="--assignment"):
        import_table(table, tmp_path / "data", **declared)
    assert not (tmp_path / "data").exists()
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "c", "d"], "test": ["x", "x", "y", "y"], "shown": [30, 10, 9, 9],
            "clicked": 1, "how": ["randomised"] * 2 + ["platform"] * 2, "weight": [3.0, 1.0, 1, 1],
        }
    )  # fmt: skip
    frame.to_csv(tmp_path / "shares.csv", index=False)
    dataset = import_table(
        tmp_path / "shares.csv", tmp_path / "data", **declared, assignment_column="how",
        share="weight", assignment_reason="The agency said so.",
    )  # fmt: skip
    assert dataset.manifest.to_dict()["assignment_reason"] == "The agency said so."
    assert dataset.evidence.tolist() == ["randomised"] * 2 + ["platform"] * 2
    assert dataset.sample_ratio.table["p"].tolist() == [1.0]
    unknown = import_table(
        tmp_path / "shares.csv", tmp_path / "unknown", **declared, assignment="randomised",
        shares="unknown",
    )  # fmt: skip
    assert unknown.sample_ratio.table["outcome"].tolist() == ["shares unknown"] * 2

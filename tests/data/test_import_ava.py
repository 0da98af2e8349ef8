import pandas as pd
import pytest
from PIL import Image

from ni_platform.data.dataset import Dataset
from ni_platform.data.importers.ava import import_ava
from ni_platform.data.splits import SplitConfig, split_dataset
from ni_platform.errors import DatasetError

# Row number, image id, counts of the ratings 1 to 10, two tags, challenge.
LINES = [
    "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396",
    "2 953958 10 0 0 0 0 0 0 0 0 0 15 0 1396",
    "3 954184 0 0 0 0 0 0 0 0 0 4 0 0 1396",
    "4 954113 1 0 0 0 0 0 0 0 0 1 22 22 1397",
]
TAGS = ["1 Abstract", "15 Black and White", "22 Macro"]


@pytest.fixture
def archive(tmp_path):
    """AVA.txt with four images, tags.txt, and a folder with their pictures."""
    (tmp_path / "AVA.txt").write_text("\n".join(LINES) + "\n")
    (tmp_path / "tags.txt").write_text("\n".join(TAGS) + "\n")
    (tmp_path / "pictures").mkdir()
    for number, line in enumerate(LINES):
        name = f"{line.split()[1]}.jpg"
        Image.new("RGB", (8, 8), (60 * number, 9, 9)).save(tmp_path / "pictures" / name)
    return tmp_path


def imported(archive, **options):
    """Import the archive with its tags into the folder `data`."""
    options = {"tags": archive / "tags.txt", **options}
    return import_ava(archive / "AVA.txt", archive / "pictures", archive / "data", **options)


def test_ratings_tags_and_pictures_become_a_dataset(archive):
    """Rates are (mean rating - 1) / 9, tags are a text with their names or null."""
    dataset = imported(archive).dataset
    assert dataset.content_id.tolist() == ["953619", "953958", "954184", "954113"]
    # By hand: the ratings of the first image add up to 699, from 124 people.
    total = 1 * 0 + 2 * 1 + 3 * 5 + 4 * 17 + 5 * 38 + 6 * 36 + 7 * 15 + 8 * 6 + 9 * 5 + 10 * 1
    assert total == 699
    assert dataset.impressions.tolist() == [124.0, 10.0, 4.0, 2.0]
    assert dataset.success_rate.tolist() == pytest.approx([(699 / 124 - 1) / 9, 0.0, 1.0, 0.5])
    tags = dataset.inputs()["tags"]
    assert tags.isna().tolist() == [False, False, True, False]
    assert tags.dropna().tolist() == ["Abstract, Macro", "Black and White", "Macro"]
    assert dataset.image_uri is not None
    assert dataset.image_uri[0].rsplit("/", 2)[1:] == ["images", "953619.jpg"]
    assert dataset.image_digests.nunique() == 4


def test_the_challenge_is_kept_and_not_read(archive):
    """Challenge and tag ids stay in the table; a model reads picture and tags only."""
    dataset = imported(archive).dataset
    assert dataset.contents["challenge"].tolist() == [1396, 1396, 1396, 1397]
    assert set(dataset.inputs().columns) == {"image", "tags"}
    assert dataset.manifest.columns.split is None


def test_without_tags_only_pictures_are_read(archive):
    """The tags file may be left out, whatever ids the ratings hold."""
    assert list(imported(archive, tags=None).dataset.inputs().columns) == ["image"]


def test_rows_without_a_usable_picture_are_left_out_and_listed(archive):
    """One missing and one broken picture of four are within a share of a half."""
    (archive / "pictures/953958.jpg").unlink()
    (archive / "pictures/954184.jpg").write_bytes(b"no picture")
    result = imported(archive, max_missing=0.5)
    assert result.dataset.content_id.tolist() == ["953619", "954113"]
    listed = pd.read_csv(archive / "data/left_out.csv", dtype=str)
    assert listed["content_id"].tolist() == ["953958", "954184"]
    assert "does not exist" in listed["problem"][0]
    assert "corrupt" in listed["problem"][1]
    assert len(Dataset.open(archive / "data")) == 2


def test_too_many_missing_pictures_are_refused(archive):
    """One of four is above the share of 1 %: the error names it and nothing is written."""
    (archive / "pictures/953958.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of 4 are: .*953958\.jpg does not exist"):
        imported(archive)
    assert sorted(item.name for item in archive.iterdir()) == ["AVA.txt", "pictures", "tags.txt"]


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("AVA.txt", LINES[0] + "\n2 17 1 2 3", ["AVA.txt:2", "15 whole numbers", "'2 17 1 2 3'"]),
        ("AVA.txt", LINES[0].replace(" 38 ", " many "), ["AVA.txt:1", "whole numbers"]),
        ("AVA.txt", LINES[0].replace(" 38 ", " -38 "), ["AVA.txt:1", "whole numbers"]),
        ("AVA.txt", "\n".join([*LINES, LINES[1]]), ["953958", "lines 2 and 5"]),
        ("AVA.txt", "1 7 " + "0 " * 10 + "1 0 9", ["AVA.txt:1", "image 7 has none"]),
        ("AVA.txt", "", ["no lines"]),
        ("tags.txt", "1 Abstract\n15", ["tags.txt:2", "'15'"]),
        ("tags.txt", "1 Abstract\n1 Again", ["tags.txt:2", "no other line has"]),
        ("tags.txt", "1 Abstract\n15 Grey", ["[22]", "tags.txt", "image 953619"]),
    ],
)
def test_bad_lines_are_named_and_nothing_is_written(archive, file, text, words):
    """Each fault gives file and line, or the id, and no folder."""
    (archive / file).write_text(text)
    with pytest.raises(DatasetError) as caught:
        imported(archive)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (archive / "data").exists()


def test_missing_files_are_named(archive):
    """A wrong path of the ratings, the tags or the pictures is in the message."""
    with pytest.raises(DatasetError, match=r"none\.txt cannot be read"):
        import_ava(archive / "none.txt", archive / "pictures", archive / "data")
    with pytest.raises(DatasetError, match=r"none\.txt cannot be read"):
        imported(archive, tags=archive / "none.txt")
    with pytest.raises(DatasetError, match="pictures nowhere does not exist"):
        import_ava(archive / "AVA.txt", "nowhere", archive / "data")


@pytest.mark.parametrize(
    ("tags_as", "groups", "sizes"), [("text", 7, None), ("categorical", 60, [30, 6, 24])]
)
def test_equal_tags_tie_pictures_only_where_they_are_text(tmp_path, tags_as, groups, sizes):
    """Sixty pictures with seven tags are seven groups of a split, or sixty."""
    (tmp_path / "pictures").mkdir()
    lines = []
    for number in range(60):
        lines.append(f"{number + 1} {number + 100} {'1 ' * 10} {number % 7 + 1} 0 1")
        picture = Image.new("RGB", (8, 8), (4 * number, 0, 0))
        picture.save(tmp_path / f"pictures/{number + 100}.jpg", quality=100)
    (tmp_path / "AVA.txt").write_text("\n".join(lines))
    (tmp_path / "tags.txt").write_text("\n".join(f"{tag} Tag {tag}" for tag in range(1, 8)))
    dataset = imported(tmp_path, tags_as=tags_as).dataset
    splits = split_dataset(dataset, SplitConfig())
    assert len(set(splits.group)) == groups
    if sizes is not None:
        assert [len(splits.rows(name)) for name in ("train", "validation", "test")] == sizes


def test_tags_may_be_attributes(archive):
    """Names stand in two categorical columns, null where a picture has none or only one."""
    inputs = imported(archive, tags_as="categorical").dataset.inputs()
    assert inputs["tag_1"].dropna().tolist() == ["Abstract", "Black and White", "Macro"]
    assert inputs["tag_2"].isna().tolist() == [False, True, True, False]

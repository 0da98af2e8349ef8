import dataclasses

import pytest

from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import DatasetError

VALID = {
    "name": "spring",
    "contents": "contents.parquet",
    "images": "images",
    "columns": {
        "content_id": "id",
        "ab_test": "test",
        "domain": "location",
        "image": "image",
        "text": ["title", "description"],
        "categorical": ["weekday"],
        "numeric": ["price"],
    },
    "target": {"impressions": "shown", "clicks": "clicked"},
    "assignment": "randomised",
}


def changed(**changes):
    """The valid manifest with values replaced by path, such as columns__text."""
    values = {**VALID, "columns": dict(VALID["columns"]), "target": dict(VALID["target"])}
    for path, value in changes.items():
        *outer, key = path.split("__")
        (values[outer[0]] if outer else values)[key] = value
    return values


def test_a_saved_manifest_loads_equal(tmp_path):
    """Saving and loading gives the same manifest, with texts in order and nothing added."""
    manifest = Manifest.from_dict(VALID)
    manifest.save(tmp_path / "dataset.yaml")
    assert Manifest.load(tmp_path / "dataset.yaml") == manifest
    assert manifest.to_dict() == VALID
    assert manifest.columns.inputs == (
        "title",
        "description",
        "weekday",
        "price",
        "location",
        "image",
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"columns__txt": ["title"]}, ["columns.txt", "did you mean 'text'?"]),
        ({"colums": {}}, ["colums", "did you mean 'columns'?"]),
        ({"columns__text": "title"}, ["columns.text", "list of column names", "'title'"]),
        ({"columns__content_id": 7}, ["columns.content_id", "text value", "7"]),
        ({"target": {}}, ["either impressions and clicks or ratings"]),
        ({"target": {"impressions": "shown"}}, ["either impressions and clicks or ratings"]),
        ({"target__ratings": ["n1", "n2"]}, ["keep one of the two forms"]),
        ({"target": {"ratings": ["n1"]}}, ["two or more buckets"]),
        ({"columns__numeric": ["clicked"]}, ["outcome cannot be an input", "'clicked'"]),
        ({"columns__categorical": ["test"]}, ["identifier cannot be an input", "'test'"]),
        ({"columns__categorical": ["price"]}, ["one role", "'price'"]),
        ({"images": None}, ["images and columns.image go together"]),
        ({"contents": "../other.parquet"}, ["inside the dataset folder", "'../other.parquet'"]),
        ({"columns": None}, ["columns", "mapping"]),
        ({"assignment": "random"}, ["assignment must be", "'random'", "'observational'"]),
        ({"assignment": None}, ["'test'", "`assignment: randomised`", "--assignment"]),
        ({"columns__assignment": "how"}, ["exclude each other", "'randomised'", "'how'"]),
        ({"columns__ab_test": None}, ["Without A/B tests", "'randomised'", "remove assignment"]),
        ({"shares": "known"}, ["shares must be", "'known'", "'unknown'"]),
        ({"shares": "equal", "columns__share": "w"}, ["exclude each other", "'equal'", "'w'"]),
        ({"columns__share": "price"}, ["identifier cannot be an input", "'price'"]),
        ({"assignment": None, "columns__assignment": "weekday"}, ["identifier", "'weekday'"]),
    ],
)
def test_an_invalid_manifest_names_key_value_and_remedy(changes, words):
    """Each mistake raises one DatasetError whose message holds the key and the value."""
    with pytest.raises(DatasetError) as caught:
        Manifest.from_dict(changed(**changes), source="x/dataset.yaml")
    for word in ["x/dataset.yaml", *words]:
        assert word in str(caught.value)


def test_text_that_is_not_yaml_is_an_error_with_the_path(tmp_path):
    """A broken YAML file is named, with the place of the fault."""
    path = tmp_path / "dataset.yaml"
    path.write_text("name: [a\ncolumns: {")
    with pytest.raises(DatasetError, match=r"dataset\.yaml is not valid YAML.*line 2"):
        Manifest.load(path)


def test_a_picture_path_may_be_the_id():
    """The image column may double as the content's id, as models read pixels, not names."""
    columns = Columns(content_id="file", image="file")
    manifest = Manifest(
        name="x", images="images", columns=columns, target=Target(impressions="n", clicks="c")
    )
    assert dataclasses.asdict(manifest)["columns"]["image"] == "file"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"shares": "unknown"}, "shares is about arms"),
        ({"columns__share": "w"}, "columns.share is about arms"),
        ({"columns__assignment": "how"}, "columns.assignment is about arms"),
    ],
)
def test_what_is_about_arms_needs_ab_tests(changes, word):
    """Shares and a column of assignments are refused where no A/B test is declared."""
    values = changed(columns__ab_test=None, assignment=None, **changes)
    with pytest.raises(DatasetError, match=word):
        Manifest.from_dict(values)


def test_a_dataset_without_ab_tests_may_say_that_it_is_observational():
    """The word is allowed, and not needed."""
    for word in ("observational", None):
        values = changed(columns__ab_test=None, assignment=word)
        assert Manifest.from_dict(values).assignment == word


def test_the_word_is_checked_in_python_too():
    """What YAML would be refused for is refused without it."""
    with pytest.raises(DatasetError, match="randomised, platform or observational, but got 'x'"):
        Manifest(
            name="x",
            columns=Columns(content_id="id", ab_test="test"),
            target=Target(impressions="n", clicks="c"),
            assignment="x",  # type: ignore[arg-type]
        )

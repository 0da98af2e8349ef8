from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ni_platform.data.importers.upworthy import import_upworthy
from ni_platform.data.splits import SplitConfig, split_dataset
from ni_platform.errors import DatasetError

ARCHIVE = (
    Path(__file__).parents[3] / "shared/data/upworthy/upworthy-archive-exploratory-packages.csv"
)


@pytest.fixture
def archive(tmp_path):
    """Five packages in three tests: 2013 week 24, weeks 24 to 25, and 2014 week 2."""
    frame = pd.DataFrame(
        {
            "clickability_test_id": ["p", "p", "q", "q", "r"],
            "headline": ["Same", "Same", "One", "Two", "None"],
            "lede": ["l", None, "l", "l", "l"],
            "excerpt": ["e"] * 5,
            "eyecatcher_id": ["x", "y", "x", "x", None],
            "impressions": [100, 100, 100, 100, 100],
            "clicks": [1, 2, 3, 4, 5],
            "significance": [50.0, 100.0, 1.0, 2.0, 3.0],
            "first_place": [False, True, False, True, True],
            "winner": [False, True, False, False, False],
            "test_week": [201324, 201324, 201324, 201325, 201402],
        }
    )
    path = tmp_path / "archive.csv"
    frame.to_csv(path, index=False)
    return path


def test_arms_with_equal_headlines_stay_arms(archive, tmp_path):
    """Both packages of test p are kept with their own clicks, ids are unique, no arm is named."""
    dataset = import_upworthy(archive, tmp_path / "data")
    assert dataset.content_id.tolist() == ["p-0", "p-1", "r-0"]
    assert dataset.ab_test.tolist() == ["p", "p", "r"]
    assert dataset.inputs()["headline"].tolist() == ["Same", "Same", "None"]
    assert dataset.clicks.tolist() == [1.0, 2.0, 5.0]
    assert dataset.arm is None
    assert dataset.manifest.assignment == "randomised"
    assert "at random" in str(dataset.manifest.assignment_reason)


def test_weeks_with_faulty_randomisation_are_left_out_or_flagged(archive, tmp_path):
    """A test with any package in the faulty weeks is faulty as a whole."""
    left = import_upworthy(archive, tmp_path / "1")
    assert left.contents["faulty_randomisation"].tolist() == [False] * 3
    every = import_upworthy(archive, tmp_path / "2", include_faulty_weeks=True)
    flags = every.contents["faulty_randomisation"].tolist()
    assert flags == [False, False, True, True, False]


def test_outcomes_of_the_test_are_not_in_the_dataset(archive, tmp_path):
    """Significance, winner and first place cannot leak, as they are not stored."""
    contents = import_upworthy(archive, tmp_path / "data").contents
    assert {"significance", "winner", "first_place"}.isdisjoint(contents.columns)


def test_another_csv_is_refused(table, tmp_path):
    """A table that is not the archive is an error that names the columns it lacks."""
    with pytest.raises(DatasetError, match="no column 'clickability_test_id'"):
        import_upworthy(table, tmp_path / "data")


@pytest.mark.skipif(not ARCHIVE.exists(), reason="the archive is not beside the repository")
def test_the_archive_does_not_collapse_into_one_group(tmp_path):
    """The archive keeps 11,046 packages in 2,302 tests; shares hold and no group is large."""
    dataset = import_upworthy(ARCHIVE, tmp_path / "data")
    assert len(dataset) == 11_046
    assert dataset.ab_test.nunique() == 2_302
    splits = split_dataset(dataset, SplitConfig())
    shares = [len(splits.rows(name)) / len(dataset) for name in ("train", "validation", "test")]
    np.testing.assert_allclose(shares, [0.5, 0.1, 0.4], atol=0.005)
    assert splits.largest_group < 60
    assert pd.Series(splits.part).groupby(dataset.ab_test).nunique().max() == 1

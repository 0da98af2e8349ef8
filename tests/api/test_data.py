"""Datasets as objects of Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import ni_platform as ni
from ni_platform.errors import ChecksFailedError, DatasetError
from tests.api.tables import HEADLINES, import_headlines


@pytest.fixture(scope="module")
def ads(tmp_path_factory) -> ni.Dataset:
    """The imported table."""
    return import_headlines(HEADLINES, tmp_path_factory.mktemp("data") / "ads")


def test_a_cell_that_is_run_again_opens_what_it_imported(ads):
    """Nothing is written anew."""
    before = (Path(ads.folder) / "contents.parquet").stat().st_mtime_ns
    again = import_headlines(HEADLINES, ads.folder)
    assert again.folder == ads.folder
    assert (Path(ads.folder) / "contents.parquet").stat().st_mtime_ns == before
    assert [path.name for path in Path(ads.folder).parent.iterdir()] == ["ads"]


def test_another_table_does_not_take_the_folder(ads):
    """However small the difference."""
    changed = HEADLINES.assign(clicked=HEADLINES["clicked"] + 1)
    with pytest.raises(DatasetError, match="holds another dataset"):
        import_headlines(changed, ads.folder)


def test_planted_data_are_drawn_once(tmp_path):
    """The same call opens them, another one is told."""
    first = ni.synthesize(tmp_path / "planted", tests=8, image_size=32)
    assert ni.synthesize(tmp_path / "planted", tests=8, image_size=32).folder == first.folder
    with pytest.raises(DatasetError, match="holds another dataset"):
        ni.synthesize(tmp_path / "planted", tests=9, image_size=32)


def test_a_sample_is_rows_of_the_frame_by_content_id(ads):
    """The same ones for a seed."""
    sample = ads.sample(5, seed=1)
    assert sample.equals(ads.frame.loc[sample.index])
    assert sample.index.equals(ads.sample(5, seed=1).index)
    with pytest.raises(DatasetError, match="has 120 contents, but 121 were asked for"):
        ads.sample(121)


def test_pictures_of_the_frame_are_files(tmp_path):
    """So that a model reads them from anywhere."""
    planted = ni.synthesize(tmp_path / "planted", tests=8, image_size=32)
    assert all(Path(path).is_file() for path in planted.frame["image"])


def test_checks_tell_what_holds(ads):
    """A row per rule; nothing is raised."""
    checks = ads.check()
    assert checks.passed
    assert checks.frame["passed"].all()
    assert {"suite", "rule", "observed", "failed_rows"} <= set(checks.frame.columns)
    checks.require()


def test_a_rule_that_fails_is_red_and_first_and_its_rows_are_escaped(tmp_path):
    """Texts of the data are no HTML of the page."""
    evil = "<script>alert(1)</script>"
    table = HEADLINES.astype({"clicked": float})
    table.loc[0, "ad_id"] = evil
    table.loc[0, "clicked"] = 0.5
    checks = import_headlines(table, tmp_path / "ads").check()
    assert not checks.passed
    assert not checks.frame["passed"].iloc[0]
    shown = checks._repr_html_()
    assert '<tr class="failed"><td>FAIL</td>' in shown
    assert evil not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    with pytest.raises(ChecksFailedError, match=r"checks failed on .*/ads; mend these rows"):
        checks.require()

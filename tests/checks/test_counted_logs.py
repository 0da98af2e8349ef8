"""Checks on datasets that were counted from a click log: each rule finds what was planted."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from ni_platform.data.checks import check_dataset
from ni_platform.data.click_log import LogSpec, aggregate
from ni_platform.data.dataset import Dataset
from ni_platform.errors import DatasetError


@pytest.fixture(scope="module")
def counted(tmp_path_factory) -> Dataset:
    """24 combinations of 12 ads and 2 devices, 10 exposures each; one event dropped, one bad."""
    folder = tmp_path_factory.mktemp("log")
    events = [
        {"ad": f"ad{ad}", "device": device, "place": "top", "clicked": int(shown < ad % 5)}
        for ad in range(12)
        for device in ("phone", "desk")
        for shown in range(10)
    ]
    events.append({"ad": "ad0", "device": "desk", "place": "top", "clicked": 9})
    events.append({"ad": "rare", "device": "desk", "place": "top", "clicked": 0})
    pd.DataFrame(events).to_csv(folder / "log.csv", index=False)
    spec = LogSpec(
        name="ads",
        content="ad",
        clicked="clicked",
        categorical=("device", "place"),
        min_impressions=10,
        min_level_impressions=120,
    )
    dataset, _ = aggregate([str(folder / "log.csv")], str(folder / "data"), spec)
    return dataset


def failures(dataset: Dataset) -> dict[str, list]:
    """Rule -> ids of the sample rows, for the failed rules of this suite."""
    report = check_dataset(dataset, None, docs_folder=None)
    assert "click_log" in report.suites
    return {
        rule.rule: [next(iter(row.values())) for row in rule.sample_rows]
        for rule in report.failures
        if rule.suite == "click_log"
    }


def changed(dataset: Dataset, **cells: dict[int, object]) -> Dataset:
    """The dataset with some cells replaced: column -> {row: value}."""
    contents = dataset.contents.copy()
    for column, values in cells.items():
        for row, value in values.items():
            contents.loc[row, column] = value
    return Dataset(dataset.root, dataset.manifest, contents)


def with_report(dataset: Dataset, folder, **values: object) -> Dataset:
    """The dataset with other values in its report."""
    shutil.copytree(dataset.root, folder)
    report = json.loads((folder / "aggregation.json").read_text())
    (folder / "aggregation.json").write_text(json.dumps(report | values))
    return Dataset.open(folder)


def test_what_aggregate_writes_passes(counted):
    """A log's dataset passes every rule, though a row was bad and a combination rare."""
    assert len(counted) == 24
    assert failures(counted) == {}


def test_an_attribute_that_no_event_has_passes(tmp_path):
    """A column without a single value has no level that could be rare."""
    rows = [{"ad": f"ad{n}", "device": None, "clicked": n % 2} for n in range(20)]
    pd.DataFrame(rows).to_csv(tmp_path / "log.csv", index=False)
    spec = LogSpec(
        name="ads", content="ad", clicked="clicked", categorical=("device",), min_impressions=1
    )
    dataset, _ = aggregate([str(tmp_path / "log.csv")], str(tmp_path / "data"), spec)

    assert failures(dataset) == {}


def test_bad_counts_are_found_by_row(counted):
    """Each rule on counts names the rows that break it; totals no longer agree either."""
    ids = counted.content_id
    found = failures(changed(counted, impressions={0: 9, 1: 0}, clicks={2: 11, 3: -1}))

    assert found["Every combination was shown at least 10 times (min_impressions)."] == [
        ids[0],
        ids[1],
    ]
    assert found["Every exposure was clicked at most once."] == [ids[2]]
    assert found["Clicks are not negative."] == [ids[3]]
    assert "impressions add up to the 240 that were counted." in found
    assert "clicks add up to the 42 that were counted." in found
    assert len(found) == 5


def test_a_combination_that_comes_twice_is_found(counted):
    """Two rows of the same ad and device are reported, and only they."""
    twin = counted.contents.loc[1, ["ad", "device"]]
    found = failures(changed(counted, ad={0: twin["ad"]}, device={0: twin["device"]}))

    assert list(found) == ["No combination of content and attributes comes twice."]


def test_missing_rows_are_found(counted):
    """A dataset that lost a row does not pass for what was counted."""
    lost = Dataset(counted.root, counted.manifest, counted.contents.iloc[1:])

    assert "There are the 24 combinations that were counted." in failures(lost)


def test_unknown_and_rare_levels_are_found(counted, tmp_path):
    """A level that the log did not have, and one that should have been merged, are reported."""
    found = failures(changed(counted, device={5: "tablet"}))
    assert found == {"Every level of device is one that was counted.": [counted.content_id[5]]}

    rare = with_report(counted, tmp_path / "rare", min_level_impressions=121)
    phones = counted.contents["device"] == "phone"
    (rows,) = failures(rare).values()
    assert set(rows) <= set(counted.content_id[phones])


def test_rejects_above_the_limit_and_lost_rows_are_found(counted, tmp_path):
    """1 of 242 rows was bad: a limit of 0.4 % is broken; a 243rd row would be unaccounted for."""
    strict = with_report(counted, tmp_path / "strict", max_rejected=0.004)
    assert list(failures(strict)) == [
        "At most 0.40% of the log's rows were rejected (max_rejected)."
    ]
    lost = with_report(counted, tmp_path / "lost", rows=243)
    assert list(failures(lost)) == [
        "Every row of the log was counted, rejected, dropped or left out."
    ]


def test_a_report_of_another_version_is_one_message(counted, tmp_path):
    """A report without what the checks need says what to do."""
    with pytest.raises(DatasetError, match=r"keys is wrong .* aggregate the log again"):
        failures(with_report(counted, tmp_path / "old", keys=None))

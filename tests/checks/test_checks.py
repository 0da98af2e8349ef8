"""Data checks: each rule catches what it is for, and reports are complete."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ni_platform.data.checks import check_dataset
from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.splits import SplitConfig, Splits, split_dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Dataset:
    """40 A/B tests that pass every check."""
    return make_synthetic(tmp_path_factory.mktemp("planted") / "data", tests=40, image_size=32)


@pytest.fixture(scope="module")
def splits(planted) -> Splits:
    """The default split of them."""
    return split_dataset(planted, SplitConfig())


def changed(dataset: Dataset, **cells: dict[int, object]) -> Dataset:
    """The dataset with some cells replaced: column -> {row: value}."""
    contents = dataset.contents.copy()
    for column, values in cells.items():
        for row, value in values.items():
            contents.loc[row, column] = value
    return Dataset(dataset.root, dataset.manifest, contents)


def failures(dataset: Dataset, splits: Splits | None = None) -> dict[tuple[str, str], list]:
    """(suite, rule) -> ids or tests of the sample rows, for the rules that failed."""
    report = check_dataset(dataset, splits, docs_folder=None)
    assert report.success == (not report.failures)
    return {
        (rule.suite, rule.rule): [next(iter(row.values())) for row in rule.sample_rows]
        for rule in report.failures
    }


def only(found: dict, suite: str, words: str) -> list:
    """Sample rows of the one failure, which must be of that suite and rule."""
    assert len(found) == 1, found
    ((failed_suite, rule),) = found
    assert failed_suite == suite
    assert words in rule
    return found[failed_suite, rule]


def test_planted_data_pass_every_suite(planted, splits):
    """A sound dataset passes, and all four suites are evaluated."""
    report = check_dataset(planted, splits, docs_folder=None)
    assert report.success
    assert report.suites == ("ab_tests", "contents", "images", "splits")
    assert report.evaluated == len(report.results) >= 35


def test_every_bad_cell_is_found(planted):
    """Each rule on cells names the rows that break it, and no rule names another."""
    ids = planted.content_id
    bad = changed(
        planted,
        clicks={1: -1, 3: planted.contents.loc[3, "impressions"] + 1},
        slogan={5: "   "},
        domain={6: ""},
        price={7: np.inf, 8: -np.inf},
        arm={9: "Control"},
        content_id={10: None, 12: ids[11]},
    )
    assert {rule: rows for (_, rule), rows in failures(bad).items()} == {
        "Every content has an id.": [None],
        "No content id comes twice.": [ids[11], ids[11]],
        "clicks is a finite number that is not negative.": [ids[1]],
        "Clicks (clicks) never exceed impressions (impressions).": [ids[3]],
        "slogan is not blank: a missing text or label is a null cell.": [ids[5]],
        "domain is not blank: a missing text or label is a null cell.": [ids[6]],
        "price is finite where it is given.": [ids[7], ids[8]],
        'arm is "control" or "treatment" where it is given.': [ids[9]],
    }


def test_rates_in_place_of_clicks_are_found(planted):
    """Success rates declared as clicks are found, though they are below the impressions."""
    contents = planted.contents.assign(clicks=planted.success_rate)
    found = failures(Dataset(planted.root, planted.manifest, contents))
    only(found, "contents", "clicks is a whole number")


def test_missing_counts_and_rows_without_impressions_are_found(planted):
    """A missing count and a content that nobody saw are reported by their rules."""
    contents = planted.contents.astype({"clicks": float})
    contents.loc[2, "clicks"] = np.nan
    contents.loc[4, ["impressions", "clicks"]] = 0
    found = failures(Dataset(planted.root, planted.manifest, contents))
    rules = {rule: rows for (_, rule), rows in found.items()}
    assert rules["clicks is given for every content."] == [planted.content_id[2]]
    assert rules["Every content was shown or rated at least once."] == [planted.content_id[4]]
    assert len(rules) == 2


def test_a_content_without_any_input_is_found(planted):
    """A row in which every input is null is reported."""
    inputs = planted.manifest.columns.inputs
    bad = changed(planted, **{name: {7: None} for name in inputs})
    assert only(failures(bad), "contents", "has a picture, a text") == [planted.content_id[7]]


def test_missing_modalities_are_allowed(tmp_path):
    """Null cells of inputs are missing modalities, not faults."""
    dataset = make_synthetic(tmp_path / "data", tests=40, image_size=32, missing=0.3)
    assert failures(dataset, split_dataset(dataset, SplitConfig())) == {}


def test_an_id_declared_as_category_is_found(tmp_path):
    """A categorical column with a level per content is reported."""
    found = failures(table_dataset(tmp_path, rows=120, categorical=("code",)))
    only(found, "contents", "a category, not an id")


def test_a_vector_of_zeros_is_found(tmp_path):
    """Zeros in place of a missing vector are reported; null cells and real vectors are not."""
    dataset = table_dataset(tmp_path, rows=30)
    vectors = [None if i == 2 else np.full(400, 0.0 if i == 5 else 0.1) for i in range(30)]
    contents = dataset.contents.assign(embedding=pd.Series(vectors, dtype=object))
    columns = replace(dataset.manifest.columns, vector=("embedding",))
    found = failures(Dataset(dataset.root, replace(dataset.manifest, columns=columns), contents))
    assert only(found, "contents", "not all zeros") == [dataset.content_id[5]]


def test_too_few_contents_are_found(tmp_path):
    """A table of a handful of rows is reported."""
    only(failures(table_dataset(tmp_path, rows=8)), "contents", "at least 20 contents")


def test_success_rates_that_never_differ_are_found(tmp_path):
    """Nothing can be learned from one rate for all."""
    dataset = table_dataset(tmp_path, rows=30)
    contents = dataset.contents.assign(impressions=100, clicks=7)
    found = failures(Dataset(dataset.root, dataset.manifest, contents))
    only(found, "contents", "something to learn")


def test_ratings_are_checked(tmp_path):
    """Counts per rating bucket are checked like clicks, and each content needs a rating."""
    dataset = table_dataset(tmp_path, rows=30)
    rng = np.random.default_rng(0)
    contents = dataset.contents.assign(n1=rng.integers(1, 9, 30), n2=rng.integers(1, 9, 30))
    manifest = replace(dataset.manifest, target=Target(ratings=("n1", "n2")))
    assert failures(Dataset(dataset.root, manifest, contents)) == {}
    contents.loc[3, ["n1", "n2"]] = 0
    found = failures(Dataset(dataset.root, manifest, contents))
    assert only(found, "contents", "rated at least once") == ["c3"]


def test_pictures_that_cannot_be_used_are_found(planted, tmp_path):
    """Missing, corrupt, tiny and gigantic pictures are reported with what is wrong."""
    shutil.copytree(planted.root, tmp_path / "copy")
    dataset = Dataset.open(tmp_path / "copy")
    uris = dataset.image_uri
    for row in range(4):
        Path(uris[row]).unlink()
    Path(uris[1]).write_bytes(b"not a picture")
    Image.new("RGB", (4, 40)).save(uris[2])
    Image.new("1", (11_000, 10_000)).save(uris[3])
    report = check_dataset(dataset, None, docs_folder=None)
    rules = {rule.rule: rule for rule in report.failures}
    unusable = rules["Every picture that is named exists, decodes and is of a safe size."]
    problems = {row["content_id"]: row["problem"] for row in unusable.sample_rows}
    assert list(problems) == [dataset.content_id[row] for row in (0, 1, 3)]
    for part, problem in zip(("does not exist", "corrupt", "11000 x 10000"), problems.values()):
        assert part in problem
    narrow = rules["The width of every picture is at least 16 pixels."]
    assert [row["content_id"] for row in narrow.sample_rows] == [dataset.content_id[2]]
    assert len(rules) == 2


def test_leakage_between_parts_is_found(planted, splits):
    """A test row moved into training brings its A/B test, text and group onto two sides."""
    row = next(i for i in splits.rows("in_domain") if (splits.group == splits.group[i]).sum() > 1)
    part = splits.part.copy()
    part[row] = "train"
    leaking = Splits(part=part, group=splits.group)
    found = failures(planted, leaking)
    rules = {rule for suite, rule in found if suite == "splits"}
    assert {rule.split(" is on ")[0] for rule in rules} >= {
        "No A/B test",
        "No group of rows that belong together",
    }
    assert all(suite == "splits" for suite, _ in found)


def test_equal_pictures_and_texts_on_two_sides_are_found(tmp_path):
    """An owner's split that repeats a picture or a text across its sides is reported."""
    dataset = table_dataset(tmp_path, rows=30, image=True)
    part = np.array(["train", "validation", "in_domain"])[np.arange(30) % 3]
    shutil.copyfile(dataset.image_uri[0], dataset.image_uri[2])
    dataset.contents.loc[4, "title"] = dataset.contents.loc[3, "title"].upper() + "!"
    found = failures(dataset, Splits(part=part, group=np.arange(30)))
    samples = {rule.split(" (")[0]: rows for (_, rule), rows in found.items()}
    assert samples == {"No picture": ["c0", "c2"], "No text": ["c3", "c4"]}


def test_a_held_out_domain_seen_in_training_is_found(planted, splits):
    """An out-of-domain row whose domain was trained on is reported."""
    part = splits.part.copy()
    moved = splits.group == splits.group[splits.rows("out_of_domain")[0]]
    part[moved] = "train"
    found = failures(planted, Splits(part=part, group=splits.group))
    assert any("out-of-domain" in rule for _, rule in found)


def test_contents_left_out_are_neither_checked_nor_a_side(planted, splits):
    """Training does not see them: an arm left out is no leak, and its faults are nobody's."""
    test_rows = splits.rows("test")
    bad = changed(planted, impressions={test_rows[0]: 0}, clicks={test_rows[0]: 0})
    assert set(failures(bad, splits)) == {
        ("contents", "Every content was shown or rated at least once.")
    }
    left_out = np.arange(len(planted)) == test_rows[0]
    assert failures(bad, splits.without(left_out)) == {}


def test_a_domain_of_contents_left_out_was_not_seen(planted, splits):
    """An out-of-domain content stays one, if those of its domain in training are left out."""
    row, other = splits.rows("out_of_domain")[0], splits.rows("train")[0]
    column = str(planted.manifest.columns.domain)
    data = changed(planted, **{column: {other: planted.contents[column][row]}})
    assert len(failures(data, splits)) == 1
    assert failures(data, splits.without(np.arange(len(planted)) == other)) == {}


def test_validation_that_is_trained_on_need_not_be_there(planted, splits):
    """With `train_on_validation` there is none; without, the check says so."""
    trained = splits.with_validation_trained()
    assert failures(planted, trained) == {}
    only(
        failures(planted, replace(trained, validation_trained=False)),
        "splits", "Validation has contents",
    )  # fmt: skip


def test_too_few_tests_to_evaluate_are_found(tmp_path):
    """With ten A/B tests only some are in the test part, too few for an interval."""
    dataset = make_synthetic(tmp_path / "data", tests=10, image_size=32)
    found = failures(dataset, split_dataset(dataset, SplitConfig()))
    only(found, "ab_tests", "At least 10 A/B tests")


def test_faulty_randomisation_is_found(planted):
    """Arms that are nearly but not quite equal in every test betray faulty assignment."""
    contents = planted.contents.copy()
    control = contents["arm"] == "control"
    contents.loc[control, "impressions"] = (contents.loc[control, "impressions"] * 1.2).astype(int)
    found = failures(Dataset(planted.root, planted.manifest, contents))
    only(found, "ab_tests", "randomisation worked")


def test_arms_planned_to_be_unequal_are_no_fault(planted):
    """A control that gets nine times the viewers was planned so where the column of shares says it.

    It betrays a fault where shares are equal, and says nothing where they are unknown.
    """
    control = planted.contents["arm"] == "control"
    contents = planted.contents.assign(share=np.where(control, 9, 1))
    contents.loc[control, "impressions"] *= 9
    columns = replace(planted.manifest.columns, share="share")
    by_column = replace(planted.manifest, columns=columns)
    assert failures(Dataset(planted.root, by_column, contents)) == {}
    unknown = replace(planted.manifest, shares="unknown")
    assert failures(Dataset(planted.root, unknown, contents)) == {}
    found = failures(Dataset(planted.root, planted.manifest, contents))
    only(found, "ab_tests", "randomisation worked")


def test_few_mismatches_are_listed_and_fail_nothing(planted):
    """One A/B test of many: the report names its arms, impressions, planned shares and p."""
    contents = planted.contents.copy()
    first = contents.index[contents["ab_test"] == contents["ab_test"][0]]
    contents.loc[first, "impressions"] = 3000
    contents.loc[first[0], "impressions"] = 4000
    report = check_dataset(
        Dataset(planted.root, planted.manifest, contents), None, docs_folder=None
    )
    assert report.success
    assert report.sample_ratio.startswith("1 of 40 randomised A/B tests")
    (listed,) = report.mismatched
    assert listed["ab_test"] == contents["ab_test"][0]
    assert listed["arms"] == contents["content_id"][first].tolist()
    assert listed["impressions"] == [4000.0] + [3000.0] * (len(first) - 1)
    assert listed["shares"] == pytest.approx([1 / len(first)] * len(first))
    assert listed["p"] < 1e-6
    assert report.to_json()["mismatched"] == [listed]


def test_a_mismatch_has_the_p_value_worked_out_by_hand(tmp_path):
    """Arms of 100 and 144 viewers: chi-square 44² / 244 = 7.934 with 1 degree, p = 0.00485."""
    ab_tests = importlib.import_module("data_checks.ab_tests")
    dataset = table_dataset(tmp_path, rows=4)
    contents = dataset.contents.assign(
        test=["a", "a", "b", None], impressions=[100, 144, 5, 6], clicks=1
    )
    columns = replace(dataset.manifest.columns, ab_test="test")
    manifest = replace(dataset.manifest, columns=columns, assignment="randomised")
    table = ab_tests.table(Dataset(dataset.root, manifest, contents), None)
    assert table["ab_test"].tolist() == ["a", "b"]
    assert table["mismatch_p"][0] == pytest.approx(0.00485, abs=1e-5)
    assert np.isnan(table["mismatch_p"][1])  # one arm has nothing to compare with


def test_a_suite_that_evaluates_nothing_is_a_failure(planted):
    """An A/B test column without a single test fails its suite instead of passing silently."""
    contents = planted.contents.assign(ab_test=None)
    found = failures(Dataset(planted.root, planted.manifest, contents))
    only(found, "ab_tests", "at least one rule and at least one row")


def test_a_suite_without_rules_is_a_failure(planted, tmp_path, monkeypatch):
    """A suite that was added without rules fails."""
    add_suite(
        tmp_path,
        monkeypatch,
        "import great_expectations as gx\n"
        "def applies(dataset, splits): return True\n"
        "def table(dataset, splits): return dataset.contents\n"
        "def suite(dataset): return gx.ExpectationSuite(name='extra')\n",
    )
    only(failures(planted), "extra", "at least one rule and at least one row")


def test_a_rule_that_cannot_be_evaluated_is_a_failure(planted, tmp_path, monkeypatch):
    """A rule on a column that is not there fails and says why."""
    add_suite(
        tmp_path,
        monkeypatch,
        "import great_expectations as gx\n"
        "def applies(dataset, splits): return True\n"
        "def table(dataset, splits): return dataset.contents\n"
        "def suite(dataset): return gx.ExpectationSuite(name='extra', expectations=[\n"
        "    gx.expectations.ExpectColumnValuesToNotBeNull(\n"
        "        column='x', description='X is given.')])\n",
    )
    report = check_dataset(planted, None, docs_folder=None)
    (failure,) = report.failures
    assert (failure.suite, failure.rule) == ("extra", "X is given.")
    assert 'column "x"' in failure.observed


def test_a_suite_without_its_functions_is_named(planted, tmp_path, monkeypatch):
    """A module of data_checks that lacks a function is an error naming module and function."""
    add_suite(tmp_path, monkeypatch, "def applies(dataset, splits): return True\n")
    with pytest.raises(ConfigError, match=r"data_checks/extra.py lacks table, suite"):
        check_dataset(planted, None, docs_folder=None)


def test_reports_name_suite_rule_count_and_rows(planted, tmp_path):
    """summary.json holds the failure first, with its suite, rule, count and sample rows."""
    bad = changed(planted, clicks={3: planted.contents.loc[3, "impressions"] + 1})
    check_dataset(bad, None, docs_folder=tmp_path / "checks")
    summary = json.loads((tmp_path / "checks" / "summary.json").read_text())
    first = summary["results"][0]
    assert summary["success"] is False
    assert (summary["failed"], first["suite"], first["failed_rows"]) == (1, "contents", 1)
    assert first["sample_rows"][0] == {
        "content_id": planted.content_id[3],
        "impressions": planted.impressions[3],
        "clicks": planted.impressions[3] + 1,
    }


def test_data_docs_open_from_disk_and_load_nothing(planted, splits, tmp_path):
    """Pages link to each other only, show every rule, and load nothing from elsewhere."""
    bad = changed(planted, slogan={5: "<b> </b>"}, arm={6: "<script>alert(1)</script>"})
    report = check_dataset(bad, splits, docs_folder=tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"index.html", "summary.json", *(f"{suite}.html" for suite in report.suites)}
    for path in tmp_path.glob("*.html"):
        page = path.read_text()
        assert "http" not in page, path
        assert "<script" not in page, path
        for target in re.findall(r"href=[\"']([^#\"'][^\"']*)[\"']", page):
            assert target in names, (path, target)
    index = (tmp_path / "index.html").read_text()
    for result in report.results:
        page = (tmp_path / f"{result.suite}.html").read_text()
        for text in (index, page):
            assert as_html(result.rule) in as_html(text), result.rule
    assert planted.content_id[6] in index
    for page in (index, (tmp_path / "contents.html").read_text()):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_checking_is_quiet_offline_and_reports_progress(planted, splits, monkeypatch, capfd):
    """Nothing is printed, no connection is opened, and every suite's progress is completed."""

    def refuse(*args: object) -> None:
        raise AssertionError("a connection was opened")

    calls: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(socket.socket, "connect", refuse)
    check_dataset(
        planted,
        splits,
        docs_folder=None,
        progress=lambda suite, done, total: calls.update({suite: (done, total)}),
    )
    assert capfd.readouterr() == ("", "")
    assert list(calls) == ["ab_tests", "contents", "images", "splits"]
    assert all(done == total for done, total in calls.values())


def as_html(text: str) -> str:
    """Text without quotes, which pages escape differently."""
    return re.sub(r"\"|'|&#34;|&#39;|&quot;|&#x27;", "", text)


def add_suite(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Add `extra.py` to the suites, as a user would in a folder of their own."""
    (folder / "data_checks").mkdir()
    (folder / "data_checks" / "extra.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "data_checks.extra", raising=False)
    importlib.invalidate_caches()


def table_dataset(
    folder: Path, *, rows: int, categorical: tuple[str, ...] = (), image: bool = False
) -> Dataset:
    """A small dataset without A/B tests: titles that differ, codes, perhaps pictures."""
    rng = np.random.default_rng(0)
    contents = pd.DataFrame(
        {
            "content_id": [f"c{i}" for i in range(rows)],
            "title": [f"title number {i}" for i in range(rows)],
            "code": [f"code-{i}" for i in range(rows)],
            "impressions": rng.integers(100, 200, rows),
            "clicks": rng.integers(1, 50, rows),
        }
    )
    if image:
        contents["image"] = [f"{i}.png" for i in range(rows)]
        (folder / "images").mkdir()
        for i in range(rows):
            Image.new("RGB", (20, 20), (i, 0, 0)).save(folder / "images" / f"{i}.png")
    manifest = Manifest(
        name="table",
        images="images" if image else None,
        columns=Columns(
            content_id="content_id",
            text=("title",),
            categorical=categorical,
            image="image" if image else None,
        ),
        target=Target(impressions="impressions", clicks="clicks"),
    )
    return Dataset(folder, manifest, contents)


def test_a_row_of_totals_is_found(planted):
    """The last line of a report, in a folder that was written by hand."""
    columns, target = planted.manifest.columns, planted.manifest.target
    total = planted.contents.iloc[[0]].assign(
        **{columns.content_id: "Total", columns.ab_test: None}
        | {name: planted.contents[name].sum() for name in target.declared.values()}
    )
    contents = pd.concat([planted.contents, total], ignore_index=True)
    found = failures(Dataset(planted.root, planted.manifest, contents))
    rows = [rows for (_, rule), rows in found.items() if "totals of all other rows" in rule]
    assert rows == [["Total"]]

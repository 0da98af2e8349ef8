"""From a plan, by its test, to whether it held, on tests in which "Free" doubles the rate."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import ni_platform as ni
from ni_platform.data.dataset import Dataset
from ni_platform.data.importers.table import import_table
from ni_platform.errors import DatasetError
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.prediction_log.keys import prediction_keys
from ni_platform.prediction_log.table import log_table, write_part
from ni_platform.tracking.run_queries import read_run, read_table_artifact
from ni_platform.tracking.store import open_store
from tests.command import ni as command
from tests.test_exports_end_to_end import CONFIG

TEXTS = {
    "old": "Plain garden sale weekend shoes",
    "free": "Free garden sale weekend shoes",
    "other": "Plain letter lamp jacket river",
}


def _results(path: Path, day: str, rates: dict[str, float], prefix: str = "new") -> Path:
    """One A/B test of the drafts."""
    rows = [
        (f"{prefix} {name}", prefix, TEXTS[name], 10_000, int(10_000 * rate), day)
        for name, rate in rates.items()
    ]
    columns = ["id", "test", "subject", "shown", "clicked", "since"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of an earlier A/B test, to which results are added."""
    early = _results(tmp_path / "early.csv", "2026-01-01", {"old": 0.1, "other": 0.1}, "early")
    import_table(
        early, tmp_path / "data", content_id="id", ab_test="test", assignment="randomised",
        text=["subject"], day="since", impressions="shown", clicks="clicked",
    )  # fmt: skip
    return tmp_path / "data"


@pytest.fixture
def run(ranker: object, ranker_project: Path) -> str:
    """The id of the ranker's run."""
    return (ranker_project / "run").read_text()


def _day(days: int) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"


def test_a_plan_that_was_followed(folder: Path, run: str, ranker_project: Path) -> None:
    """The plan's first choice won; its test and the figures at promotion stand beside it."""
    drafts = pd.DataFrame({"id": list(TEXTS), "subject": list(TEXTS.values())})
    planned = ni.open_run(run).model.plan(drafts, ranker_project / "data", arms=3)
    before = Dataset.open(folder).fingerprint()
    first = str(planned.drafts.index[0])
    rates = dict.fromkeys(TEXTS, 0.1) | {first: 0.2}
    results = _results(folder.parent / "new.csv", _day(3), rates)
    ended = command("outcomes", str(results), str(folder), "--json")
    assert ended.code == 0, ended.stderr
    assert "Added 3 contents" in ended.stdout
    (plan,) = [one for one in ended.json["plans"] if one["request"] == planned.run_id]
    assert (plan["ab_test"], plan["first"], plan["best"]) == ("new", first, first)
    assert plan["agreed"] is True
    assert plan["gain"] == pytest.approx(1000 * (0.2 - 0.4 / 3))
    figures = {row["metric"]: row for row in ended.json["figures"] if row["model_run"] == run}
    assert figures["pairwise_within"]["then"] > 0.5
    assert 0 <= figures["pairwise_within"]["value"] <= 1
    assert {"pair_coverage", "rate_coverage"} <= set(figures)
    (held,) = [words for words in ended.json["sentences"] if "ordered" in words]
    assert "nan" not in held
    assert held.endswith("whether it held is told from 5 A/B tests on.")
    store = open_store()
    record = read_run(store, ended.json["run_id"])
    assert record.experiment_name == "outcomes"
    assert record.tags["ni.dataset_before"] == before
    assert record.tags["ni.dataset_fingerprint"] == Dataset.open(folder).fingerprint()
    table = read_table_artifact(store, record.run_id, "outcomes/predictions.parquet")
    assert set(table["draft"]) == set(TEXTS)
    repeated = ni.outcomes(results, folder)
    assert planned.run_id in set(repeated.plans["request"])
    assert repeated.sentences[0].startswith("The results add nothing to the dataset")
    again = ni.outcomes((), folder)
    assert planned.run_id in set(again.plans["request"])
    assert "ordered" in repr(again)
    assert "<table" in again._repr_html_()


def test_predictions_after_the_fact_do_not_count(
    folder: Path, run: str, ranker_project: Path
) -> None:
    """The test began long before the plan; without a day it is known from the import on."""
    drafts = pd.DataFrame({"id": list(TEXTS), "subject": list(TEXTS.values())})
    planned = ni.open_run(run).model.plan(drafts, ranker_project / "data", arms=3)
    results = _results(folder.parent / "new.csv", "2026-02-01", {"old": 0.1, "free": 0.2})
    found = ni.outcomes(results, folder)
    assert planned.run_id not in set(found.plans["request"])
    assert found.found.joined.late >= 2
    assert any("had been shown already" in words for words in found.sentences)


def test_a_served_model_and_its_shadow(folder: Path, run: str, ranker: object) -> None:
    """Both are compared on what both scored: the shadow knows the word, the model says the reverse.

    Six tests: the model in use puts the wrong arm first in each.
    """
    other = ni.train(replace(CONFIG, model=TabularConfig(), insights=None), _trained_on(run)).run_id
    log = folder.parent / "log"
    rows = []
    for number in range(6):
        texts = [f"Plain letter lamp {number}", f"Free letter lamp {number}"]
        for shadow, model, rates in ((False, run, (0.2, 0.1)), (True, other, (0.1, 0.2))):
            roles = ni.open_run(model).model.regressor.roles
            keys = prediction_keys(pd.DataFrame({"subject": texts}), roles)
            frame = pd.DataFrame({"input_key": keys, "prediction": rates})
            frame = frame.assign(shadow=shadow, model_run=model, model=f"models:/{model[:4]}")
            rows.append(frame.assign(time=datetime.now(UTC), source="served", request=str(number)))
    write_part(log, log_table(pd.concat(rows)))
    table = pd.DataFrame(
        [
            (
                f"{number} {word}",
                f"t{number}",
                f"{word} letter lamp {number}",
                1000,
                clicks,
                _day(1),
            )
            for number in range(6)
            for word, clicks in (("Plain", 100), ("Free", 200))
        ],
        columns=["id", "test", "subject", "shown", "clicked", "since"],
    )
    table.to_csv(folder.parent / "new.csv", index=False)
    found = ni.outcomes(folder.parent / "new.csv", folder, log=log)
    own = found.figures[found.figures["metric"] == "pairwise_within"].set_index("model_run")
    assert own["value"].to_dict() == {run: 0.0, other: 1.0}
    assert own["shadow"].to_dict() == {run: False, other: True}
    (compared,) = found.shadows.to_dict("records")
    assert compared["difference"] == 1.0
    assert compared["contents"] == 12
    assert any("it did not hold" in words for words in found.sentences)


def _trained_on(run: str) -> str:
    return str(read_run(open_store(), run).tags["ni.dataset"])


def test_the_variable_names_one_log(
    folder: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a blank in its name."""
    log = folder.parent / "my log"
    rows = [{"model_run": None, "shadow": False, "source": "served", "prediction": 0.1}]
    write_part(log, log_table(pd.DataFrame(rows).assign(time=datetime.now(UTC))))
    monkeypatch.setenv("NI_LOG_PREDICTIONS", str(log))
    ended = command("outcomes", str(folder))
    assert ended.code == 0, ended.stderr
    assert "1 predictions do not say which run made their model" in ended.stdout


def test_a_log_that_is_none_adds_nothing(folder: Path, run: str) -> None:
    """Whatever is wrong is told before the dataset changes."""
    (folder.parent / "log").mkdir()
    (folder.parent / "log/a.parquet").write_bytes(b"nothing")
    results = _results(folder.parent / "new.csv", _day(1), {"old": 0.1, "free": 0.2})
    before = Dataset.open(folder).fingerprint()
    with pytest.raises(DatasetError, match=r"a\.parquet is not a readable Parquet table"):
        ni.outcomes(results, folder, log=folder.parent / "log")
    assert Dataset.open(folder).fingerprint() == before


def test_an_older_file_is_told(folder: Path, run: str) -> None:
    """Its counts take the place of newer ones."""
    rates = {"old": 0.05, "other": 0.1}
    results = _results(folder.parent / "new.csv", "2026-01-01", rates, "early")
    found = ni.outcomes(results, folder)
    assert any("Counts of 1 contents fell" in words for words in found.sentences)

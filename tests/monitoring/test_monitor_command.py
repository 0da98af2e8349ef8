"""`ni monitor` and `Model.monitor` on planted data: what is watched, told, tagged and recorded."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ni_platform as ni_python
from ni_platform.data.dataset import Dataset
from ni_platform.monitoring.config import MonitorConfig
from ni_platform.monitoring.monitoring import monitor_model
from ni_platform.prediction_log.keys import prediction_keys
from ni_platform.prediction_log.table import log_table, write_part
from ni_platform.tracking.run_queries import read_artifact, read_run, read_table_artifact
from ni_platform.tracking.store import open_store
from tests.command import in_project, ni
from tests.monitoring.planted import FIRST, OTHER_WORDS, TRAINED, TRAINING, arms, imported


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_database):
    """A ranker of planted data, promoted as `mails`, in the current folder: the run's id."""
    folder = tmp_path_factory.mktemp("watched")
    with in_project(folder, empty_database):
        imported(folder / "ads", arms(TRAINING, 0))
        run_id = ni_python.train(TRAINED, folder / "ads").run_id
        assert ni("promote", run_id, "--model=mails", "--force=for a test").code == 0
        yield run_id


def later(name, *parts, **options):
    """A later version of the dataset, with further arms."""
    return imported(Path(name).absolute(), arms(TRAINING, 0), *parts, **options)


def monitored(data, *words, model="models:/mails@champion"):
    """What the command said: its exit code and JSON."""
    ended = ni("monitor", model, f"--data={data}", "--json", *words)
    assert ended.code in (0, 3), ended.stderr
    return ended.code, json.loads(ended.stdout.strip().splitlines()[-1])


def stream(found, kind, subject="", source="contents"):
    """A stream of the command's JSON."""
    (row,) = [
        row
        for row in found["streams"]
        if (row["kind"], row["subject"], row["source"]) == (kind, subject, source)
    ]
    return row


def alarms(found):
    """Kinds and subjects of the streams with an alarm."""
    return {(row["kind"], row["subject"]) for row in found["streams"] if row["alarm"]}


def test_without_a_change_the_model_is_healthy(project):
    """Exit code 0, a tag on the version, and a run with tables, plot and page."""
    code, found = monitored(later("same", arms(60, TRAINING)))
    assert (code, found["healthy"], found["to_do"], found["reasons"]) == (0, True, [], [])
    assert found["contents"] == 120
    accuracy = stream(found, "accuracy")
    assert accuracy["observations"] == 60
    assert accuracy["now"] > accuracy["promised"] > 0.5
    assert stream(found, "accuracy", "mail")["observations"] == 30
    assert stream(found, "missing", "text")["now"] == 0
    version = open_store().client.get_model_version("mails", "1")
    assert version.tags["ni.health"] == "healthy"
    assert version.tags["ni.health_at"].endswith("+00:00")
    run = read_run(open_store(), found["run_id"])
    assert run.experiment_name == "monitor"
    assert run.tags["ni.monitored_run"] == project
    assert run.metrics["monitor/accuracy"] == pytest.approx(accuracy["now"])
    course = read_table_artifact(open_store(), run.run_id, "monitor/course.parquet")
    assert (course["stream"] == accuracy["stream"]).sum() == 60
    page = read_artifact(open_store(), run.run_id, "monitor/report.html").decode()
    assert "Nothing is to be done" in page
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "")
    assert read_artifact(open_store(), run.run_id, "plots/monitor.png").startswith(b"\x89PNG")


def test_nothing_new_is_no_drift(project):
    """The dataset of the training itself has nothing to judge by."""
    code, found = monitored("ads")
    assert (code, found["contents"]) == (0, 0)
    assert stream(found, "accuracy")["now"] is None


@pytest.mark.usefixtures("project")
def test_a_domain_that_was_never_seen_is_distrusted():
    """It is named; its contents raise no other alarm."""
    code, found = monitored(later("place", arms(40, TRAINING), arms(20, 140, place="shop window")))
    assert (code, found["to_do"]) == (3, ["distrust domain shop window"])
    assert found["reasons"] == [
        "The model never saw the domain shop window, which has 40 new contents."
    ]
    assert alarms(found) == set()
    tags = open_store().client.get_model_version("mails", "1").tags
    assert tags["ni.health"] == "distrust domain shop window"


@pytest.mark.usefixtures("project")
def test_a_few_contents_of_a_new_domain_are_not_told_yet():
    """A misspelt domain is no reason to act."""
    code, found = monitored(later("typo", arms(30, TRAINING), arms(1, 130, place="wbe")))
    assert (code, found["to_do"]) == (0, [])


@pytest.mark.usefixtures("project")
def test_texts_of_another_kind_ask_for_training():
    """They are far from training's by the encoder's own embedding, since the first of them."""
    code, found = monitored(later("alien", arms(30, TRAINING), arms(40, 130, words=OTHER_WORDS)))
    assert code == 3
    assert "retrain" in found["to_do"]
    assert ("far", "text") in alarms(found)
    far = stream(found, "far", "text")
    assert far["alarm"] > str(FIRST + 130)
    assert str(FIRST + 125) <= far["since"] <= str(FIRST + 135)
    assert any(
        reason.startswith("Text far from training's:") and far["since"] in reason
        for reason in found["reasons"]
    )


@pytest.mark.usefixtures("project")
def test_outcomes_that_turn_round_are_an_alarm_of_accuracy():
    """Inputs and predictions are as they were."""
    code, found = monitored(later("turned", arms(20, TRAINING), arms(40, 120, turned=True)))
    assert code == 3
    assert found["to_do"][0] == "retrain"
    assert ("accuracy", "") in alarms(found)
    assert not any(kind != "accuracy" for kind, _ in alarms(found))
    assert stream(found, "accuracy")["now"] < 0.5
    assert str(FIRST + 120) <= stream(found, "accuracy")["alarm"] < str(FIRST + 160)
    assert found["reasons"][0].startswith("Pairs of arms ordered rightly: 0")


@pytest.mark.usefixtures("project")
def test_outcomes_that_turn_round_in_one_domain_put_that_in_doubt():
    """By its name; the other domain is not."""
    mails = arms(120, TRAINING, turned=True)
    mails = mails[mails["place"] == "mail"]
    web = arms(120, TRAINING)
    _, found = monitored(later("halves", mails, web[web["place"] == "web"]))
    assert "distrust domain mail" in found["to_do"]
    assert "distrust domain web" not in found["to_do"]


@pytest.mark.usefixtures("project")
def test_levels_that_were_never_seen_and_missing_texts_ask_for_training():
    """Both are named with their column or modality."""
    changed = arms(40, TRAINING, device="watch")
    changed["subject"] = None
    _, found = monitored(later("inputs", changed))
    assert {("unknown", "device"), ("missing", "text")} <= alarms(found)
    said = " ".join(found["reasons"])
    assert "Levels of device never seen in training: 1 since" in said
    assert "Inputs without text: 1 since" in said


@pytest.mark.usefixtures("project")
def test_contents_without_a_day_are_left_out_and_counted():
    """And a dataset without any day is refused with the remedy."""
    undated = arms(5, TRAINING)
    undated["day"] = None
    _, found = monitored(later("undated", undated, arms(5, 110)))
    assert found["contents"] == 10
    assert found["notes"] == [
        "10 contents that the model did not have are left out, as their day is not known."
    ]
    ended = ni("monitor", "models:/mails/1", f"--data={later('dayless', undated, day=None)}")
    assert ended.code == 1
    assert "`ni data import table --day COLUMN`" in ended.stderr


@pytest.mark.usefixtures("project")
def test_a_dataset_without_the_models_own_contents_says_what_is_not_watched():
    """Predictions and accuracy are, by what the run recorded."""
    _, found = monitored(imported(Path("only").absolute(), arms(20, TRAINING)))
    assert {row["kind"] for row in found["streams"]} == {
        "higher", "lower", "wider", "narrower", "accuracy",
    }  # fmt: skip
    assert "Inputs are not watched" in found["notes"][0]


@pytest.mark.usefixtures("project")
def test_contents_with_other_inputs_are_refused():
    """Else every training content would count as new, and the model as very good."""
    renamed = arms(TRAINING, 0).assign(device="tablet")
    ended = ni("monitor", "models:/mails/1", f"--data={imported(_here('other'), renamed)}")
    assert ended.code == 1
    assert "but with other inputs" in ended.stderr


def _here(name):
    return Path(name).absolute()


def write_log(place, run_id, days, *, unknown=None, shadow=False, model_run=None, requests=20):
    """Log predictions of some days as they are where nothing has changed."""
    rng = np.random.default_rng(0)
    rates = read_table_artifact(open_store(), run_id, "predictions/test.parquet")["prediction"]
    for day in range(days):
        when = pd.Timestamp(str(FIRST + 200 + day), tz="UTC") + pd.Timedelta(hours=5)
        rows = pd.DataFrame(
            {
                "time": [when] * requests,
                "model_run": model_run or run_id,
                "shadow": shadow,
                "prediction": rng.choice(rates, requests),
                "input_key": [f"{day}-{row}" for row in range(requests)],
                "unknown": unknown,
                "missing": None,
            }
        )
        write_part(place, log_table(rows), now=when.to_pydatetime())


def test_logged_predictions_are_watched_by_day(project, tmp_path):
    """Those of this model that people saw; three days of them are no reason for an alarm."""
    write_log(tmp_path / "log", project, 3)
    write_log(tmp_path / "log", project, 3, shadow=True)
    write_log(tmp_path / "log", project, 3, model_run="0" * 32)
    code, found = monitored("ads", f"--log={tmp_path / 'log'}")
    assert (code, found["logged"]) == (0, 60)
    assert stream(found, "higher", source="log")["observations"] == 3
    assert stream(found, "missing", "text", source="log")["now"] == 0


def test_levels_that_served_inputs_bring_are_an_alarm(project, tmp_path, monkeypatch):
    """In the log that the environment names, within two weeks."""
    write_log(tmp_path / "log", project, 14, unknown="place,device")
    monkeypatch.setenv("NI_LOG_PREDICTIONS", str(tmp_path / "log"))
    code, found = monitored("ads")
    assert code == 3
    assert stream(found, "unknown", "device", source="log")["alarm"]
    assert "Levels of device never seen in training (log): 1 since" in found["reasons"][0]


def test_what_the_log_has_is_not_scored_again(project, tmp_path):
    """Its predictions count, even where they are others; of ten tests it has five."""
    data = later("scored", arms(10, TRAINING))
    dataset = Dataset.open(data)
    new = np.flatnonzero(~dataset.content_id.isin(arms(TRAINING, 0)["id"]))
    model = ni_python.open_model(project)
    keys = prediction_keys(dataset.inputs(new), model.regressor.roles)
    rows = pd.DataFrame(
        {
            "time": pd.Timestamp("2026-05-01", tz="UTC"),
            "model_run": project,
            "shadow": False,
            "prediction": [0.1 if "Free" in name else 0.2 for name in dataset.content_id[new]],
            "input_key": keys,
        }
    )
    write_part(tmp_path / "log", log_table(rows.iloc[:10]))
    scored = []
    _, health = monitor_model(
        open_store(), project, str(data), log=str(tmp_path / "log"),
        on_scored=lambda done, total: scored.append(done),
    )  # fmt: skip
    assert sum(scored) == 10
    (accuracy,) = [f for f in health.watched if f.stream.label == "pairs of arms ordered rightly"]
    assert accuracy.now == 0.5


def test_python_says_the_same(project):
    """A frame of streams, the course, and what is to be done."""
    data = later("python", arms(20, TRAINING), arms(40, 120, turned=True))
    health = ni_python.open_model("models:/mails/1").monitor(data)
    assert not health.healthy
    assert health.to_do[0] == "retrain"
    assert {"stream", "usual", "promised", "now", "alarm", "since"} <= set(health.streams)
    assert {"stream", "day", "log10_e"} == set(health.course)
    assert "To do: retrain" in repr(health)
    assert "data:image/png" in health._repr_html_()
    assert read_run(open_store(), health.run_id).tags["ni.monitored_run"] == project


def test_a_tolerance_that_is_none_is_refused():
    """With its name and value."""
    with pytest.raises(ni_python.NiError, match="share_tolerance < 1 must"):
        MonitorConfig(share_tolerance=1.5)

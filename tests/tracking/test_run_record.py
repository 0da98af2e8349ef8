"""Run records: what they hold and how they end."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from click.testing import CliRunner

from ni_platform.cli.train import command as train
from ni_platform.errors import BusyError, ConfigError, NiError, TrackingError
from ni_platform.evaluation_record import record_metrics
from ni_platform.experiment_config import load_experiment, of_run
from ni_platform.metrics.intervals import Estimate
from ni_platform.overrides import to_dict
from ni_platform.registry.model_source import resolve_model
from ni_platform.tracking.limits import flatten_parameters
from ni_platform.tracking.run_claim import interrupted_run, run_holder
from ni_platform.tracking.run_queries import (
    find_runs,
    list_runs,
    read_artifact,
    read_run,
    read_table_artifact,
)
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store


def test_everything_comes_back() -> None:
    """Parameters, tags, metrics and artifacts of a run are read back as they were logged."""
    parameters = {"model": {"kind": "neural_insights", "text": None}, "training": {"epochs": 3}}
    with RunRecord.start(
        open_store(), "planted", "first", parameters, {"ni.dataset": "d", "none": None}
    ) as run:
        for step in range(3):
            run.log_metrics({"train/loss": 1.0 / (step + 1)}, step)
        record_metrics(
            run,
            {
                "test": {
                    "rmse": Estimate(0.5, 0.4, 0.6),
                    "r2": Estimate(math.nan, math.nan, math.nan),
                }
            },
        )
        run.log_table(pd.DataFrame({"a": [1, 2]}), "predictions/test.parquet")
        run.log_table(pd.DataFrame({"a": [1, 2]}), "table.csv")
        run.log_figure(plt.figure(), "plots/calibration.png")
        run.log_json({"a": "ü"}, "config.json")
    summary = read_run(open_store(), run.run_id)
    assert summary.status == "FINISHED"
    assert (summary.run_name, summary.experiment_name) == ("first", "planted")
    assert summary.parameters == {
        "model.kind": "neural_insights",
        "model.text": "null",
        "training.epochs": "3",
    }
    assert summary.metrics == {
        "train/loss": pytest.approx(1 / 3),
        "test/rmse": 0.5,
    }
    assert summary.tags["ni.dataset"] == "d"
    assert summary.tags["ni.status"] == "finished"
    assert "none" not in summary.tags
    assert read_table_artifact(open_store(), run.run_id, "predictions/test.parquet")[
        "a"
    ].tolist() == [1, 2]
    assert read_artifact(open_store(), run.run_id, "table.csv").decode() == "a\n1\n2\n"
    assert '"ü"' in read_artifact(open_store(), run.run_id, "config.json").decode()
    assert len(read_artifact(open_store(), run.run_id, "plots/calibration.png")) > 100


def test_a_run_that_names_no_dataset_is_repeated_on_one_that_is_given() -> None:
    """As that of a table; without one the remedy is told."""
    with RunRecord.start(open_store(), "planted") as run:
        run.log_json(to_dict(load_experiment("baselines.glm")), "config.json")
    assert of_run(open_store(), run.run_id) == (load_experiment("baselines.glm"), None)
    with pytest.raises(ConfigError, match="name its folder with --data DIR"):
        CliRunner().invoke(train, ["--from-run", run.run_id], catch_exceptions=False)
    given = ["--from-run", run.run_id, "--data", "folder", "--print-config"]
    assert '"baselines.glm"' in CliRunner().invoke(train, given, catch_exceptions=False).output


def test_a_config_of_an_earlier_version_is_read() -> None:
    """It is JSON, and calls a metric by a longer name."""
    config = to_dict(load_experiment("neural_insights.text_small"))
    assert config["training"]["monitor"] == "pairwise_within"
    config["training"]["monitor"] = "pairwise_accuracy_within_tests"
    with RunRecord.start(open_store(), "planted") as run:
        run.log_json(config, "config.json")
    assert of_run(open_store(), run.run_id)[0] == load_experiment("neural_insights.text_small")


def test_more_than_one_request_holds() -> None:
    """2,500 metrics, 250 parameters and 250 tags are stored although one request takes fewer."""
    with RunRecord.start(
        open_store(),
        "planted",
        parameters={f"p{i}": i for i in range(250)},
        tags={f"t{i}": i for i in range(250)},
    ) as run:
        run.log_metrics({f"m{i}": float(i) for i in range(2500)})
    summary = read_run(open_store(), run.run_id)
    assert summary.parameters == {f"p{i}": str(i) for i in range(250)}
    assert summary.metrics == {f"m{i}": float(i) for i in range(2500)}
    assert all(summary.tags[f"t{i}"] == str(i) for i in range(250))


def test_long_values_are_cut_where_mlflow_would_refuse() -> None:
    """A parameter or tag longer than MLflow takes is cut and the run goes on."""
    with RunRecord.start(
        open_store(), "planted", parameters={"p": "x" * 9000}, tags={"t": "y" * 9000}
    ) as run:
        pass
    summary = read_run(open_store(), run.run_id)
    assert summary.parameters["p"] == "x" * 5999 + "…"
    assert summary.tags["t"] == "y" * 8000


def test_flatten_parameters() -> None:
    """Nested mappings become dotted names; lists and None stay readable as JSON."""
    assert flatten_parameters({"a": {"b": {"c": 1}, "d": {}}, "e": [1, 2], "f": "x"}) == {
        "a.b.c": "1",
        "a.d": "{}",
        "e": "[1, 2]",
        "f": "x",
    }


def test_failed_run_keeps_what_it_had() -> None:
    """An error marks run and open stage FAILED, with its message and a defect's traceback."""
    with pytest.raises(ZeroDivisionError), RunRecord.start(open_store(), "planted") as run:  # noqa: PT012
        run.log_metrics({"train/loss": 1.0})
        stage = run.child("image")
        raise ZeroDivisionError("planted defect")
    summary = read_run(open_store(), run.run_id)
    assert summary.status == "FAILED"
    assert summary.tags["ni.status"] == "failed"
    assert summary.tags["ni.error"] == "ZeroDivisionError: planted defect"
    assert summary.metrics == {"train/loss": 1.0}
    assert "planted defect" in read_artifact(open_store(), run.run_id, "error.txt").decode()
    assert read_run(open_store(), stage.run_id).status == "FAILED"


def test_users_error_needs_no_traceback() -> None:
    """An error that is meant for the user is recorded by its message alone."""
    with pytest.raises(NiError), RunRecord.start(open_store(), "planted") as run:
        raise NiError("clicks above impressions")
    assert read_run(open_store(), run.run_id).tags["ni.error"] == "clicks above impressions"
    with pytest.raises(TrackingError, match=r"has no artifact 'error.txt'; it has none"):
        read_artifact(open_store(), run.run_id, "error.txt")


def test_interrupted_run_is_killed() -> None:
    """Ctrl-C marks run and stage KILLED and goes on to its caller."""
    with (
        pytest.raises(KeyboardInterrupt),
        RunRecord.start(open_store(), "planted") as run,
        run.child("text") as stage,
    ):
        raise KeyboardInterrupt
    assert [read_run(open_store(), r.run_id).status for r in (run, stage)] == ["KILLED", "KILLED"]
    assert read_run(open_store(), run.run_id).tags["ni.status"] == "interrupted"


_SLEEP = """
import sys, time
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
with RunRecord.start(open_store(), "planted") as run:
    run.log_metrics({"train/loss": 1.0})
    print(run.run_id, flush=True)
    time.sleep(600)
"""


def test_sigterm_is_an_interruption() -> None:
    """A run whose process is told to stop (a cluster's SIGTERM) is KILLED, with what it had."""
    with subprocess.Popen(
        [sys.executable, "-c", _SLEEP], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    summary = read_run(open_store(), run_id)
    assert (summary.status, summary.metrics) == ("KILLED", {"train/loss": 1.0})


def test_sigterm_handler_is_put_back() -> None:
    """Outside of a run SIGTERM does what it did before."""
    before = signal.getsignal(signal.SIGTERM)
    with RunRecord.start(open_store(), "planted") as run, run.child("text"):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_resumed_run_goes_on() -> None:
    """Resuming an interrupted run continues the same run and the same stage."""
    run = RunRecord.start(open_store(), "planted", parameters={"a": 1})
    with pytest.raises(KeyboardInterrupt), run:  # noqa: PT012
        stage = run.child("text")
        stage.log_metrics({"train/loss": 2.0}, 0)
        raise KeyboardInterrupt
    with RunRecord.start(
        open_store(), "planted", parameters={"a": 1, "b": 2}, resume=run.run_id
    ) as again:
        assert read_run(open_store(), run.run_id).status == "RUNNING"
        assert "ni.error" not in read_run(open_store(), run.run_id).tags
        with again.child("text") as same_stage:
            same_stage.log_metrics({"train/loss": 1.0}, 1)
    assert (again.run_id, same_stage.run_id) == (run.run_id, stage.run_id)
    assert read_run(open_store(), run.run_id).status == "FINISHED"
    assert read_run(open_store(), run.run_id).parameters == {"a": "1", "b": "2"}
    assert read_run(open_store(), stage.run_id).metrics == {"train/loss": 1.0}


def test_a_living_run_is_not_resumed() -> None:
    """Whoever would go on with a run that is being worked on is told by which process."""
    with RunRecord.start(open_store(), "planted") as run:
        with pytest.raises(BusyError, match=rf"held by process {os.getpid()} of .* since 20"):
            RunRecord.start(open_store(), "planted", resume=run.run_id)
        with pytest.raises(BusyError, match="held by process"):
            RunRecord.existing(open_store(), run.run_id).alone()
        with pytest.raises(BusyError, match="held by process"):
            interrupted_run(open_store(), {"ni.level": "run"})
        said: list[str] = []
        assert interrupted_run(open_store(), {"ni.level": "run"}, said.append) is None
        assert len(said) == 1
    assert read_run(open_store(), run.run_id).status == "FINISHED"
    assert read_run(open_store(), run.run_id).tags["ni.held_by"] == ""


def test_a_run_of_a_killed_process_is_resumed() -> None:
    """A run that its machine left RUNNING is nobody's, whatever it says of itself."""
    with subprocess.Popen(
        [sys.executable, "-c", _SLEEP], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        with pytest.raises(BusyError, match=rf"held by process {process.pid} of"):
            RunRecord.start(open_store(), "planted", resume=run_id)
        process.kill()
        process.wait()
    assert read_run(open_store(), run_id).status == "RUNNING"
    assert interrupted_run(open_store(), {"ni.level": "run"}) == run_id
    with RunRecord.start(open_store(), "planted", resume=run_id):
        pass


def test_a_run_of_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life of another machine's process hold a run while they are renewed, no longer."""
    run = RunRecord.start(open_store(), "planted")
    store = open_store()
    holder = {"host": "far away", "pid": os.getpid(), "since": "2026-01-01T00:00:00+00:00"}

    def sign(age: float) -> None:
        seen = time.time() - age
        store.client.set_tag(run.run_id, "ni.held_by", json.dumps(holder | {"seen": seen}))

    sign(age=120)  # it ended two minutes ago
    assert run_holder(store, run.run_id) is None
    sign(age=1)
    timer = threading.Timer(0.2, sign, [0])
    timer.start()
    found = run_holder(store, run.run_id)
    timer.join()
    assert found is not None
    assert str(found) == f"process {os.getpid()} of far away since 2026-01-01T00:00:00+00:00"
    monkeypatch.setattr("ni_platform.tracking.run_claim.SECONDS_TO_EXPIRE", 0.5)
    assert run_holder(store, run.run_id) is None, "it was not seen again"


def test_signs_of_life_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of a run renews its sign until it ends."""
    monkeypatch.setattr("ni_platform.tracking.run_claim.SECONDS_BETWEEN_SIGNS", 0.05)
    with RunRecord.start(open_store(), "planted") as run:
        first = read_run(open_store(), run.run_id).tags["ni.held_by"]
        until = time.monotonic() + 60
        while read_run(open_store(), run.run_id).tags["ni.held_by"] == first:
            assert time.monotonic() < until


@pytest.mark.parametrize("value", ["it's", 'a "b"', 'it\'s a "b"', "back\\slash\\", "50%_[x]"])
def test_any_text_finds_its_runs(value: str) -> None:
    """Quotes, backslashes and wildcards in a tag or experiment are letters like others."""
    wanted = RunRecord.start(
        open_store(), "planted", tags={"ni.place": value, "ni.experiment": value}
    )
    other = value.replace("'", "x").replace("\\", "x").replace("%", "x").replace('"', "x")
    RunRecord.start(open_store(), "planted", tags={"ni.place": other, "ni.experiment": other})
    assert [run.run_id for run in find_runs(open_store(), {"ni.place": value})] == [wanted.run_id]
    assert list(list_runs(open_store(), value)["run_id"]) == [wanted.run_id]
    assert wanted.child(value).run_id == wanted.child(value).run_id


def test_resuming_with_other_parameters_is_refused() -> None:
    """A resumed run cannot become another experiment."""
    with RunRecord.start(open_store(), "planted", parameters={"training": {"epochs": 1}}) as run:
        pass
    with pytest.raises(TrackingError, match=r"training.epochs = 1, now it is 2"):
        RunRecord.start(
            open_store(), "planted", parameters={"training": {"epochs": 2}}, resume=run.run_id
        )
    assert read_run(open_store(), run.run_id).status == "FINISHED"


def test_list_runs() -> None:
    """The list holds each run once, newest first, stages only when asked."""
    for name, value in (("old", 0.5), ("new", 0.25)):
        with RunRecord.start(open_store(), "planted", name, {"a": {"b": name}}) as run:
            run.log_metrics({"test/rmse": value})
            with run.child("text") as stage:
                stage.log_metrics({"train/loss": 3.0})
        time.sleep(0.01)  # start times are whole milliseconds
    with RunRecord.start(
        open_store(), "other", "elsewhere", tags={"ni.experiment": "planted.small"}
    ):
        pass
    table = list_runs(open_store(), "planted", parameters=["a.b"])
    assert table["run_name"].tolist() == ["new", "old"]
    assert table["test/rmse"].tolist() == [0.25, 0.5]
    assert table["a.b"].tolist() == ["new", "old"]
    assert "train/loss" not in table.columns
    assert list_runs(open_store(), limit=1)["run_name"].tolist() == ["elsewhere"]
    assert len(list_runs(open_store())) == 3
    assert len(list_runs(open_store(), stages=True)) == 5
    assert list_runs(open_store(), "planted.small")["run_name"].tolist() == ["elsewhere"]
    with pytest.raises(TrackingError, match="no run of the experiment 'absent'"):
        list_runs(open_store(), "absent")


def test_list_runs_of_an_empty_store() -> None:
    """Without runs the list is empty and has its columns."""
    table = list_runs(open_store())
    assert len(table) == 0
    assert table.columns[0] == "run_id"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0" * 32, "There is no run"),
        ("models:/absent@champion", "(?i)registered model.*absent.*not found"),
        ("models:/absent", "names no version"),
        ("nonsense", "names no model.*models:/NAME@champion"),
        ("runs:/" + "0" * 32 + "/model", "There is no run"),
    ],
)
def test_model_that_is_not_there(name: str, message: str) -> None:
    """A model that does not exist is one error that says what a name looks like."""
    with pytest.raises(TrackingError, match=message):
        resolve_model(open_store(), name)


def test_run_without_model() -> None:
    """A run that logged no model is told apart from one that does not exist."""
    with RunRecord.start(open_store(), "planted") as run:
        pass
    with pytest.raises(TrackingError, match="logged no model"):
        resolve_model(open_store(), run.run_id)


def test_parallel_processes_share_a_store(state: Path) -> None:
    """Several processes that start runs of a new experiment at once all get their record."""
    script = (
        "from ni_platform.tracking.run_record import RunRecord\n"
        "from ni_platform.tracking.store import open_store\n"
        "with RunRecord.start(open_store(), 'brand new') as run:\n"
        "    run.log_metrics({'a': 1.0})\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], env=os.environ.copy()) for _ in range(2)
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert list_runs(open_store(), "brand new")["a"].tolist() == [1.0, 1.0]

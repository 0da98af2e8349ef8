"""A served model writes down what it predicted, and answers as if it did not."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import boto3
import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError
from ni_platform.models.regressor import Regressor, load_regressor
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.prediction_log.keys import prediction_keys
from ni_platform.prediction_log.table import dropped, read_log
from ni_platform.registry.logged_model import log_model
from ni_platform.registry.model_source import model_folder, resolve_model
from ni_platform.registry.served_log import SHADOW, VARIABLE, ServedLog
from ni_platform.registry.served_pictures import VARIABLE as PICTURES
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store

Logged = tuple[str, str]
"""Run id and model URI."""
Stop = Callable[[], None]


@pytest.fixture
def champion(dataset: Dataset, scorer_folder: Path) -> Logged:
    """The tiny regressor as a run's model."""
    return _logged(dataset, scorer_folder)


@pytest.fixture
def challenger(dataset: Dataset, scorer: Scorer, tmp_path: Path) -> Logged:
    """Another regressor of the same columns, as version 1 of `ads`, its challenger."""
    build_scorer(scorer.config, dataset, np.arange(60), seed=1).save(tmp_path / "other")
    run, uri = _logged(dataset, tmp_path / "other")
    client = open_store().client
    client.create_registered_model("ads")
    client.create_model_version("ads", uri, run, model_id=uri.removeprefix("models:/"))
    client.set_registered_model_alias("ads", "challenger", "1")
    return run, uri


def _logged(dataset: Dataset, folder: Path) -> Logged:
    with RunRecord.start(open_store(), "planted") as run:
        uri = log_model(run, folder, dataset.inputs([0, 1]))
    return run.run_id, uri


@pytest.fixture
def ask(
    champion: Logged,
    dataset: Dataset,
    serve: Callable[[list[str], str], subprocess.Popen],
    port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[Callable[[pd.DataFrame], list[float]], Stop]]:
    """Start `mlflow models serve` in some environment; give what asks it, and what stops it."""

    def started(**environment: str) -> tuple[Callable[[pd.DataFrame], list[float]], Stop]:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", open_store().uri)
        monkeypatch.setenv(PICTURES, str(dataset.images_root))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        words = ["models", "serve", "--model-uri", champion[1], "--env-manager", "local"]
        words += ["--host", "127.0.0.1", "--port", str(port)]
        process = serve([sys.executable, "-m", "mlflow", *words], f"http://127.0.0.1:{port}/health")

        def rates(frame: pd.DataFrame) -> list[float]:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/invocations",
                json.dumps(
                    {"dataframe_records": json.loads(frame.to_json(orient="records"))}
                ).encode(),
                {"content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["predictions"]

        def stop() -> None:
            both = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
            process.terminate()
            process.wait(60)
            # The command ends at once; the server, its child, in order.
            assert not psutil.wait_procs(both, 60)[1]

        return rates, stop

    return started


def _regressor(logged: Logged) -> Regressor:
    return load_regressor(resolve_model(open_store(), logged[1]))


def test_a_server_logs_what_it_answers_and_what_its_shadow_would(
    ask: Callable, champion: Logged, challenger: Logged, dataset: Dataset, tmp_path: Path
) -> None:
    """Answers are the model's own; rows hold keys, what was missing or new, and both models."""
    rates, stop = ask(**{VARIABLE: str(tmp_path / "log"), SHADOW: "models:/ads@challenger"})
    frame = dataset.inputs([7, 8, 9])
    frame["weekday"] = [1, 1, 99]
    frame["headline"] = [frame["headline"][0], None, frame["headline"][2]]
    answers = rates(frame)
    assert answers == pytest.approx(_regressor(champion).predict(frame).tolist(), rel=1e-6)
    second = rates(frame.head(1))
    stop()

    log = read_log(tmp_path / "log")
    assert dropped(tmp_path / "log") == 0
    assert log["request"].nunique() == 2
    assert set(log["source"]) == {"served"}
    seen, shadow = log[~log["shadow"]], log[log["shadow"]]
    keys = prediction_keys(frame, _regressor(champion).roles).tolist()
    for rows in (seen, shadow):
        assert rows["input_key"].tolist() == [*keys, keys[0]]
        assert rows["missing"].tolist() == ["", "text", "", ""]
        assert rows["unknown"].tolist() == ["", "", "weekday", ""]
        assert rows["request"].tolist() == log["request"].drop_duplicates().repeat([3, 1]).tolist()
    assert seen["prediction"].tolist() == [*answers, *second]
    expected = _regressor(challenger).predict(frame)
    assert shadow["prediction"].tolist() == pytest.approx([*expected, expected[0]], rel=1e-6)
    assert set(seen["model"]) == {champion[1]}
    assert set(seen["model_run"]) == {champion[0]}
    assert set(shadow["model"]) == {"models:/ads/1"}
    assert set(shadow["model_run"]) == {challenger[0]}
    assert log[["content_id", "low", "high", "share", "covariance"]].isna().all(axis=None)


def test_a_server_whose_log_is_lost_answers_and_logs_later(
    ask: Callable, champion: Logged, dataset: Dataset, tmp_path: Path
) -> None:
    """A file lies where the folder was when a part is to be written; then it is gone again."""
    place = tmp_path / "log"
    rates, stop = ask(**{VARIABLE: str(place)})
    place.rmdir()
    place.write_text("in the way")
    frame = dataset.inputs([7])
    expected = pytest.approx(_regressor(champion).predict(frame).tolist(), rel=1e-6)
    assert rates(frame) == expected
    place.unlink()
    assert rates(frame) == expected
    stop()
    assert len(read_log(place)) == 2


def _opened(logged: Logged, **environment: str) -> ServedLog | None:
    folder = model_folder(open_store(), logged[1])
    return ServedLog.of_environment(_regressor(logged), folder, environment)


def test_a_log_in_s3(champion: Logged, dataset: Dataset, s3: str) -> None:
    """Over HTTP."""
    boto3.client("s3").create_bucket(Bucket="served-log")
    log = _opened(champion, **{VARIABLE: "s3://served-log/ads"})
    log.add(dataset.inputs([3]), np.array([0.25]))
    log.close()
    found = read_log("s3://served-log/ads")
    assert found["prediction"].tolist() == [0.25]
    assert found["model_run"].tolist() == [champion[0]]


@pytest.mark.parametrize("shadow", ["models:/nowhere@challenger", "narrower"])
def test_a_shadow_that_fails_is_told_and_hurts_nothing(
    shadow: str, champion: Logged, dataset: Dataset, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """One that is not there, and one that reads a column which requests do not have."""
    frame, words = dataset.inputs([3, 4]), "nowhere"
    if shadow == "narrower":
        shadow, words = str(resolve_model(open_store(), champion[1])), "the column 'price'"
        frame = frame.drop(columns="price")
    log = _opened(champion, **{VARIABLE: str(tmp_path), SHADOW: shadow})
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            log.add(frame, np.array([0.1, 0.2]))
        log.close()
    found = read_log(tmp_path)
    assert found["prediction"].tolist() == [0.1, 0.2] * 3
    assert not found["shadow"].any()
    told = [text for text in map(logging.LogRecord.getMessage, caplog.records) if SHADOW in text]
    assert len(told) == 1
    assert words in told[0]
    assert dropped(tmp_path) == 0


def test_pictures_are_known_by_their_bytes(
    champion: Logged, dataset: Dataset, tmp_path: Path
) -> None:
    """As a path in the dataset and as sent along."""
    frame = dataset.inputs([3])
    sent = frame.assign(image=[Path(frame["image"][0]).read_bytes()])
    log = _opened(champion, **{VARIABLE: str(tmp_path)})
    for asked in (frame, sent):
        log.add(asked, np.array([0.1]))
    log.close()
    first, second = read_log(tmp_path)["input_key"]
    assert first == second


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({VARIABLE: "log"}, "must name an absolute folder .* but is 'log' .it is neither."),
        ({VARIABLE: "s3://"}, "must name an absolute folder .* but is 's3://'"),
        ({VARIABLE: "s3:///ads"}, "but is 's3:///ads'"),
        ({VARIABLE: "/dev/null/log"}, "but is '/dev/null/log' .Not a directory."),
        ({SHADOW: "models:/ads@challenger"}, f"{VARIABLE} is not set"),
    ],
)
def test_a_variable_that_cannot_be_is_told_at_the_start(
    environment: dict[str, str], said: str, champion: Logged
) -> None:
    """Not with the first request."""
    with pytest.raises(ConfigError, match=said):
        _opened(champion, **environment)


def test_a_model_in_a_notebook_logs_nothing(
    champion: Logged, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a server does, whatever the environment says."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "log"))
    monkeypatch.setenv(PICTURES, str(dataset.images_root))
    mlflow.pyfunc.load_model(champion[1]).predict(dataset.inputs([3]))
    assert not (tmp_path / "log").exists()
    assert _opened(champion) is None

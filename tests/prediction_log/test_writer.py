"""The writer of a server's log: what is asked is logged in time, or counted, and nobody waits."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import boto3
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ni_platform.prediction_log import writer as module
from ni_platform.prediction_log.table import dropped, log_table, read_log
from ni_platform.prediction_log.writer import PredictionWriter, Request
from tests.browser import wait_for

NEVER = 3600.0
"""Seconds that no test lasts."""


def request(*rates: float, text: str = "a") -> Request:
    """So many inputs, and what was answered."""
    return Request(frame=pd.DataFrame({"text": [text] * len(rates)}), predictions=np.array(rates))


def rows_of(asked: Request) -> pa.Table:
    """Rows that hold the rates."""
    return log_table(pd.DataFrame({"time": asked.time, "prediction": asked.predictions}))


def rates(place: Path | str) -> list[float]:
    """What is logged, sorted."""
    return sorted(read_log(place)["prediction"])


def parts(place: Path) -> int:
    """Files of the log."""
    return len(list(place.rglob("*.parquet")))


def test_a_part_is_written_when_enough_rows_have_gathered(tmp_path: Path) -> None:
    """Two requests of two rows are a part of three rows or more; the fifth row waits."""
    log = PredictionWriter(str(tmp_path), rows_of, rows=3, seconds=NEVER)
    log.put(request(0.1, 0.2))
    log.put(request(0.3, 0.4))
    wait_for(lambda: parts(tmp_path) == 1, 30)
    assert rates(tmp_path) == [0.1, 0.2, 0.3, 0.4]
    log.put(request(0.5))
    log.close()
    assert rates(tmp_path) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert dropped(tmp_path) == 0


def test_a_part_is_written_when_its_first_row_is_old(tmp_path: Path) -> None:
    """Without further requests, and before the end."""
    log = PredictionWriter(str(tmp_path), rows_of, seconds=0.05)
    log.put(request(0.1))
    wait_for(lambda: parts(tmp_path) == 1, 30)
    log.close()
    assert rates(tmp_path) == [0.1]


def test_what_finds_no_room_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Requests return while rows are held up; those dropped stand in the log, told once."""
    go_on = threading.Event()

    def held_up(asked: Request) -> pa.Table:
        go_on.wait()
        return rows_of(asked)

    log = PredictionWriter(str(tmp_path), held_up, seconds=NEVER, most_rows=3)
    log.put(request(0.1))
    log.put(request(0.2, 0.3))
    log.put(request(0.4, 0.5))
    log.put(request(0.6))
    go_on.set()
    log.close()
    assert rates(tmp_path) == [0.1, 0.2, 0.3]
    assert dropped(tmp_path) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"Predictions cannot be logged in {tmp_path} (more is asked than can be written): 2 were "
        "dropped since the last such message, 3 wait."
    ]


def test_a_request_larger_than_all_room_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its rows or its bytes, though nothing else was ever asked."""
    monkeypatch.setattr(module, "MOST_BYTES", 5)
    log = PredictionWriter(str(tmp_path), rows_of, seconds=0.05, most_rows=2)
    log.put(request(0.1, 0.2, 0.3))
    log.put(request(0.4, text="123456"))
    wait_for(lambda: parts(tmp_path) > 0 and dropped(tmp_path) == 4, 30)
    log.put(request(0.5, text="12345"))
    log.close()
    assert rates(tmp_path) == [0.5]


def test_what_cannot_be_a_row_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The requests beside it are logged."""

    def picky(asked: Request) -> pa.Table:
        if asked.predictions[0] == 0.2:
            raise ValueError("no such row")
        return rows_of(asked)

    log = PredictionWriter(str(tmp_path), picky, seconds=NEVER)
    for rate in (0.1, 0.2, 0.3):
        log.put(request(rate))
    log.close()
    assert rates(tmp_path) == [0.1, 0.3]
    assert dropped(tmp_path) == 1
    assert "ValueError: no such row" in caplog.text


def test_a_place_that_fails_for_a_while_gets_the_rows_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As many as are held; the others are counted."""
    place = tmp_path / "log"
    place.write_text("a file where the folder should be")
    log = PredictionWriter(str(place), rows_of, rows=1, seconds=0.05, most_rows=2)
    log.put(request(0.1))
    log.put(request(0.2))
    wait_for(lambda: "cannot be logged" in caplog.text, 30)
    log.put(request(0.3))
    place.unlink()
    wait_for(lambda: place.is_dir() and parts(place) > 0 and dropped(place) == 1, 30)
    log.close()
    assert rates(place) == [0.1, 0.2]


def test_what_is_lost_at_the_end_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A place that fails to the end has no place for a count."""
    place = tmp_path / "log"
    place.write_text("a file where the folder should be")
    log = PredictionWriter(str(place), rows_of, seconds=NEVER)
    log.put(request(0.1, 0.2))
    log.close()
    assert "At its end, 2 predictions are not logged" in caplog.text
    log.put(request(0.3))  # raises nothing


def test_each_process_writes_its_own(tmp_path: Path) -> None:
    """A fork neither takes the parent's rows with it nor is left without a thread."""
    log = PredictionWriter(str(tmp_path), rows_of, seconds=NEVER)
    log.put(request(0.1))

    def served() -> None:
        log.put(request(0.2))
        log.close()

    child = multiprocessing.get_context("fork").Process(target=served)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert rates(tmp_path) == [0.2]
    log.close()
    assert rates(tmp_path) == [0.1, 0.2]


def test_a_process_that_ends_writes_what_it_has(tmp_path: Path) -> None:
    """Nobody closes the log."""
    script = (
        "import sys\n"
        "from tests.prediction_log.test_writer import PredictionWriter, request, rows_of\n"
        "PredictionWriter(sys.argv[1], rows_of, seconds=3600).put(request(0.1))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=120)
    assert rates(tmp_path) == [0.1]


def test_a_log_in_s3(s3: str) -> None:
    """Over HTTP."""
    boto3.client("s3").create_bucket(Bucket="logged")
    log = PredictionWriter("s3://logged/ads", rows_of, seconds=NEVER)
    log.put(request(0.1, 0.2))
    log.close()
    assert rates("s3://logged/ads") == [0.1, 0.2]
    assert dropped("s3://logged/ads") == 0


@pytest.fixture(autouse=True)
def _messages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", module.__name__)

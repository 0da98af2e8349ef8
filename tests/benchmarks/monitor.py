"""Seconds and memory of `ni monitor` on many logged predictions.

    python -m tests.benchmarks.monitor --predictions 1000000 --parts 100

A small ranker is trained first, in a folder of its own. The log is written as served models write
it, a file per part, the parts spread over the days of 100.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

import ni_platform as ni
from ni_platform.monitoring.monitoring import monitor_model
from ni_platform.prediction_log.table import log_table, read_log, write_part
from ni_platform.tracking.store import open_store
from tests.monitoring.planted import TRAINED, TRAINING, arms, imported

DAYS = 100


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--predictions", type=int, default=1_000_000)
    options.add_argument("--parts", type=int, default=100)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["NI_HOME"] = str(folder / ".ni")
        imported(folder / "ads", arms(TRAINING, 0))
        imported(folder / "later", arms(TRAINING, 0), arms(60, TRAINING))
        run_id = ni.train(TRAINED, folder / "ads").run_id
        log = folder / "log"
        write_log(log, run_id, chosen.predictions, chosen.parts)
        before = _peak()
        rows = _timed("read alone", lambda: len(read_log(log)))
        # Once without a log, so that what is imported and opened once does not count.
        store, data = open_store(), str(folder / "later")
        _timed("judge the contents alone", lambda: monitor_model(store, run_id, data))
        _, health = _timed(
            "read and judge both", lambda: monitor_model(store, run_id, data, log=str(log))
        )
    print(f"{rows:,} rows, {health.logged:,} of them the model's, verdict: {health.verdict}")
    print(f"peak memory {_peak():,.0f} MiB ({before:,.0f} MiB before)")


def write_log(place: Path, run_id: str, predictions: int, parts: int) -> None:
    """Write predictions as served models do: nine of ten of the run's model."""
    rng = np.random.default_rng(0)
    size = predictions // parts
    for part in range(parts):
        when = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(days=part * DAYS // parts, hours=1)
        own = rng.random(size) < 0.9
        rows = pd.DataFrame(
            {
                "time": [when + timedelta(seconds=second) for second in range(size)],
                "source": "served",
                "request": [f"{part}-{row // 10}" for row in range(size)],
                "model_run": np.where(own, run_id, "0" * 32),
                "model": "models:/mails/1",
                "shadow": ~own,
                "input_key": [f"{value:064x}" for value in rng.integers(0, 2**62, size)],
                "prediction": 1 / (1 + np.exp(-rng.normal(-1.8, 0.4, size))),
                "missing": rng.choice([None, "domain"], size, p=[0.98, 0.02]),
                "unknown": rng.choice([None, "device"], size, p=[0.99, 0.01]),
                "low": 0.05,
                "high": 0.4,
            }
        )
        write_part(place, log_table(rows), now=when)


def _timed(name, function):
    wall, processor = time.perf_counter(), time.process_time()
    found = function()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(
        f"{name:26s} {wall:6.1f} s by the clock, {processor:6.1f} s of processor time", flush=True
    )
    return found


def _peak() -> float:
    """Peak resident memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

"""Trials of a sweep in MLflow: what writing one costs, and reading twenty thousand.

    python -m tests.benchmarks.trial_records

Each trial has 12 parameters, three reports of four metrics and an end. `MLFLOW_TRACKING_URI` names
the store; without it, it is a new SQLite database.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from mlflow import MlflowClient

from ni_platform.tracking.run_queries import leaderboard, list_runs
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.tracking.trial_records import (
    TrialMetric,
    TrialRecords,
    TrialUpdate,
)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trials", type=int, default=20_000)
    options.add_argument("--batch", type=int, default=50, help="trials in one write")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NI_HOME"] = scratch
        client = open_store().client
        parent = RunRecord.start(open_store(), "sweeps", "sweep", tags={"ni.level": "sweep"}).run_id
        with RunRecord.start(open_store(), "sweeps", "single"):
            pass
        experiment = client.get_run(parent).info.experiment_id
        write(parent, chosen.trials, chosen.batch)
        read(client, experiment, parent)


def write(parent: str, count: int, batch: int) -> None:
    """Write all trials and print what one costs, by how many are there."""
    records = TrialRecords.of(open_store(), parent)
    source = trials(0)
    marks = sorted({100, 1000, 5000, 10_000, count} & set(range(count + 1)))
    done, wall, processor = 0, 0.0, 0.0
    for mark in marks:
        first = done
        wall, processor = time.perf_counter(), time.process_time()
        while done < mark:
            some = [next(source) for _ in range(min(batch, mark - done))]
            records.write(some)
            done += len(some)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(
            f"trials {first} to {mark}: {1000 * wall / (mark - first):.2f} ms a trial, "
            f"{1000 * processor / (mark - first):.2f} ms of them processor time of this process",
            flush=True,
        )


def read(client: MlflowClient, experiment: str, parent: str) -> None:
    """Print how long reading takes."""
    children = f"tags.`mlflow.parentRunId` = '{parent}'"
    finished = f"{children} AND attributes.status = 'FINISHED'"
    best = ["metrics.`validation/m0` ASC"]

    def pages() -> int:
        token, found = None, 0
        while True:
            page = client.search_runs([experiment], children, max_results=1000, page_token=token)
            found, token = found + len(page), page.token
            if not token:
                return found

    for name, question in {
        "search_runs, children by metric, 20": lambda: len(
            client.search_runs([experiment], children, max_results=20, order_by=best)
        ),
        "search_runs, finished children by metric, 20": lambda: len(
            client.search_runs([experiment], finished, max_results=20, order_by=best)
        ),
        "leaderboard, 20": lambda: len(
            leaderboard(open_store(), parent, "validation/m0", lower_is_better=True, limit=20)
        ),
        "list_runs, 20": lambda: len(list_runs(open_store(), limit=20)),
        "TrialRecords.of": lambda: bool(TrialRecords.of(open_store(), parent)),
        "run_ids": lambda: len(TrialRecords.of(open_store(), parent).run_ids()),
    }.items():
        seconds(name, question, repeats=5)
    seconds("search_runs, all children, pages of 1,000", pages, repeats=1)
    of_a_page(client, experiment)


def of_a_page(client: MlflowClient, experiment: str) -> None:
    """Print how long the questions take that MLflow's page of an experiment asks."""
    newest = ["attributes.start_time DESC"]

    def hundred(order: list[str]) -> list[str]:
        found = client.search_runs([experiment], max_results=100, order_by=order)
        return [run.info.run_id for run in found]

    runs = hundred(newest)
    for name, question in {
        "page: the newest 100 runs": lambda: len(hundred(newest)),
        "page: sorted by a metric": lambda: len(hundred(["metrics.`validation/m0` ASC"])),
        "page: a chart of 100 runs": lambda: sum(
            len(client.get_metric_history(run, "validation/m0")) for run in runs
        ),
    }.items():
        seconds(name, question, repeats=5)


def seconds(name: str, question: Callable[[], int], repeats: int) -> None:
    """Ask several times and print the median time."""
    took = []
    for _ in range(repeats):
        started = time.perf_counter()
        answer = question()
        took.append(time.perf_counter() - started)
    print(f"{name}: {np.median(took):.3f} s ({answer})", flush=True)


def trials(first: int) -> Iterator[TrialUpdate]:
    """Finished trials with random figures, from number `first`."""
    random = np.random.default_rng(first)
    began = 1_700_000_000.0
    number = first
    while True:
        figures: Any = random.random((3, 4)).tolist()
        yield TrialUpdate(
            number=number,
            started=began + number,
            ended=began + number + 30,
            status="FINISHED",
            parameters={f"fusion.p{i}": float(v) for i, v in enumerate(random.random(12))},
            metrics=[
                TrialMetric(name=f"validation/m{m}", value=v, step=s, time=began + number + s)
                for s, row in enumerate(figures)
                for m, v in enumerate(row)
            ],
            tags={"ni.status": "finished"},
        )
        number += 1


if __name__ == "__main__":
    main()

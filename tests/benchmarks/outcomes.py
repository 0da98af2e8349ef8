"""Did it hold? Models of the earlier A/B tests of a dataset, judged by the later ones.

    python -m tests.benchmarks.outcomes ARCHIVE.csv ranker.text_small --since 201437

The archive's packages before a week train a model; what it believes of every later test is logged
as a plan would, before the test's first day; then the later packages are added as results, and
`ni outcomes` says what came of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd

import ni_platform as ni
from ni_platform.cli.outcomes import print_outcomes
from ni_platform.data.dataset import Dataset
from ni_platform.data.importers.upworthy import import_upworthy
from ni_platform.plans.believed import believe, past_errors_of
from ni_platform.prediction_log.keys import prediction_keys
from ni_platform.prediction_log.table import log_table, write_part
from ni_platform.tracking.store import open_store


def log_beliefs(run_id: str, name: str, later: Dataset, place: Path) -> int:
    """Log what a run's model believes of each A/B test, on the day before it began."""
    model, errors = ni.open_run(run_id).model.regressor, past_errors_of(open_store(), run_id)
    rows = []
    for test, arms in later.ab_test.dropna().groupby(later.ab_test).groups.items():
        frame = later.inputs(arms.to_numpy())
        found = believe(model, frame, errors)
        day = pd.Timestamp(later.day.iloc[arms[0]], tz="UTC") - pd.Timedelta(days=1)
        rows.append(
            found.rates.assign(
                time=day,
                source="plan",
                request=str(test),
                model_run=run_id,
                model=name,
                shadow=False,
                input_key=prediction_keys(frame, model.roles),
                content_id=later.content_id.iloc[arms].to_numpy(),
                share=1 / len(arms),
                covariance=list(found.covariance_NN),
            )
        )
    write_part(place, log_table(pd.concat(rows, ignore_index=True)))
    return len(rows)


def main() -> None:
    """Print what came of it, and how long each step took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("experiments", nargs="+")
    parser.add_argument("--since", type=int, required=True, help="test_week of the first result")
    options = parser.parse_args()
    table = pd.read_csv(options.archive, dtype=str)
    first = table.groupby("clickability_test_id")["test_week"].transform("min").astype(int)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for name, part in (("early", first < options.since), ("later", first >= options.since)):
            table[part].to_csv(place / f"{name}.csv", index=False)
            import_upworthy(place / f"{name}.csv", place / name)
        later = Dataset.open(place / "later")
        for experiment in options.experiments:
            run = ni.train(experiment, place / "early")
            start = time.perf_counter()
            tests = log_beliefs(run.run_id, experiment, later, place / "log")
            print(f"{experiment}: {tests} tests believed in {time.perf_counter() - start:.0f} s")
        start = time.perf_counter()
        found = ni.outcomes(place / "later/contents.parquet", place / "early", log=place / "log")
        print(f"outcomes in {time.perf_counter() - start:.0f} s")
        print_outcomes(found.found)


if __name__ == "__main__":
    main()

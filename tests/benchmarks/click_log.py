"""Click logs counted by `ni data aggregate`, DuckDB and Polars: rows a second and peak memory.

    python -m tests.benchmarks.click_log --rows 5 50 100

Rows are in millions. All three read the same files, leave out the same robots and bad rows, and
count the rest by content and 20 attributes; each runs alone, in a process of its own. Ours also
starts Ray, lists the bad rows and writes a dataset; the others write one Parquet file. Seconds do
not include the imports, processor seconds do. Memory is the peak of the resident sizes of the
process and all below it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

CONTENTS = 10_000
ABOUT_CONTENT = {f"creative_{number}": 2 + number for number in range(15)}
AUDIENCE = {
    "age": ["10s", "20s", "30s", "40s", "50s"],
    "gender": ["female", "male"],
    "position": ["top", "side", "bottom"],
}
HOURS_PER_CONTENT = 2
GROUPS = CONTENTS * HOURS_PER_CONTENT * 5 * 2 * 3
"""At most so many combinations: a campaign runs on one weekday, at two hours."""
KEYS = ["ad", *ABOUT_CONTENT, *AUDIENCE, "weekday", "hour"]
ENGINES = ("ours", "duckdb", "polars")
_ROWS_AT_ONCE = 1_000_000
_BOTS, _BAD_ROWS = 0.02, 1e-4
_SAMPLE_SECONDS = 0.1


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=float, nargs="+", default=[5.0], help="millions")
    options.add_argument("--files", type=int, default=8)
    options.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    options.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    options.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    options.add_argument("--folder", help="where to keep the logs for another time")
    options.add_argument("--count", nargs=2, metavar=("ENGINE", "LOGS"), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.count:
        count(*chosen.count)
        return
    print(
        f"{'million rows':>12}   engine   seconds   rows/s   processor s   peak GiB   combinations"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for millions in chosen.rows:
            rows = int(millions * 1e6)
            logs = Path(chosen.folder or scratch) / f"{rows}-{chosen.files}-{chosen.format}"
            generate(logs, rows, chosen.files, chosen.format)
            answers = set()
            for engine in chosen.engines:
                runs = [measure(engine, logs) for _ in range(chosen.repeats)]
                best = min(runs, key=lambda run: run["seconds"])
                answers |= {tuple(run["answer"]) for run in runs}
                print(
                    f"{millions:12g}   {engine:<7}{best['seconds']:9.2f}"
                    f"{rows / best['seconds'] / 1e6:8.2f}M"
                    f"{min(run['processor'] for run in runs):14.1f}{best['gibibytes']:11.2f}"
                    f"{best['answer'][0]:15,}",
                    flush=True,
                )
            assert len(answers) == 1, answers


def generate(folder: Path, rows: int, files: int, kind: str) -> None:
    """Write a log: contents are as popular as Zipf's law says, attributes follow from them."""
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}")
    partial.mkdir(parents=True)
    rng = np.random.default_rng(0)
    popularity = 1 / (np.arange(CONTENTS) + 20) ** 0.7
    about = {name: rng.integers(0, levels, CONTENTS) for name, levels in ABOUT_CONTENT.items()}
    weekday, hour = rng.integers(0, 7, CONTENTS), rng.integers(0, 24, CONTENTS)
    levels = {name: [f"{name}_{n}" for n in range(k)] for name, k in ABOUT_CONTENT.items()}
    levels |= AUDIENCE | {
        "ad": [f"advertisement-{number:05d}" for number in range(CONTENTS)],
        "weekday": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
        "hour": [str(number) for number in range(24)],
        "agent": ["Mozilla/5.0 (X11)", "Mozilla/5.0 (Android)", "crawler-bot/2.1"],
    }

    def piece(size: int) -> pa.Table:
        ad = rng.choice(CONTENTS, size, p=popularity / popularity.sum())
        codes = {name: of_content[ad] for name, of_content in about.items()}
        codes |= {name: rng.integers(0, len(found), size) for name, found in AUDIENCE.items()}
        codes |= {
            "ad": ad,
            "weekday": weekday[ad],
            "hour": (hour[ad] + rng.integers(0, HOURS_PER_CONTENT, size)) % 24,
            "agent": rng.choice(3, size, p=[0.5, 0.5 - _BOTS, _BOTS]),
        }
        clicked = (rng.random(size) < 0.01 + 0.0005 * codes["age"]).astype(np.int8)
        clicked[rng.random(size) < _BAD_ROWS] = 7
        named = {
            name: pa.DictionaryArray.from_arrays(
                pa.array(found.astype(np.int32)), levels[name]
            ).cast(pa.string())
            for name, found in codes.items()
        }
        return pa.table(named | {"clicked": clicked})

    for file, start in enumerate(range(0, rows, -(-rows // files))):
        left = min(-(-rows // files), rows - start)
        schema = piece(1).schema
        path = partial / f"{file:03d}.{kind}"
        write = pq.ParquetWriter if kind == "parquet" else pa.csv.CSVWriter
        with write(path, schema) as writer:
            for at in range(0, left, _ROWS_AT_ONCE):
                writer.write_table(piece(min(_ROWS_AT_ONCE, left - at)))
    partial.rename(folder)


def measure(engine: str, logs: Path) -> dict:
    """Count in a new process and watch its memory and that of all processes below it."""
    words = [sys.executable, "-m", "tests.benchmarks.click_log", "--count", engine, str(logs)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        seen = {"bytes": 0, "processor": {}}
        watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), seen))
        watcher.start()
        said, _ = process.communicate()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{engine} failed with exit code {process.returncode}")
    return json.loads(said.splitlines()[-1]) | {
        "gibibytes": seen["bytes"] / 2**30,
        "processor": sum(seen["processor"].values()),
    }


def _watch(process: psutil.Process, seen: dict) -> None:
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        total = 0
        try:
            for one in (process, *process.children(recursive=True)):
                try:
                    total += one.memory_info().rss
                    used = one.cpu_times()
                    seen["processor"][one.pid] = used.user + used.system
                except psutil.NoSuchProcess:
                    continue
        except psutil.NoSuchProcess:
            return
        seen["bytes"] = max(seen["bytes"], total)
        time.sleep(_SAMPLE_SECONDS)


def count(engine: str, logs: str) -> None:
    """Count one log and print seconds and [combinations, impressions, clicks]."""
    run = {"ours": _ours, "duckdb": _duckdb, "polars": _polars}[engine]
    with tempfile.TemporaryDirectory() as scratch:
        seconds, answer = run(Path(logs), Path(scratch))
    print(json.dumps({"seconds": seconds, "answer": [int(number) for number in answer]}))


def _ours(logs: Path, scratch: Path) -> tuple[float, tuple]:
    from ni_platform.data.click_log import LogSpec, aggregate
    from ni_platform.data.click_log.spec import DropRule

    spec = LogSpec(
        name="log",
        content="ad",
        clicked="clicked",
        categorical=tuple(KEYS[1:]),
        drop=(DropRule(column="agent", matches="bot"),),
        min_impressions=1,
        min_level_impressions=0,
    )
    started = time.perf_counter()
    _, report = aggregate([str(logs)], str(scratch / "out"), spec)
    seconds = time.perf_counter() - started
    return seconds, (report.contents, report.impressions, report.clicks)


def _duckdb(logs: Path, scratch: Path) -> tuple[float, tuple]:
    import duckdb

    keys, out = ", ".join(KEYS), scratch / "counts.parquet"
    kind = "csv" if next(logs.iterdir()).suffix == ".csv" else "parquet"
    options = ", all_varchar=true" if kind == "csv" else ""
    database = duckdb.connect()
    database.sql(f"SET temp_directory = '{scratch}'")
    started = time.perf_counter()
    database.sql(
        f"COPY (SELECT {keys}, count(*) AS impressions, sum(clicked::INT) AS clicks "
        f"FROM read_{kind}('{logs}/*'{options}) "
        "WHERE NOT regexp_matches(agent, 'bot') AND clicked IN (0, 1) "
        f"GROUP BY {keys}) TO '{out}'"
    )
    return time.perf_counter() - started, _answer(out)


def _polars(logs: Path, scratch: Path) -> tuple[float, tuple]:
    import polars as pl

    out = scratch / "counts.parquet"
    csv = next(logs.iterdir()).suffix == ".csv"
    started = time.perf_counter()
    log = (
        pl.scan_csv(logs / "*", schema_overrides={"hour": pl.String})
        if csv
        else pl.scan_parquet(logs / "*")
    )
    (
        log.filter(~pl.col("agent").str.contains("bot") & pl.col("clicked").is_in([0, 1]))
        .group_by(KEYS)
        .agg(pl.len().alias("impressions"), pl.col("clicked").cast(pl.Int64).sum().alias("clicks"))
        .sink_parquet(out)
    )
    return time.perf_counter() - started, _answer(out)


def _answer(counts: Path) -> tuple:
    table = pq.read_table(counts, columns=["impressions", "clicks"]).to_pandas()
    return len(table), table["impressions"].sum(), table["clicks"].sum()


if __name__ == "__main__":
    main()

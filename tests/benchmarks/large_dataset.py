"""A large dataset from import to evaluation: seconds and peak memory of each step.

    python -m tests.benchmarks.large_dataset --contents 2000000 --folder FOLDER

Generated contents of A/B tests: headlines of a few words, two categorical and two numeric
attributes, a domain, and clicks that follow planted effects of words and attributes. Each step is
a process of its own, as a user would start it; its peak is the largest resident memory that the
system has seen of it. `--folder` keeps what is generated and imported; steps that are named alone
find there what those before them made.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

COLOURS = [f"colour {number}" for number in range(12)]
FORMATS = ["carousel", "single", "story", "video"]
DOMAINS = [f"site{number:02}.example" for number in range(40)]
WORDS_WITH_EFFECT = 50
NI = [sys.executable, "-c", "from ni_platform.cli.main import main; main()"]
ROLES = [
    "--content-id", "content", "--ab-test", "test", "--domain", "site", "--text", "headline",
    "--categorical", "colour,format", "--numeric", "price,age", "--impressions", "shown",
    "--clicks", "clicked",
]  # fmt: skip
STEPS = ("generate", "parquet", "csv", "check", "split", "near_duplicates", "train", "evaluate")


def main() -> None:
    """Run the steps and print a table of them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--contents", type=int, default=200_000)
    options.add_argument("--tests", type=int, help="a tenth of the contents if not given")
    options.add_argument("--vocabulary", type=int, default=50_000)
    options.add_argument("--folder", help="where to keep everything")
    options.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    options.add_argument("--alone", choices=STEPS, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.alone:
        alone(chosen.alone, Path(chosen.folder), chosen)
        return
    print("step                 seconds   processor s   peak GiB", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(chosen.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for step in chosen.steps:
            report(step, command_of(step, folder, chosen), folder)


def command_of(step: str, folder: Path, chosen: argparse.Namespace) -> list[str]:
    """What a step runs."""
    data = str(folder / "dataset")
    if step in ("parquet", "csv"):
        target = data if step == "parquet" else f"{data}-csv"
        return [*NI, "data", "import", "table", str(folder / f"table.{step}"), target, *ROLES]
    if step == "check":
        return [*NI, "data", "check", data]
    if step == "train":
        return [*NI, "train", "baselines.glm", "--data", data, "--json"]
    if step == "evaluate":
        # The training has evaluated the run's own test part; here, the dataset that came as CSV.
        run = json.loads((folder / "train.txt").read_text().strip().splitlines()[-1])["run_id"]
        return [*NI, "evaluate", run, "--data", f"{data}-csv"]
    sizes = ["--contents", str(chosen.contents), "--vocabulary", str(chosen.vocabulary)]
    sizes += ["--tests", str(chosen.tests)] if chosen.tests else []
    here = [sys.executable, "-m", "tests.benchmarks.large_dataset", "--alone", step]
    return [*here, "--folder", str(folder), *sizes]


def report(step: str, command: list[str], folder: Path) -> None:
    """Run a command and print what it took; its output stays in the folder."""
    began = time.monotonic()
    environment = os.environ | {"NI_HOME": str(folder / "home")}
    with (folder / f"{step}.txt").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    print(
        f"{step:<18}{seconds:10.1f}{used.ru_utime + used.ru_stime:14.1f}"
        f"{used.ru_maxrss / 2**20:11.2f}"
        + ("" if status == 0 else f"   exit code {os.waitstatus_to_exitcode(status)}"),
        flush=True,
    )


def alone(step: str, folder: Path, chosen: argparse.Namespace) -> None:
    """Run a step of this module in this process."""
    if step == "generate":
        table = generated(chosen.contents, chosen.tests or chosen.contents // 10, chosen.vocabulary)
        table.to_parquet(folder / "table.parquet", index=False)
        table.to_csv(folder / "table.csv", index=False, quoting=csv.QUOTE_MINIMAL)
        return
    from ni_platform.data.dataset import Dataset
    from ni_platform.data.near_duplicates import near_duplicate_groups
    from ni_platform.data.splits import SplitConfig, split_dataset

    dataset = Dataset.open(folder / "dataset")
    if step == "split":
        splits = split_dataset(dataset, SplitConfig())
        print(dict(zip(*np.unique(splits.part, return_counts=True))), splits.largest_group)
    else:
        groups = near_duplicate_groups(dataset.contents["headline"].tolist(), 0.7)
        print(f"{len(np.unique(groups)):,} groups of {len(groups):,} headlines")


def generated(contents: int, tests: int, vocabulary: int, seed: int = 0) -> pd.DataFrame:
    """Contents in rows, those of a test one after the other.

    A headline has 5 to 12 words by Zipf's law; every fifth arm is that of the arm before with one
    word changed. On the scale of logits, tests vary by 0.3, the most frequent words by 0.1, colours
    by 0.15 and the price by 0.1.
    """
    random = np.random.default_rng(seed)
    weights = np.arange(1, vocabulary + 1) ** -0.8
    most = 12
    words = random.choice(vocabulary, (contents, most), p=weights / weights.sum())
    length = random.integers(5, most + 1, contents)
    like = np.flatnonzero(random.random(contents) < 0.2)
    like = like[like > 0]
    changed = words[like, 0]
    words[like] = words[like - 1]
    words[like, 0], length[like] = changed, length[like - 1]
    names = np.array([f"w{number:x}" for number in range(vocabulary)], dtype=object)
    headline = [" ".join(row[:n]) for row, n in zip(names[words], length.tolist())]

    test = np.sort(np.arange(contents) % tests)
    colour = random.integers(0, len(COLOURS), contents)
    price = np.round(random.gamma(2, 10, contents), 2)
    effect = np.zeros(vocabulary)
    effect[:WORDS_WITH_EFFECT] = random.normal(0, 0.1, WORDS_WITH_EFFECT)
    read = np.arange(most) < length[:, None]
    logit = -3.5 + random.normal(0, 0.3, tests)[test] + (effect[words] * read).sum(axis=1)
    logit += random.normal(0, 0.15, len(COLOURS))[colour] + 0.1 * (price - 20) / 14
    shown = np.repeat(random.integers(500, 20_000, tests), np.bincount(test, minlength=tests))
    return pd.DataFrame(
        {
            "content": [f"c{number:08}" for number in range(contents)],
            "test": [f"t{number:07}" for number in test],
            "site": np.array(DOMAINS, dtype=object)[random.integers(0, len(DOMAINS), tests)[test]],
            "headline": headline,
            "colour": np.array(COLOURS, dtype=object)[colour],
            "format": np.array(FORMATS, dtype=object)[random.integers(0, len(FORMATS), contents)],
            "price": price,
            "age": random.integers(18, 80, contents),
            "shown": random.poisson(shown),
            "clicked": 0,
        }
    ).assign(clicked=lambda table: random.binomial(table["shown"], 1 / (1 + np.exp(-logit))))


if __name__ == "__main__":
    main()

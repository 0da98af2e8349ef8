"""Other people's tools on our split: a tuned LightGBM on TF-IDF, and AutoGluon MultiModal.

    python -m tests.benchmarks.peers data/upworthy [--python PYTHON] [--minutes 20]

They run under PYTHON, an interpreter of an environment of their own that has scikit-learn and
lightgbm or autogluon.multimodal; a tool that it does not have is skipped with that reason. Both
learn success rates from the texts of the training part, are tuned by the validation part, and are
judged once, by our metrics, on the test part.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ni_platform.evaluation import EvaluationConfig, evaluate_slices, outcome_table, split_table
from ni_platform.experiment_config import load_experiment
from ni_platform.models.encoders.pretrained import locate
from ni_platform.models.modalities.text import joined_texts
from ni_platform.opened import OpenedExperiment, open_experiment

PEERS = ("lightgbm", "autogluon")
SHOWN = (
    "pairwise_accuracy",
    "pairwise_within_distinct",
    "pairwise_significant_distinct",
    "rmse",
)


def main() -> None:
    """Measure each peer and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--only", choices=PEERS)
    options = parser.parse_args()
    experiment = open_experiment(load_experiment("ranker.text_small"), options.data)
    with tempfile.TemporaryDirectory() as folder:
        write_tables(experiment, Path(folder))
        for peer in [options.only] if options.only else PEERS:
            start = time.perf_counter()
            reason = run(peer, options.python, Path(folder), options.minutes)
            if reason:
                print(f"{peer}: skipped, {reason}")
            else:
                report(peer, experiment, Path(folder), time.perf_counter() - start)


def write_tables(experiment: OpenedExperiment, folder: Path) -> None:
    """Write what the peers read: a table per part with text, rate, impressions and A/B test."""
    dataset = experiment.readable
    texts = dataset.manifest.columns.text
    for part in ("train", "validation", "test"):
        rows = experiment.splits.rows(part)
        if part != "test":
            rows = rows[dataset.impressions[rows] > 0]
        table = pd.DataFrame(
            {
                "text": list(joined_texts(dataset.inputs(rows), texts, " ")),
                "rate": dataset.success_rate[rows],
                "impressions": dataset.impressions[rows],
                "ab_test": dataset.ab_test.iloc[rows].astype(str).to_numpy(),
            }
        )
        if part == "test":
            table = table[["text"]]  # outcomes of the test part stay here
        table.to_parquet(folder / f"{part}.parquet")
    (folder / "settings.json").write_text(json.dumps({"minilm": str(locate("minilm-l6"))}))


def run(peer: str, python: str, folder: Path, minutes: float) -> str | None:
    """Let a peer learn and predict; why not, if it is not installed."""
    script = Path(__file__).with_name("peer_learner.py")
    done = subprocess.run(
        [python, str(script), peer, str(folder), str(minutes)],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    missing = [line for line in done.stderr.splitlines() if "ModuleNotFoundError" in line]
    if missing:
        return f"{python}: {missing[-1]}"
    if done.returncode:
        raise RuntimeError(f"{peer} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    print(done.stdout.strip())
    return None


def report(peer: str, experiment: OpenedExperiment, folder: Path, seconds: float) -> None:
    """Judge a peer's predictions of the test part as a run's are."""
    rows = experiment.splits.rows("test")
    membership = split_table(experiment.dataset, experiment.splits).iloc[rows]
    table = outcome_table(experiment.dataset, membership, rows)
    table["prediction"] = np.load(folder / f"{peer}.npy")
    found = evaluate_slices(table, EvaluationConfig())["test"]
    print(f"{peer}: {seconds:.0f} s")
    for name in SHOWN:
        if name in found:
            estimate = found[name]
            print(f"  {name} {estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]")


if __name__ == "__main__":
    main()

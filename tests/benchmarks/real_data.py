"""Experiments side by side on one dataset, as a table of test metrics with intervals.

    python -m tests.benchmarks.real_data upworthy data/upworthy
    python -m tests.benchmarks.real_data youtube data/youtube

Each row is a run of `ni train`; the last is the GLM of the first run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

TEXT, FULL = "neural_insights.text_small", "neural_insights.full_small"
ONLY = {"mse": 0, "weighted_mse": 0, "binomial": 0, "pairwise": 0, "within_test_likelihood": 0}


def loss(**weights: float) -> list[str]:
    """Overrides that train on these losses alone."""
    return [f"training.loss={json.dumps(ONLY | weights)}"]


def without(*modalities: str) -> list[str]:
    """Overrides that leave modalities out of the model."""
    return [f"{part}.{name}=null" for name in modalities for part in ("pretraining", "model")] + [
        "training.frozen=[]"
    ]


VARIANTS = {
    "upworthy": {
        "squared error": (TEXT, loss(mse=1)),
        "binomial": (TEXT, loss(binomial=1)),
        "pairwise": (TEXT, loss(pairwise=1)),
        "within-test likelihood": (TEXT, loss(within_test_likelihood=1)),
        "binomial + pairwise (text_small)": (TEXT, []),
    },
    "youtube": {
        "text": (FULL, [*without("image", "attributes"), "training.frozen=['text']"]),
        "image": (FULL, [*without("text", "attributes"), "training.frozen=['image']"]),
        "image + text": (FULL, [*without("attributes"), "training.frozen=['image', 'text']"]),
        "image + text + attributes (full_small)": (FULL, []),
    },
}
METRICS = {
    "upworthy": (
        "pairwise_within",
        "pairwise_significant",
        "pairwise_within_distinct",
        "pairwise_significant_distinct",
        "rmse",
    ),
    "youtube": ("pairwise_accuracy", "spearman", "r2", "rmse"),
}


def main() -> None:
    """Train each variant and print a Markdown table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("name", choices=VARIANTS)
    options.add_argument("data")
    options.add_argument("--only", nargs="+", help="Names of variants.")
    chosen = options.parse_args()
    names = METRICS[chosen.name]
    print(f"| trained on | {' | '.join(names)} | minutes |")
    print("| --- |" + " --- |" * (len(names) + 1))
    for variant, (experiment, overrides) in VARIANTS[chosen.name].items():
        if chosen.only and variant not in chosen.only:
            continue
        started = time.monotonic()
        run = train(experiment, chosen.data, overrides, f"{chosen.name}: {variant}")
        minutes = (time.monotonic() - started) / 60
        cells = [interval(run["metrics"].get(f"test/{name}")) for name in names]
        print(f"| {variant} | {' | '.join(cells)} | {minutes:.1f} |", flush=True)


def train(experiment: str, data: str, overrides: list[str], name: str) -> dict:
    """Run `ni train` and return its JSON."""
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ni")),
            *("train", experiment, "--data", data, "--name", name, "--json"),
            *(f"--set={override}" for override in overrides),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def interval(estimate: dict | None) -> str:
    """A value with its 95 % interval."""
    if estimate is None or estimate["value"] is None:
        return "–"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


if __name__ == "__main__":
    main()

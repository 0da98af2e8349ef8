"""Seconds and memory of `evaluate` on many contents, as one table.

Processor seconds stand beside the wall clock: on a shared machine only they compare.

python tests/benchmarks/metrics.py --contents 1000000
"""

import argparse
import os
import resource
import sys
import time

import numpy as np

from ni_platform.metrics.catalogue import families
from ni_platform.metrics.evaluation import evaluate_scored
from ni_platform.metrics.intervals import Resampling
from tests.metrics.columns import scored_contents


def planted(contents: int, arms: int, seed: int) -> dict:
    """Contents in A/B tests of `arms` (1: no tests) with a prediction of middling quality."""
    rng = np.random.default_rng(seed)
    test = np.arange(contents) // arms
    log_odds = rng.normal(-4, 0.5, test[-1] + 1)[test] + rng.normal(0, 0.25, contents)
    rate = 1 / (1 + np.exp(-log_odds))
    impressions = rng.integers(1_000, 6_000, contents)
    noisy = log_odds + rng.normal(0, 0.4, contents)
    return {
        "prediction": 1 / (1 + np.exp(-noisy)),
        "clicks": rng.binomial(impressions, rate),
        "impressions": impressions,
        "ab_test": np.char.add("test-", test.astype(str)).astype(object) if arms > 1 else None,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contents", type=int, default=1_000_000)
    parser.add_argument("--arms", type=int, default=4, help="contents per A/B test")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    columns = planted(arguments.contents, arguments.arms, arguments.seed)
    draw = {"replicates": arguments.replicates, "seed": arguments.seed}
    rows: list[tuple[str, float, float]] = []

    def timed(name, function):
        wall, processor = time.perf_counter(), time.process_time()
        result = function()
        rows.append((name, time.perf_counter() - wall, time.process_time() - processor))
        return result

    scored = timed("check", lambda: scored_contents(**columns))
    resampling = timed("draw", lambda: Resampling.of(scored.cluster_codes, **draw))
    for family in families():
        timed(family.__name__, lambda family=family: family(scored, resampling))
    estimates = timed(
        "evaluate, all together",
        lambda: evaluate_scored(scored_contents(**columns), **draw),
    )

    lines = [
        f"{arguments.contents:,} contents, {arguments.arms} per A/B test, "
        f"{arguments.replicates:,} replicates, OMP_NUM_THREADS="
        f"{os.environ.get('OMP_NUM_THREADS', 'unset')}",
        f"{'':<28}{'wall':>8}{'processor':>11}  seconds",
    ]
    for name, wall, processor in rows:
        lines.append(f"{name:<28}{wall:8.2f}{processor:11.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    lines += [f"{'peak memory':<28}{peak:8.2f} GiB", ""]
    for name, e in estimates.items():
        lines.append(f"{name:<34}{e.value:14.5f}   [{e.low:.5f}, {e.high:.5f}]")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""Training through the platform against a bare PyTorch loop, and two workers against one.

    python -m tests.benchmarks.overhead

Same model, batches, precision and optimizer. The bare loop has its batches in memory, so what
the platform costs includes reading, decoding and encoding the contents.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ni_platform.data.loading import BatchSource, plan_batches
from ni_platform.models.losses import Loss
from ni_platform.training.config import TrainingConfig
from ni_platform.training.stages import run_stages
from ni_platform.training.workers import WorkerGroup, precision_on
from tests.benchmarks.planted import fused_task, planted


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tests", type=int, default=300)
    options.add_argument("--epochs", type=int, default=4)
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config, dataset, splits, scorer = planted(
            folder, chosen.tests, epochs=chosen.epochs, monitor=None
        )
        task = fused_task(folder, config, dataset, splits)
        for repeat in range(chosen.repeats):
            bare = bare_loop(
                scorer, BatchSource(dataset, scorer.inputs), task.train_rows, config.training
            )
            speeds = {
                workers: run_stages([task], folder / f"{repeat}-{workers}", workers=workers)[
                    task.name
                ].samples_per_second
                for workers in (1, 2)
            }
            rows.append((bare, speeds[1], speeds[2]))
            print(
                f"bare {bare:.1f}, one worker {speeds[1]:.1f}, two workers {speeds[2]:.1f} "
                f"contents/s; one/bare {speeds[1] / bare:.3f}, two/one {speeds[2] / speeds[1]:.3f}",
                flush=True,
            )
    bare, one, two = np.median(np.array(rows), axis=0)
    print(f"medians: one/bare {one / bare:.3f}, two/one {two / one:.3f}")


def bare_loop(scorer, source: BatchSource, rows: np.ndarray, config: TrainingConfig) -> float:
    """Contents per second of forward, backward and optimizer steps on batches in memory."""
    torch.set_num_threads(os.cpu_count() or 1)
    model = scorer.model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    loss = Loss(config.loss)
    dtype = precision_on(WorkerGroup("cpu").device, config)
    plan = plan_batches(None, len(rows), config.batch_size, 1, 0, 0)
    batches = [source.load(rows[shares[0]]) for shares in plan]
    seconds = 0.0
    for epoch in range(config.epochs + 1):
        started = time.perf_counter()
        for batch in batches:
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                logits = model(batch.inputs)
            value = loss(logits, batch.outcomes)
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm or 1e9)
            optimizer.step()
        if epoch:  # the first one warms up
            seconds += time.perf_counter() - started
    return config.epochs * len(rows) / seconds


if __name__ == "__main__":
    main()

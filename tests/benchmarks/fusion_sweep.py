"""Trials of a finished sweep against one process per trial that encodes for itself.

    python -m tests.benchmarks.fusion_sweep .ni/sweeps/NAME 3 7

trains trials 3 and 7 of the sweep again, each in a process of its own, side by side, on the whole
network and the raw contents, from the same pretrained encoders. It prints trials an hour of both
ways and the largest difference of their validation losses.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from ni_platform.tuning.config import SweepFolder
from ni_platform.tuning.files.trial_log import read_trials


def alone(path: str, number: int) -> list[float]:
    """Validation loss after each epoch of a trial that shares nothing."""
    import torch

    from ni_platform.data.dataset import Dataset
    from ni_platform.data.loading import BatchSource
    from ni_platform.data.splits import split_dataset
    from ni_platform.models.scorer import build_scorer
    from ni_platform.training.worker import FUSED, Stage, load_state, pretrained_modalities
    from ni_platform.training.workers import WorkerGroup
    from ni_platform.tuning.search.spaces import trial_config

    torch.set_num_threads(1)
    folder = SweepFolder(path=Path(path))
    sweep, _ = folder.read()
    config = trial_config(sweep.experiment, read_trials(folder.log)[number].overrides)
    dataset = Dataset.open(sweep.data)
    splits = split_dataset(dataset, config.splits)
    scorer = build_scorer(config.model, dataset, splits.rows("train"), config.training.seed)
    for stage in config.pretraining.stages:
        load_state(scorer.model, folder.encoders / "stages" / stage / "state.safetensors")
    stage = Stage(
        name=FUSED,
        module=scorer.model.stage(FUSED),
        source=BatchSource(dataset, scorer.inputs),
        training=config.training,
        train_rows=splits.rows("train"),
        validation_rows=splits.rows("validation"),
        pretrained=pretrained_modalities(config.model),
    )
    outcome = stage.start(workers=WorkerGroup("cpu")).run()
    return [epoch["loss"] for epoch in outcome.history]


def main(path: str, numbers: list[int]) -> None:
    """Compare both ways."""
    trials = read_trials(SweepFolder(path=Path(path)).log)
    ended = [trial.ended for trial in trials.values() if trial.ended is not None]
    seconds = max(ended) - min(trial.started for trial in trials.values())
    ours = seconds / len(ended)
    print(f"sweep: {len(ended)} trials in {seconds:.0f} s, {3600 / ours:,.0f} an hour", flush=True)
    then = time.perf_counter()
    command = [sys.executable, "-m", "tests.benchmarks.fusion_sweep", path, "--alone"]
    running = {
        number: subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True)
        for number in numbers
    }
    printed = {number: process.communicate()[0] for number, process in running.items()}
    theirs = (time.perf_counter() - then) / len(numbers)
    print(f"one process per trial: {3600 / theirs:,.1f} an hour; {theirs / ours:.1f} times as long")
    for number, text in printed.items():
        losses = json.loads(text.strip().splitlines()[-1])
        shared = [epoch["loss"] for epoch in trials[number].epochs]
        away = max(abs(a / b - 1) for a, b in zip(losses, shared, strict=False))
        print(f"trial {number}: validation losses differ by {away:.1e} at most ({losses[-1]:.6f})")


if __name__ == "__main__":
    if sys.argv[2] == "--alone":
        print(json.dumps(alone(sys.argv[1], int(sys.argv[3]))))
    else:
        main(sys.argv[1], [int(number) for number in sys.argv[2:]])

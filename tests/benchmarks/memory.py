"""Peak resident memory of training against the number of pictures.

    python -m tests.benchmarks.memory

Each size trains in a process of its own; memory that grew with the data would show as a slope.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import resource
import tempfile
from pathlib import Path

from ni_platform.training.worker import train_stage
from ni_platform.training.workers import WorkerGroup
from tests.benchmarks.planted import fused_task, planted


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tests", type=int, nargs="+", default=[180, 720, 2880])
    chosen = options.parse_args()
    context = multiprocessing.get_context("spawn")
    print("pictures trained on   peak resident memory")
    for tests in chosen.tests:
        receiver, sender = context.Pipe(duplex=False)
        with tempfile.TemporaryDirectory() as scratch:
            drawing = context.Process(target=draw, args=(Path(scratch), tests))
            drawing.start()
            drawing.join()
            process = context.Process(target=measure, args=(Path(scratch), sender))
            process.start()
            pictures, peak_mib = receiver.recv()
            process.join()
        print(f"{pictures:19d}   {peak_mib:8.0f} MiB", flush=True)


def draw(folder: Path, tests: int) -> None:
    """Draw and split the data in a process whose memory is not measured."""
    config, dataset, splits, _ = planted(folder, tests, epochs=1)
    with (folder / "task.pickle").open("wb") as file:
        pickle.dump(fused_task(folder, config, dataset, splits), file)


def measure(folder: Path, sender: object) -> None:
    """Train one epoch and send how many pictures and the peak memory in MiB."""
    task = pickle.loads((folder / "task.pickle").read_bytes())
    train_stage(
        task,
        folder / "stage",
        states={},
        workers=WorkerGroup(),
        resume=None,
        emit=lambda event: None,
        save=lambda checkpoint: None,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sender.send((len(task.train_rows), peak))


if __name__ == "__main__":
    main()

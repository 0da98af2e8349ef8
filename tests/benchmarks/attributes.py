"""Pictures and texts per second of each extractor, and what a second run costs.

    python -m tests.benchmarks.attributes data/youtube --rows 200 --encoder minilm-l6

Works on a copy of the dataset's first rows with a store of its own. Besides seconds, the second
run shows how often an extractor was called: not at all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from ni_platform.attributes import AttributesConfig, add_attributes
from ni_platform.data.attributes.dominant_colour import DominantColour
from ni_platform.data.attributes.extraction import available_workers
from ni_platform.data.attributes.ocr import Ocr
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.models.modalities.text import TextEncoderConfig


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("data")
    options.add_argument("--rows", type=int, default=200)
    options.add_argument("--encoder", default="minilm-l6")
    options.add_argument("--workers", type=int, nargs="+", default=[available_workers()])
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for workers in chosen.workers:
            measure(Path(scratch) / str(workers), chosen, workers)


def measure(folder: Path, chosen: argparse.Namespace, workers: int) -> None:
    """Two runs on an empty store."""
    part = first_rows(Dataset.open(chosen.data), chosen.rows, folder / "data")
    config = AttributesConfig(
        ocr=Ocr(),
        dominant_colour=DominantColour(),
        embed=(*part.manifest.columns.text, "ocr"),
        encoder=TextEncoderConfig(weights=chosen.encoder, pooling="mean"),
        workers=workers,
    )
    seconds = []
    for run in ("first", "second"):
        started = time.perf_counter()
        _, report = add_attributes(part.root, config, folder / "store")
        seconds.append(time.perf_counter() - started)
        print(f"{run} run, {workers} worker(s), {len(part)} rows: {seconds[-1]:.2f} s")
        for name, found in report.items():
            distinct = found["computed"] + found["from_store"]
            print(
                f"  {name:<18} computed {found['computed']:4d}, from store "
                f"{found['from_store']:4d}, {found['seconds']:8.2f} s, "
                f"{distinct / found['seconds']:8.1f} a second",
                flush=True,
            )
    print(f"second / first: {seconds[1] / seconds[0]:.4f}")


def first_rows(dataset: Dataset, rows: int, folder: Path) -> Dataset:
    """Write a dataset of the first rows, its pictures linked or copied."""
    contents = dataset.contents.head(rows)
    names = contents[dataset.manifest.columns.image].dropna().unique()
    images = {name: Path(dataset.images_root) / name for name in names}
    return write_dataset(folder, dataset.manifest, contents, images)


if __name__ == "__main__":
    main()

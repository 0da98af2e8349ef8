"""Peak resident memory and seconds of explaining one picture, by its size.

    python -m tests.benchmarks.large_pictures --megapixels 1 9 36

Table 3's network at native size with random weights; a process for each picture and method.
"Network" is what the process holds before it reads the picture; "read" is decoding it and the
prediction, "explain" the method alone. `--large 0` takes small pictures in tiles as well.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ni_platform.attribution.attribution import Attributor
from ni_platform.attribution.cells import Cells
from ni_platform.attribution.contents import Contents
from ni_platform.attribution.feature_ablation import FeatureAblation
from ni_platform.attribution.grad_cam import GradCam
from ni_platform.attribution.integrated_gradients import IntegratedGradients
from ni_platform.attribution.kernel_shap import KernelShap
from ni_platform.data.images import ImageInput
from ni_platform.models.encoders import tiling
from ni_platform.models.inputs import InputEncoder
from ni_platform.models.modalities.image import ImageEncoderConfig, ImageReader
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.models.scorer import Scorer, build_network

GRID = 8
METHODS = ("grad_cam", "integrated_gradients", "feature_ablation", "kernel_shap")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--megapixels", type=float, nargs="+", default=[1, 9, 36])
    options.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS[:3])
    options.add_argument("--steps", type=int, default=4, help="of integrated gradients")
    options.add_argument("--samples", type=int, default=256, help="of Kernel SHAP")
    options.add_argument("--large", type=int, default=tiling.LARGE)
    chosen = options.parse_args()
    context = multiprocessing.get_context("spawn")
    print(f"{chosen.steps} steps of integrated gradients, {GRID} x {GRID} cells")
    print("pixels        method                 network     peak     read  explain  load")
    for megapixels in chosen.megapixels:
        side = round(1000 * megapixels**0.5)
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "picture.png"
            run(context.Process(target=draw, args=(picture, side)))
            for name in chosen.methods:
                receiver, sender = context.Pipe(duplex=False)
                load = os.getloadavg()[0]
                run(context.Process(target=measure, args=(picture, name, chosen, sender)))
                network, peak, read, explain = receiver.recv()
                print(
                    f"{side:5d} x {side:<5d} {name:20s} {network:5.0f} MiB {peak:5.0f} MiB "
                    f"{read:6.1f} s {explain:6.1f} s  {load:.1f}",
                    flush=True,
                )


def run(process: multiprocessing.process.BaseProcess) -> None:
    """Start a process and wait for its end."""
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"a measuring process ended with {process.exitcode}")


def draw(path: Path, side: int) -> None:
    """A picture of coloured blocks, in a process whose memory is not measured."""
    blocks = np.random.default_rng(0).integers(0, 256, (side // 10, side // 10, 3), dtype=np.uint8)
    picture = Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)
    picture.save(path, compress_level=1)


def measure(picture: Path, name: str, chosen: argparse.Namespace, sender: object) -> None:
    """Send memory in MiB before the picture and at the peak, and seconds to read and explain it."""
    tiling.LARGE = chosen.large
    config = NeuralInsightsConfig(image=ImageEncoderConfig(input=ImageInput(size=None)))
    network = build_network(config, {}, initial_rate=0.1, buckets=None)
    reader = ImageReader(column="image", input=config.image.input)
    scorer = Scorer(config, network, InputEncoder({"image": reader}))
    method: Attributor = {
        "grad_cam": GradCam(),
        "integrated_gradients": IntegratedGradients(steps=chosen.steps),
        "feature_ablation": FeatureAblation(),
        "kernel_shap": KernelShap(samples=chosen.samples),
    }[name]
    before = peak()
    started = time.perf_counter()
    cells = Cells(Contents(scorer, pd.DataFrame({"image": [str(picture)]})), "image", grid=GRID)
    read = time.perf_counter()
    method.attribute(cells)
    sender.send((before, peak(), read - started, time.perf_counter() - read))


def peak() -> float:
    """Largest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

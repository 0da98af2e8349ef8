"""Fitting and asking a Gaussian process by the number of contents: seconds and memory.

    python -m tests.benchmarks.ranker --contents 10000 100000 1000000 [--width 384] [--points 4000]

Embeddings are drawn, four arms per A/B test, and their rates follow the first number. Encoding is
not measured here. A million embeddings lie in a mapped file, as encoded ones do.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit

from ni_platform.data.batch import Inputs
from ni_platform.models.gaussian_process.arms import Arms
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.gaussian_process.fitting import fit
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.modalities.embedding import Vectors
from ni_platform.models.modalities.modality import InputSize

_ASKED = 4096


class Mapped:
    """Rows of a mapped file."""

    def __init__(self, path: Path, contents: int, width: int) -> None:
        """Draw them."""
        self.shape = (contents, width)
        self.values = np.memmap(path, np.float32, "w+", shape=self.shape)
        rng = np.random.default_rng(0)
        for start in range(0, contents, 10_000):
            rows = self.values[start : start + 10_000]
            rows[:] = rng.standard_normal(rows.shape, dtype=np.float32)

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.values[rows.numpy()])


def measure(contents: int, width: int, points: int, folder: Path) -> None:
    """Fit, ask, and print one line."""
    embeddings = Mapped(folder / "embeddings", contents, width)
    rng = np.random.default_rng(1)
    test = np.arange(contents) // 4
    level = rng.normal(-4, 0.5, test.max() + 1)[test]
    shown = np.full(contents, 3000.0)
    effect = 0.3 * np.asarray(embeddings.values[:, 0], dtype=np.float64)
    clicks = rng.binomial(3000, expit(level + effect)).astype(float)
    arms = Arms.pool(np.arange(contents), test, clicks, shown)
    config = GaussianProcessConfig(embedding=Vectors(), points=points)
    network = GaussianProcess(config, {"embedding": InputSize(width=width)}).eval()
    start = time.perf_counter()
    fit(network, {"embedding": embeddings}, arms)
    fitted = time.perf_counter() - start
    rows = torch.arange(min(_ASKED, contents))
    start = time.perf_counter()
    with torch.inference_mode():
        values = network(Inputs(size=len(rows), encoded={"embedding": embeddings[rows]}))
    asked = time.perf_counter() - start
    agreement = np.corrcoef(values.numpy(), effect[: len(rows)])[0, 1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{contents:>9,} contents: fitted in {fitted:.0f} s, {len(rows) / asked:,.0f} rates a "
        f"second, correlation with the truth {agreement:.3f}, peak {peak:.2f} GiB so far",
        flush=True,
    )


def main() -> None:
    """Measure each size in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contents", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--points", type=int, default=4000)
    options = parser.parse_args()
    for contents in options.contents:
        with tempfile.TemporaryDirectory() as folder:
            measure(contents, options.width, options.points, Path(folder))


if __name__ == "__main__":
    main()

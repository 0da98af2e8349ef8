"""Two workers with uneven halves compute the gradient of one worker with the whole batch."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from model_folder import without_dropout
from torch import nn

from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import BatchSource
from ni_platform.models.losses import LossConfig
from ni_platform.models.scorer import Scorer
from ni_platform.training.config import TrainingConfig
from ni_platform.training.gradients import Gradients
from ni_platform.training.loop import StageTraining
from ni_platform.training.stage_data import StageData
from ni_platform.training.workers import WorkerGroup

LOSS = LossConfig(mse=1.0, binomial=0.5, pairwise=0.3, within_test_likelihood=0.2)


def gradient(dataset: Dataset, scorer_folder: str, rows: np.ndarray) -> tuple[torch.Tensor, float]:
    """Train one step on all rows; return its gradient and its loss."""
    config = TrainingConfig(
        epochs=1, batch_size=len(rows), precision="float32", loss=LOSS, monitor=None
    )
    scorer = Scorer.load(scorer_folder, "cpu")
    data = StageData(
        source=BatchSource(dataset, scorer.inputs), train_rows=rows, validation_rows=rows[:0]
    )
    training = StageTraining("fused", scorer.model, data, config, workers=WorkerGroup("cpu"))
    history = training.run().history
    parameters = [p.grad.flatten() for p in training.module.parameters() if p.requires_grad]
    return torch.cat(parameters), history[0]["train_loss"]


def work(rank: int, folder: Path, compute: Callable, *arguments: object) -> None:
    """One of two workers; leaves its result in a file."""
    try:
        torch.set_num_threads(1)
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
        )
        torch.save(compute(*arguments), folder / f"{rank}.pt")
        dist.destroy_process_group()
    except BaseException:
        (folder / f"{rank}.txt").write_text(traceback.format_exc())
        raise


def of_two_workers(folder: Path, compute: Callable, *arguments: object) -> list:
    """What `compute` returns on each of two workers."""
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=work, args=(rank, folder, compute, *arguments)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    failures = [file.read_text() for file in folder.glob("?.txt")]
    assert not failures, failures[0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def rows_of_two_tests(dataset: Dataset) -> np.ndarray:
    """Two A/B tests, one of which has no text at all."""
    contents = dataset.contents
    texts = contents.groupby("test")["text"].agg(lambda cells: cells.notna().sum())
    silent, spoken = texts[texts == 0].index[0], texts[texts > 1].index[0]
    return np.flatnonzero(contents["test"].isin([silent, spoken]))


@pytest.mark.parametrize("case", ["all contents", "a worker without texts"])
def test_two_workers_compute_the_gradient_of_the_batch(dataset, scorer_folder, tmp_path, case):
    """Gradient and loss of two workers equal those of one, also where one lacks a modality."""
    rows = np.arange(61) if case == "all contents" else rows_of_two_tests(dataset)
    arguments = (dataset, without_dropout(scorer_folder, tmp_path / "initial"), rows)
    expected, expected_loss = gradient(*arguments)
    for found, loss in of_two_workers(tmp_path, gradient, *arguments):
        assert loss == pytest.approx(expected_loss, rel=1e-5)
        # Sums in another order differ by rounding, which goes with the largest terms.
        rounding = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=rounding)


class Terms(nn.Module):
    """Adds up `value` times each weight that is named; one weight is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.ones(())) for _ in range(3))
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, part: tuple[float, str]) -> torch.Tensor:
        """The sum, for a value and the names of weights."""
        value, names = part
        return sum((value * getattr(self, name) for name in names), self.frozen * 0.0)


def steps_of_terms(steps: list) -> list[list[float]]:
    """Loss, and gradients of a, b and c, of each step of this worker and its peer."""
    workers = WorkerGroup("cpu")
    module = Terms()
    gradients = Gradients(module, [module.a, module.b, module.c], workers)
    found = []
    for step in steps:
        gradients.zero()
        parts = step[workers.rank]
        for number, part in enumerate(parts):
            with gradients.micro_batch(last=number == len(parts) - 1):
                gradients.add(gradients.outputs(part))
        loss, _ = gradients.total(None).tolist()
        found.append([loss, *(float(p.grad) for p in (module.a, module.b, module.c))])
    return found


def test_each_gradient_is_the_sum_of_what_used_the_parameter(tmp_path):
    """Over workers and micro-batches, whichever of them used it; zero if none did."""
    steps = [  # by worker and micro-batch
        [[(1.0, "abc")], [(2.0, "abc")]],
        [[(1.0, "a")], [(2.0, "b")]],
        [[(1.0, "ab"), (2.0, "a")], [(4.0, "a"), (8.0, "ac")]],
        [[(1.0, "b"), (2.0, "a")], [(4.0, "b"), (8.0, "a")]],
        [[(1.0, "b")], [(2.0, "b")]],
    ]
    expected = [[9, 3, 3, 3], [3, 1, 2, 0], [24, 15, 1, 8], [15, 10, 5, 0], [3, 0, 3, 0]]
    assert of_two_workers(tmp_path, steps_of_terms, steps) == [expected, expected]

"""Two workers with a part of the batch each equal one with all of it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from ni_platform.data.batch import Inputs, Outcomes
from ni_platform.models.losses import Loss, LossConfig
from ni_platform.models.normalization import BatchNorm, convert_batch_norm
from tests.models.test_neural_insights import lacking, small_model, some_inputs

WORKERS = 2
SHARES = (slice(0, 5), slice(5, 8))
LOSS = LossConfig(mse=1.0, binomial=1.0, pairwise=1.0)


def batch() -> tuple[Inputs, Outcomes]:
    """Eight contents; the second worker's three have no picture, one of the first's no text."""
    inputs = some_inputs(8)
    image_present_B = torch.tensor([True, True, False, True, True, False, False, False])
    text_present_B = torch.tensor([True, False, True, True, True, True, True, True])
    inputs = lacking(inputs, image=image_present_B, text=text_present_B)
    clicks_B = torch.tensor([10.0, 20, 30, 5, 8, 3, 9, 12])
    return inputs, Outcomes(
        impressions_B=torch.full((8,), 200.0),
        clicks_B=clicks_B,
        success_rate_B=clicks_B / 200,
        ab_test_B=torch.tensor([0, 0, 1, 1, 1, 2, 2, -1]),
    )


def part(value, rows: slice):
    """The rows of every tensor."""
    if isinstance(value, torch.Tensor):
        return value[rows]
    if isinstance(value, tuple):
        return tuple(part(each, rows) for each in value)
    if isinstance(value, dict):
        return {name: part(each, rows) for name, each in value.items()}
    if is_dataclass(value):
        values = {field.name: part(getattr(value, field.name), rows) for field in fields(value)}
        if "size" in values:
            values["size"] = rows.stop - rows.start
        return type(value)(**values)
    return value


def gradients(model: nn.Module, inputs: Inputs, outcomes: Outcomes) -> dict[str, torch.Tensor]:
    """One step's gradients and running statistics, summed over workers as a trainer would."""
    loss = Loss(LOSS)
    terms = loss.terms(model(inputs), outcomes)
    denominators = {name: denominator.clone() for name, (_, denominator) in terms.items()}
    if dist.is_initialized():
        for denominator in denominators.values():
            dist.all_reduce(denominator)
    loss.combine(terms, denominators).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    if dist.is_initialized():
        for gradient in found.values():
            dist.all_reduce(gradient)
    return found | {name: value for name, value in model.named_buffers() if "running" in name}


def normalized(norm: nn.Module, x: torch.Tensor, rows: slice) -> dict[str, torch.Tensor]:
    """Output, gradients and statistics of one normalization of `rows` of `x`."""
    mine = x[rows].clone().requires_grad_()
    output = norm(mine)
    # Weights that differ by position, so that no gradient cancels.
    (output * torch.arange(x.numel()).view(x.shape)[rows].sin()).sum().backward()
    return {
        "output": output.detach(),
        "input_gradient": mine.grad,
        "weight_gradient": norm.weight.grad,
        "bias_gradient": norm.bias.grad,
        "mean": norm.running_mean,
        "variance": norm.running_var,
    }


def pictures() -> torch.Tensor:
    """Values whose mean is far from zero: sums of squares alone would lose the variance."""
    return torch.randn(8, 3, 4, 5, generator=torch.Generator().manual_seed(2)) + 300


def work(rank: int, folder: str) -> None:
    """One worker: compute everything and leave it in `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORKERS
    )
    inputs, outcomes = batch()
    rows = SHARES[rank]
    model = small_model().train()
    results = {
        "step": gradients(model, part(inputs, rows), part(outcomes, rows)),
        "norm": normalized(BatchNorm(3), pictures(), rows),
        "idle": normalized(BatchNorm(3), pictures(), slice(0, 8) if rank == 0 else slice(8, 8)),
        "single": normalized(BatchNorm(2), torch.ones(1, 2), slice(0, 1 - rank)),
    }
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each worker computed."""
    folder: Path = tmp_path_factory.mktemp("workers")
    mp.spawn(work, args=(str(folder),), nprocs=WORKERS)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORKERS)]


def test_step_of_two_workers(results):
    """Gradients and running statistics equal one worker's, with modalities missing on one."""
    expected = gradients(small_model().train(), *batch())
    for result in results:
        assert result["step"].keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(result["step"][name], value, atol=2e-6, rtol=2e-4, msg=name)


def test_normalization_of_two_workers(results):
    """Shared batch normalization equals torch's over the whole batch."""
    whole = normalized(nn.BatchNorm2d(3), pictures(), slice(0, 8))
    for name in ("output", "input_gradient"):
        both = torch.cat([result["norm"][name] for result in results])
        torch.testing.assert_close(both, whole[name], atol=1e-4, rtol=1e-4)
    for name in ("weight_gradient", "bias_gradient"):
        both = results[0]["norm"][name] + results[1]["norm"][name]
        torch.testing.assert_close(both, whole[name], atol=1e-4, rtol=1e-4)
    for name in ("mean", "variance"):
        for result in results:
            torch.testing.assert_close(result["norm"][name], whole[name])


def test_normalization_with_an_idle_worker(results):
    """A worker without rows takes part without changing anything."""
    whole = normalized(nn.BatchNorm2d(3), pictures(), slice(0, 8))
    for name in ("output", "input_gradient", "mean", "variance"):
        torch.testing.assert_close(results[0]["idle"][name], whole[name], atol=1e-4, rtol=1e-4)
    assert results[1]["idle"]["output"].shape == (0, 3, 4, 5)
    torch.testing.assert_close(results[1]["idle"]["variance"], whole["variance"])


def test_normalization_of_a_single_value(results):
    """One value in all uses the running statistics (mean 0, variance 1) and keeps them."""
    single = results[0]["single"]
    torch.testing.assert_close(single["output"], torch.ones(1, 2), atol=1e-4, rtol=0)
    assert single["mean"].tolist() == [0, 0]
    assert single["variance"].tolist() == [1, 1]


def test_conversion_keeps_weights():
    """Converted modules have the same state and output as torch's own."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    network(torch.randn(4, 3, 8, 8))
    x = torch.randn(4, 3, 8, 8)
    expected = network.eval()(x)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    converted = convert_batch_norm(network)
    assert sum(isinstance(part, BatchNorm) for part in converted.modules()) == 2
    assert converted.state_dict().keys() == state.keys()
    torch.testing.assert_close(converted(x), expected, atol=0, rtol=0)

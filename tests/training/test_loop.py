"""The pure PyTorch loop, in this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ni_platform.data.batch import Inputs
from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import BatchSource
from ni_platform.errors import ConfigError, TrainingError
from ni_platform.models.losses import LossConfig
from ni_platform.models.scorer import Scorer
from ni_platform.training.checkpoint import Checkpoint
from ni_platform.training.config import TrainingConfig
from ni_platform.training.events import EpochDone, Event, StageStarted, StepDone
from ni_platform.training.loop import StageTraining
from ni_platform.training.stage_data import StageData
from ni_platform.training.workers import WorkerGroup

CONFIG = TrainingConfig(
    epochs=3, batch_size=16, learning_rate=3e-3, precision="float32", loss=LossConfig(pairwise=0.1)
)


@pytest.fixture
def stage(dataset: Dataset, scorer_folder: Path):
    """Return a function that makes a fresh training of the fused stage."""

    def make(config: TrainingConfig = CONFIG, *, model: nn.Module | None = None, **hooks):
        scorer = Scorer.load(scorer_folder, "cpu")
        data = StageData(
            source=BatchSource(dataset, scorer.inputs),
            train_rows=np.arange(80),
            validation_rows=np.arange(80, len(dataset)),
        )
        return StageTraining(
            "fused", model or scorer.model, data, config, workers=WorkerGroup("cpu"), **hooks
        )

    return make


def weights(training: StageTraining) -> dict[str, torch.Tensor]:
    """A copy of the module's state."""
    return {name: t.clone() for name, t in training.module.state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


class StopError(Exception):
    """Stands for a crash."""


def test_training_learns(stage):
    """The training loss falls and the planted effects are found on unseen tests."""
    outcome = stage(replace(CONFIG, epochs=40, learning_rate=1e-2)).run()
    assert outcome.history[-1]["train_loss"] < 0.7 * outcome.history[0]["train_loss"]
    assert max(entry["pairwise_within"] for entry in outcome.history) > 0.75
    assert outcome.samples_per_second > 0


def test_same_seed_gives_same_weights(stage):
    """Two runs with one seed agree bit for bit although threads load their batches."""
    first, second = stage(), stage(replace(CONFIG, loader_threads=3))
    first.run()
    second.run()
    assert_same(weights(first), weights(second))


@pytest.mark.parametrize("checkpoint_number", [1, 4, 5])
def test_resume_in_mid_epoch_is_exact(stage, tmp_path, checkpoint_number):
    """A run stopped at any checkpoint and resumed ends with the weights of an undisturbed one."""
    config = replace(CONFIG, checkpoint_every=2, early_stopping=2)
    undisturbed = stage(config)
    expected = undisturbed.run()
    saved: list[Checkpoint] = []

    def save(checkpoint):
        saved.append(checkpoint)
        if len(saved) == checkpoint_number:
            checkpoint.save(tmp_path)
            raise StopError

    with pytest.raises(StopError):
        stage(config, save=save).run()
    resumed = stage(config)
    torch.manual_seed(12345)  # another process would have other random states
    outcome = resumed.run(Checkpoint.load(tmp_path))
    assert_same(weights(resumed), weights(undisturbed))
    for mine, its in zip(outcome.history, expected.history):
        mine, its = dict(mine), dict(its)
        mine.pop("samples_per_second"), its.pop("samples_per_second")
        assert mine == its


def test_accumulated_gradient_is_that_of_the_batch(stage):
    """Without BatchNorm and dropout, micro-batches give the weights of the whole batch."""

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.linear = nn.Linear(3, 1)

        def forward(self, inputs: Inputs):
            return self.linear(inputs.modalities["attributes"].tensors[0]).squeeze(1)

    config = replace(CONFIG, epochs=1, clip_norm=0.01)
    whole, parts = stage(config, model=Plain()), stage(config, model=Plain())
    parts.config = replace(config, micro_batch_size=5)
    whole.run()
    parts.run()
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], tensor, rtol=1e-5, atol=1e-6)


def test_first_step_is_adam_on_the_clipped_gradient(stage):
    """One step of the loop equals one of torch's Adam on an independently computed gradient."""
    config = replace(CONFIG, epochs=1, batch_size=80, clip_norm=0.5, monitor=None)

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([0.3, -0.2, 0.1]))

        def forward(self, inputs: Inputs):
            return inputs.modalities["attributes"].tensors[0] @ self.weight

    config = replace(config, loss=LossConfig(mse=1.0))
    training = stage(config, model=Plain())
    batch = training.data.source.load(np.arange(80))
    reference = Plain()
    error = torch.sigmoid(reference(batch.inputs)) - batch.outcomes.success_rate_B
    (error**2).mean().backward()
    nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
    optimizer = torch.optim.Adam(reference.parameters(), lr=config.learning_rate)
    optimizer.step()
    training.run()
    torch.testing.assert_close(training.module.weight, reference.weight)


def test_nan_loss_names_the_contents(stage):
    """A loss that is not finite stops training and names the contents of that batch."""

    class Poisoned(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, inputs: Inputs):
            price = inputs.modalities["attributes"].tensors[0][:, -1]
            return self.scale * torch.where(price == price_of_17, torch.nan, price)

    probe = stage()
    price_of_17 = (
        probe.data.source.load(np.array([17]))
        .inputs.modalities["attributes"]
        .tensors[0][0, -1]
        .item()
    )
    (content,) = probe.data.source.content_ids([17])
    with pytest.raises(TrainingError, match="loss became nan in epoch 1") as caught:
        stage(model=Poisoned()).run()
    named = str(caught.value).split("contents ")[1].split(";")[0].split(", ")
    assert content in named
    assert len(named) <= CONFIG.batch_size


def test_best_epoch_is_kept_and_patience_ends_training(stage):
    """The weights kept are those of the best validation epoch, and no epochs follow for long."""
    config = replace(CONFIG, epochs=60, learning_rate=0.05, early_stopping=3)
    training = stage(config)
    outcome = training.run()
    losses = [entry["loss"] for entry in outcome.history]
    assert outcome.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == outcome.best_epoch + 3
    again = training._validate()
    assert again["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_stopping_after_an_epoch_gives_that_epoch_of_the_longer_training(stage):
    """Two of four epochs end where the four epochs stood after two, learning rate and all."""
    config = replace(CONFIG, epochs=4, warmup=0.2, decay="cosine", monitor=None)
    states: list[dict[str, torch.Tensor]] = []

    def keep(checkpoint):
        states.append({name: tensor.clone() for name, tensor in checkpoint.model.items()})

    stage(config, save=keep).run()
    events: list[Event] = []
    stopped = stage(replace(config, stop_after=2), emit=events.append)
    outcome = stopped.run()
    assert (outcome.best_epoch, len(outcome.history)) == (2, 2)
    assert_same(weights(stopped), states[1])
    assert any(not torch.equal(states[1][name], states[3][name]) for name in states[1])
    assert {event.epochs for event in events if isinstance(event, EpochDone)} == {2}


def test_frozen_encoder_does_not_change(stage, scorer_folder):
    """A frozen encoder keeps weights and BatchNorm statistics; the others move."""
    before = Scorer.load(scorer_folder, "cpu").model.state_dict()
    training = stage(replace(CONFIG, frozen=("domain",), monitor=None))
    training.run()
    moved = {n for n, t in weights(training).items() if not torch.equal(t, before[n])}
    assert not any(name.startswith("encoders.domain.") for name in moved)
    assert any(name.startswith("encoders.text.") for name in moved)
    with pytest.raises(ConfigError, match="video"):
        stage(replace(CONFIG, frozen=("video",)))


def test_pretrained_encoders_have_their_own_learning_rate(stage):
    """With a vanishing encoder learning rate only other parameters move."""
    training = stage(
        replace(CONFIG, epochs=1, encoder_learning_rate=1e-30, monitor=None), pretrained=("text",)
    )
    before = weights(training)
    training.run()
    moved = {n for n, t in weights(training).items() if not torch.allclose(t, before[n])}
    assert moved
    assert not any(name.startswith("encoders.text.") for name in moved)


def test_events_tell_the_course_of_training(stage):
    """A stage starts, its epochs end with metrics, and steps carry loss and speed."""
    events: list[Event] = []
    stage(emit=events.append).run()
    assert isinstance(events[0], StageStarted)
    assert (events[0].contents, events[0].workers, events[0].precision) == (80, 1, "float32")
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert [event.epoch for event in epochs] == [1, 2, 3]
    assert epochs[0].metrics.keys() >= {"train_loss", "loss", "rmse", "pairwise_accuracy"}
    steps = [event for event in events if isinstance(event, StepDone)]
    assert steps
    assert all(event.samples_per_second > 0 and np.isfinite(event.loss) for event in steps)


def test_validation_loss_equals_the_loss_of_all_contents_at_once(stage):
    """The validation loss, computed in pieces, is the loss of the whole validation part."""
    training = stage(replace(CONFIG, epochs=1, monitor=None))
    outcome = training.run()
    rows = training.data.validation_rows
    logits = torch.as_tensor(training.predict(rows))
    expected = training._loss(logits, training.data.source.outcomes(rows))
    assert outcome.history[0]["loss"] == pytest.approx(float(expected), rel=1e-5)

"""Staged training with Ray Train: several workers, crashes, resuming, errors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import ray
import safetensors.torch
import torch
from model_folder import without_dropout
from PIL import Image
from processes import processes_below
from two_workers import train_alone, train_as

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.images import ImageInput
from ni_platform.errors import ConfigError, DatasetError, TrainingError
from ni_platform.models.losses import LossConfig
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.ray_cluster import start_ray
from ni_platform.training import stages
from ni_platform.training.config import TrainingConfig
from ni_platform.training.events import Event, StageStarted, StepDone, StopTraining
from ni_platform.training.stages import StageTask, _chains, _waves, run_stages, trained_scorer
from ni_platform.training.worker import STATE_FILE, StageResult

CONFIG = TrainingConfig(
    epochs=12,
    batch_size=16,
    learning_rate=3e-3,
    precision="float32",
    loss=LossConfig(binomial=1.0, pairwise=0.2),
    checkpoint_every=2,
    loader_threads=2,
)


@pytest.fixture(scope="module")
def trained_here(dataset: Dataset, scorer_folder: Path, tmp_path_factory) -> Path:
    """Folders `one` and `two` with the fused stage trained without Ray by one and two workers.

    The scorer in `initial` has no dropout, as workers draw different dropout masks.
    """
    folder = tmp_path_factory.mktemp("trained_here")
    scorer = without_dropout(scorer_folder, folder / "initial")
    task = fused_task(dataset, Path(scorer))
    train_here(task, folder / "one")
    # Forked, which spares the imports, but not from here: Ray may have started its threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ni_platform.training.worker"])
    processes = [context.Process(target=train_as, args=(r, task, folder)) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return folder


@pytest.fixture
def task(dataset: Dataset, scorer_folder: Path) -> StageTask:
    """The fused stage of the tiny regressor."""
    return fused_task(dataset, scorer_folder)


def fused_task(dataset: Dataset, scorer_folder: Path) -> StageTask:
    """Train the whole regressor on 80 contents and predict the first five."""
    return StageTask(
        name="fused",
        training=CONFIG,
        dataset=dataset.root,
        scorer=str(scorer_folder),
        train_rows=np.arange(80),
        validation_rows=np.arange(80, len(dataset)),
        predict_rows=np.arange(5),
    )


def train_here(
    task: StageTask, folder: Path, states: Mapping[str, Path] = MappingProxyType({})
) -> dict[str, torch.Tensor]:
    """Train a stage in this process, without Ray, and return its weights."""
    train_alone(task, folder, states)
    return state(folder)


def state(folder: Path) -> dict[str, torch.Tensor]:
    """Weights in a stage's folder."""
    return safetensors.torch.load_file(folder / STATE_FILE)


def differing(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> list[str]:
    """Names of tensors that are not equal bit for bit."""
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


class Killer:
    """Kills one worker process in mid-training, once, and keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.killed = False

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)
        if isinstance(event, StepDone) and event.epoch >= 3 and not self.killed:
            self.killed = True
            workers = processes_below("RayTrainWorker")
            os.kill(max(workers, key=lambda process: process.pid).pid, signal.SIGKILL)

    def assert_resumed(self) -> None:
        """The stage was started twice, the second time not from its beginning."""
        starts = [event for event in self.events if isinstance(event, StageStarted)]
        assert len(starts) == 2
        assert (starts[0].epoch, starts[0].step) == (0, 0)
        assert (starts[1].epoch, starts[1].step) > (0, 0)


@pytest.mark.slow
def test_killed_worker_resumes_with_identical_weights(two_cpus, task, tmp_path):
    """A worker killed by SIGKILL goes on, and the weights are those of an undisturbed training."""
    expected = train_here(task, tmp_path / "here")
    killer = Killer()
    results = run_stages([task], tmp_path / "ray", cpus_per_worker=1, on_event=killer)
    killer.assert_resumed()
    assert differing(expected, state(tmp_path / "ray" / "fused")) == []
    assert results["fused"].predictions.shape == (5,)
    assert not list((tmp_path / "ray").glob("checkpoints-*"))


@pytest.mark.slow
def test_workers_that_were_killed_and_stopped_end_with_identical_weights(
    trained_here, two_cpus, task, tmp_path
):
    """One of two is killed, who watches ends the training, and it is resumed.

    It ends with the weights of undisturbed workers, and only the same stage goes on.
    """
    often = replace(CONFIG, checkpoint_every=1)
    task = replace(task, training=often, scorer=str(trained_here / "initial"))
    folder = tmp_path / "run"
    killer = Killer()

    def end_after_the_restart(event: Event) -> None:
        killer(event)
        if killer.killed and isinstance(event, StageStarted):
            raise StopTraining("enough")

    with pytest.raises(StopTraining, match="enough"):
        run_stages([task], folder, workers=2, on_event=end_after_the_restart)
    killer.assert_resumed()
    assert StageResult.read(folder / "fused") is None
    assert ray.is_initialized()

    with pytest.raises(ConfigError, match="holds a training run"):
        run_stages([task], folder, workers=2)
    longer = replace(task, training=replace(often, epochs=13))
    for other, workers in ((longer, 2), (task, 1)):
        with pytest.raises(ConfigError, match="started with other stages"):
            run_stages([other], folder, workers=workers, resume=True)
    events: list[Event] = []
    run_stages([task], folder, workers=2, resume=True, on_event=events.append)
    stopped, resumed = (
        next(event for event in reversed(told) if isinstance(event, StageStarted))
        for told in (killer.events, events)
    )
    assert (resumed.epoch, resumed.step) > (stopped.epoch, stopped.step)
    assert differing(state(trained_here / "two"), state(folder / "fused")) == []


def test_two_workers_train_the_regressor_of_one(trained_here):
    """Losses and predictions after twelve epochs are those of one worker."""
    one, two = (StageResult.read(trained_here / name) for name in ("one", "two"))
    losses = [[epoch["train_loss"] for epoch in result.history] for result in (one, two)]
    np.testing.assert_allclose(losses[1][0], losses[0][0], rtol=1e-4)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)
    # Not the weights: the bias before a BatchNorm has no gradient but rounding, which Adam
    # scales up to steps of the usual size.
    np.testing.assert_allclose(two.predictions, one.predictions, rtol=0.02)


def test_a_stage_starts_from_those_before_it(task, tmp_path):
    """A frozen encoder is the one that was trained before, and the scorer is made of both."""
    first = replace(task, name="text", training=replace(CONFIG, epochs=2))
    second = replace(task, training=replace(CONFIG, epochs=2, frozen=("text",)), after=("text",))
    text = train_here(first, tmp_path / "text")
    fused = train_here(second, tmp_path / "fused", {"text": tmp_path / "text" / STATE_FILE})
    encoder = [name for name in text if name.startswith("encoders.text.")]
    assert encoder
    assert all(torch.equal(fused[name], text[name]) for name in encoder)
    results = {name: StageResult.read(tmp_path / name) for name in ("text", "fused")}
    scorer = trained_scorer([first, second], results, tmp_path / "final")
    frame = Dataset.open(task.dataset).inputs(task.predict_rows)
    rates = scorer.predict(frame)
    np.testing.assert_allclose(rates, results["fused"].predictions, rtol=1e-4)
    reloaded = Scorer.load(tmp_path / "final", "cpu")
    np.testing.assert_array_equal(reloaded.predict(frame), rates)


@pytest.mark.slow
def test_stages_run_side_by_side_where_there_is_room(two_cpus, task, tmp_path):
    """Two stages of one CPU each are trained at the same time, each as if it were alone."""
    config = replace(CONFIG, epochs=2)
    tasks = [replace(task, name=name, training=config) for name in ("text", "domain")]
    results = run_stages(tasks, tmp_path / "run", cpus_per_worker=1)
    assert list(results) == ["text", "domain"]
    for stage in tasks:
        expected = train_here(stage, tmp_path / "here" / stage.name)
        assert differing(expected, state(results[stage.name].folder)) == []


@pytest.mark.slow
def test_killed_driver_resumes_with_identical_weights(two_cpus, task, tmp_path):
    """A driver killed by SIGKILL, started again with resume, ends with the same weights."""
    frozen = replace(CONFIG, frozen=("text",))
    tasks = [
        replace(task, name="text", training=replace(CONFIG, epochs=2)),
        replace(task, training=frozen, after=("text",)),
    ]
    script = tmp_path / "driver.py"
    rows = len(Dataset.open(task.dataset))
    script.write_text(
        DRIVER.format(dataset=task.dataset, scorer=task.scorer, folder=tmp_path, rows=rows)
    )
    child = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:2]))},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "in mid-training\n"
    child.kill()
    child.wait()
    assert (tmp_path / "run" / "text" / "result.json").exists()
    assert not (tmp_path / "run" / "fused" / "result.json").exists()
    events: list[Event] = []
    folder = tmp_path / "run"
    run_stages(tasks, folder, cpus_per_worker=1, resume=True, on_event=events.append)
    (start,) = [event for event in events if isinstance(event, StageStarted)]
    assert start.stage == "fused"
    assert (start.epoch, start.step) > (0, 0)
    train_here(tasks[0], tmp_path / "here" / "text")
    states = {"text": tmp_path / "here" / "text" / STATE_FILE}
    fused = train_here(tasks[1], tmp_path / "here" / "fused", states)
    assert differing(fused, state(folder / "fused")) == []


DRIVER = """
from dataclasses import replace
import numpy as np
from ni_platform.ray_cluster import start_ray
from ni_platform.training.events import StepDone
from ni_platform.training.stages import StageTask, run_stages
from test_stages import CONFIG

def tell(event):
    if isinstance(event, StepDone) and event.stage == "fused" and event.epoch >= 3:
        print("in mid-training", flush=True)

if __name__ == "__main__":
    start_ray(cpus=2)
    rows = np.arange(80)
    fused = StageTask(
        name="fused", training=replace(CONFIG, frozen=("text",)),
        dataset={dataset!r}, scorer={scorer!r}, train_rows=rows,
        validation_rows=np.arange(80, {rows}), predict_rows=np.arange(5), after=("text",),
    )
    text = replace(fused, name="text", training=replace(CONFIG, epochs=2), after=())
    run_stages([text, fused], "{folder}/run", cpus_per_worker=1, on_event=tell)
"""


@pytest.mark.slow
def test_error_of_one_worker_reaches_the_driver(two_cpus, dataset, tmp_path):
    """A picture that does not decode stops both workers with its content's id and no traceback."""
    contents = dataset.contents.head(40).assign(image=[f"{i}.png" for i in range(40)])
    pictures = {}
    for i, name in enumerate(contents["image"]):
        pictures[name] = tmp_path / name
        Image.new("RGB", (32, 32), (6 * i, 0, 0)).save(pictures[name])
    pictures["7.png"].write_bytes(b"not a picture")
    manifest = replace(
        dataset.manifest,
        images="images",
        columns=replace(dataset.manifest.columns, image="image"),
    )
    broken = write_dataset(tmp_path / "dataset", manifest, contents, pictures)
    model = NeuralInsightsConfig(image=ImageEncoderConfig(input=ImageInput(size=32)))
    build_scorer(model, broken, np.arange(40), seed=0).save(tmp_path / "scorer")
    task = StageTask(
        name="fused",
        training=replace(CONFIG, epochs=1),
        dataset=str(tmp_path / "dataset"),
        scorer=str(tmp_path / "scorer"),
        train_rows=np.arange(40),
        validation_rows=np.arange(0),
    )
    content = contents["content_id"][7]
    with pytest.raises(DatasetError, match=f"content '{content}'") as caught:
        run_stages([task], tmp_path / "run", workers=2)
    assert "Traceback" not in str(caught.value)


@pytest.mark.slow
def test_a_run_whose_reports_are_lost_is_told(two_cpus, task, tmp_path, monkeypatch):
    """The process through which workers report may be killed, by a machine out of memory say."""
    start_ray()
    mailbox = stages.open_mailbox()
    ray.kill(mailbox)
    monkeypatch.setattr(stages, "open_mailbox", lambda: mailbox)
    with pytest.raises(TrainingError, match=r"report died.*what is done is kept, resume the run"):
        run_stages([task], tmp_path, cpus_per_worker=1)


def test_stages_are_ordered_and_divided(task):
    """Stages wait for those they come after, and a single lane holds all of them."""
    text, domain = replace(task, name="text"), replace(task, name="domain")
    fused = replace(task, after=("text", "domain"))
    waves = _waves([fused, text, domain])
    assert [[t.name for t in wave] for wave in waves] == [["text", "domain"], ["fused"]]
    assert _chains(waves, 1) == [[[text, domain, fused]]]
    assert _chains(waves, 3) == [[[text], [domain]], [[fused]]]
    with pytest.raises(ConfigError, match="wait for one another"):
        _waves([replace(text, after=("domain",)), replace(domain, after=("text",))])
    with pytest.raises(ConfigError, match="different names"):
        _waves([text, text])


def test_more_workers_than_cpus_are_refused(two_cpus, task, tmp_path):
    """Workers that the cluster cannot hold are an error before anything starts."""
    with pytest.raises(ConfigError, match="lower --workers"):
        run_stages([task], tmp_path / "run", workers=64)

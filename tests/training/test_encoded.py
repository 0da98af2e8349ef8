"""Encoders' outputs that are computed once, and training on them."""

from __future__ import annotations

import pickle
from dataclasses import is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from pictured import M2FN, NI, TEXT, write_pictured

from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import BatchSource
from ni_platform.errors import ConfigError, ImageError
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.losses import LossConfig
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.training.config import TrainingConfig
from ni_platform.training.encoded import encode_once, reasons_against
from ni_platform.training.encoded_source import EncodedSource
from ni_platform.training.shared_stage import SharedStage
from ni_platform.training.worker import StageTask, load_state, opened, train_stage
from ni_platform.training.workers import WorkerGroup

TRAIN, VALIDATION = np.arange(48), np.arange(48, 70)
CONFIG = TrainingConfig(
    epochs=2,
    batch_size=12,
    learning_rate=3e-3,
    precision="float32",
    monitor=None,  # of two epochs that are nearly as good, rounding would choose the better one
    loss=LossConfig(mse=0.0, binomial=1.0, pairwise=0.2),
    loader_threads=2,
)
NO_FUSION = (False,) * 5


@pytest.fixture(scope="module")
def contents(tmp_path_factory) -> Dataset:
    """A dataset with every modality."""
    return write_pictured(tmp_path_factory.mktemp("contents") / "one")


@pytest.fixture(scope="module")
def scorer(contents) -> Scorer:
    """An untrained Neural Insights regressor."""
    return build_scorer(NI, contents, TRAIN, seed=0)


def train(stage):
    """Train a stage here; returns its module and the errors of each epoch.

    Speeds are not compared, and neither are ranks: a near tie falls either way by rounding.
    """
    training = stage.start(workers=WorkerGroup("cpu"))
    outcome = training.run()
    errors = [
        {name: epoch[name] for name in ("epoch", "train_loss", "loss", "rmse")}
        for epoch in outcome.history
    ]
    return stage.module, errors


@pytest.mark.parametrize(
    ("prepared", "trial", "frozen", "pretrained", "precision"),
    [
        (NI, replace(NI, regression=MLPConfig(hidden=(24, 8), dropout=0.5)),
         ("image", "text"), ("text", "domain"), "float32"),
        (NI, replace(NI, attributes=None), ("image", "text"), (), "bfloat16"),
        (M2FN, replace(M2FN, output="distribution"), ("text",), (), "float32"),
        (replace(M2FN, low_level=NO_FUSION), replace(M2FN, low_level=NO_FUSION, head=(12, 4)),
         ("text", "image"), (), "float32"),
        (replace(M2FN, low_level=NO_FUSION), M2FN, ("text", "image"), (), "float32"),
    ],
    ids=["ni", "ni-bfloat16", "m2fn-text", "m2fn-image", "m2fn-image-not-usable"],
)  # fmt: skip
def test_training_on_encoded_rows_is_training_on_contents(
    contents, tmp_path, prepared, trial, frozen, pretrained, precision
):
    """Losses of each epoch are equal, and so are predictions of the trained regressors."""
    training = replace(CONFIG, frozen=frozen, precision=precision)
    task = StageTask(
        name="fused",
        training=training,
        dataset=contents.root,
        scorer=str(tmp_path / "trial"),
        train_rows=TRAIN,
        validation_rows=VALIDATION,
        after=pretrained,
    )
    build_scorer(prepared, contents, TRAIN, training.seed).save(tmp_path / "prepared")
    build_scorer(trial, contents, TRAIN, training.seed).save(tmp_path / "trial")
    states = {}
    for name in pretrained:
        one = replace(task, name=name, training=replace(CONFIG, epochs=1), after=())
        train_stage(
            one, tmp_path / name, states={}, workers=WorkerGroup("cpu"), resume=None,
            emit=lambda event: None, save=lambda checkpoint: None,
        )  # fmt: skip
        states[name] = tmp_path / name / "state.safetensors"

    whole, expected = train(opened(task, states, torch.device("cpu")))
    shared = SharedStage.prepare(
        tmp_path / "prepared", contents, training, TRAIN, VALIDATION, tmp_path / "encoded",
        states=states,
    )  # fmt: skip
    module, history = train(through_pickle(shared).stage(trial, training))
    tolerance = 2e-5 if precision == "float32" else 2e-3
    for mine, its in zip(history, expected, strict=True):
        assert mine == pytest.approx(its, rel=tolerance)

    used = [name for name in frozen if name not in reasons_against(trial, training)]
    absent = tuple(f"encoders.{name}." for name in used)
    assert set(module.state_dict()) == {n for n in whole.state_dict() if not n.startswith(absent)}
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "state.safetensors")
    found = Scorer.load(tmp_path / "trial", "cpu")
    for path in [*states.values(), tmp_path / "state.safetensors"]:
        load_state(found.model, path)
    its = Scorer(trial, whole, found.inputs).predict(contents.inputs())
    assert found.predict(contents.inputs()) == pytest.approx(its, rel=100 * tolerance)


def through_pickle(shared: SharedStage) -> SharedStage:
    """As Ray sends it: arrays beside the pickle, which come back read-only."""
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(shared, protocol=5, buffer_callback=buffers.append)
    arrays = sum(len(buffer.raw()) for buffer in buffers)
    outputs = sum(output.values.nbytes for output in shared.source.outputs.values())
    assert arrays > outputs > 0
    assert len(content) < 20_000
    return pickle.loads(content, buffers=[bytes(buffer.raw()) for buffer in buffers])


def test_batches_are_those_of_the_dataset(contents):
    """Field by field, with texts joined and apart, and pictures cropped or not."""
    rng = np.random.default_rng(0)
    for model, crop in ((NI, 20), (M2FN, None)):
        inputs = build_scorer(model, contents, TRAIN, seed=0).inputs
        mine = EncodedSource(contents, inputs, {}).using((), crop=crop)
        its = BatchSource(contents, inputs, crop=crop)
        for rows in [rng.permutation(70)[:9], np.array([3]), np.arange(70)]:
            for seed in (None, 5):
                draws = [seed if seed is None else np.random.default_rng(seed) for _ in range(2)]
                assert_equal(mine.load(rows, draws[0]), its.load(rows, draws[1]))
        assert mine.content_ids([1, 3]) == its.content_ids([1, 3])
        assert np.array_equal(mine.ab_test_codes, its.ab_test_codes)


def assert_equal(mine, its):
    """Two batches are the same, type and value."""
    assert type(mine) is type(its)
    if isinstance(mine, torch.Tensor):
        assert mine.dtype == its.dtype
        assert torch.equal(mine, its)
    elif is_dataclass(mine):
        for name, value in vars(mine).items():
            assert_equal(value, getattr(its, name))
    elif isinstance(mine, dict):
        assert mine.keys() == its.keys()
        for name, value in mine.items():
            assert_equal(value, its[name])
    elif isinstance(mine, list | tuple):
        assert len(mine) == len(its)
        for one, other in zip(mine, its):
            assert_equal(one, other)
    else:
        assert mine == its


@pytest.fixture
def runs(scorer):
    """Counts how often the text encoder runs."""
    count = []
    hook = scorer.model.encoders["text"].register_forward_hook(lambda *args: count.append(1))
    yield count
    hook.remove()


def test_found_again_until_something_changes(contents, scorer, runs, tmp_path):
    """Nothing runs a second time but for other weights, contents, precision or columns."""
    frozen = replace(CONFIG, frozen=("text",))
    done: list[int] = []

    def encode(dataset=contents, training=frozen):
        runs.clear()
        found = encode_once(scorer, "text", dataset, training, tmp_path, progress=done.append)
        return found, len(runs)

    first, ran = encode()
    assert (ran, sum(done)) == (2, 70)
    again, ran = encode(training=replace(frozen, learning_rate=1.0, seed=3))
    assert (ran, sum(done)) == (0, 70)
    assert np.array_equal(again.values, first.values)
    assert not again.values.flags.writeable
    assert encode(dataset=write_pictured(tmp_path / "two", price=1.0))[1] == 2
    half, ran = encode(training=replace(frozen, precision="bfloat16"))
    assert ran == 2
    every = np.arange(70)
    assert half.rows(every).float() == pytest.approx(first.rows(every), abs=0.1)
    weight = next(scorer.model.encoders["text"].parameters())
    with torch.no_grad():
        weight[0, 0] += 1
    assert encode()[1] == 2
    with torch.no_grad():
        weight[0, 0] -= 1
    empty = first.rows(np.flatnonzero(contents.contents[["title", "subtitle"]].isna().all(axis=1)))
    assert 3 < len(empty) < 10
    assert not empty.any()
    assert (first.rows(every) != 0).any(1).sum() == 70 - len(empty)


def test_the_first_of_two_processes_wins(contents, scorer, tmp_path):
    """A second one that finishes in the meantime does no harm, and no scraps are left."""
    frozen = replace(CONFIG, frozen=("text",))
    inner = []

    def meanwhile(rows):
        if not inner:
            inner.append(None)
            inner[0] = encode_once(scorer, "text", contents, frozen, tmp_path)

    outer = encode_once(scorer, "text", contents, frozen, tmp_path, progress=meanwhile)
    assert np.array_equal(outer.values, inner[0].values)
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_leaves_nothing(scorer, tmp_path):
    """A picture that cannot be read is named, and no folder looks complete."""
    broken = write_pictured(tmp_path / "broken")
    (Path(broken.root) / "images" / "66.png").write_bytes(b"no picture")
    frozen = replace(CONFIG, frozen=("image",))
    with pytest.raises(ImageError, match=f"content '{broken.content_id[66]}'"):
        encode_once(scorer, "image", broken, frozen, tmp_path / "encoded")
    assert list((tmp_path / "encoded").iterdir()) == []


def test_reasons_are_told():
    """Each modality is encoded once or has a reason against it."""
    frozen = replace(CONFIG, frozen=("image", "text"))
    assert reasons_against(NI, frozen) == {
        "domain": "its encoder is trained (training.frozen does not name domain)",
        "attributes": "its encoder is trained (training.frozen does not name attributes)",
    }
    cropped = reasons_against(NI, replace(frozen, image_crop=20))
    assert cropped["image"] == "pictures are cropped at random (training.image_crop=20)"
    fused = reasons_against(M2FN, frozen)
    assert "conditional batch normalization inside its network" in fused["image"]
    assert set(reasons_against(replace(M2FN, low_level=NO_FUSION), frozen)) == {"attributes"}


def test_a_config_that_reads_otherwise_is_refused(contents, scorer, tmp_path):
    """The error names the setting; a change of a frozen encoder is one as well."""
    frozen = replace(CONFIG, frozen=("text",))
    scorer.save(tmp_path / "initial")
    shared = SharedStage.prepare(
        tmp_path / "initial", contents, frozen, TRAIN, VALIDATION, tmp_path / "encoded"
    )
    wider = replace(NI, domain=replace(NI.domain, buckets=17))
    with pytest.raises(ConfigError, match=r"model\.domain must stay .* 16, but is 17"):
        shared.stage(wider, frozen)
    with pytest.raises(ConfigError, match=r"model\.text must stay"):
        shared.stage(replace(NI, text=replace(TEXT, pooling="mean")), frozen)
    with pytest.raises(ConfigError, match="kind neural_insights, but this one is m2fn"):
        shared.stage(M2FN, frozen)
    deeper = replace(NI, domain=replace(NI.domain, mlp=MLPConfig(hidden=(4, 4))))
    assert shared.stage(deeper, frozen).module.encoders["domain"].width == 4

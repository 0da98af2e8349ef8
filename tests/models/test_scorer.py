"""From a dataset to a saved regressor and back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import TypeAdapter

from ni_platform.data.dataset import Dataset
from ni_platform.data.images import ImageInput
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.text import TextEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.models.scorer import Scorer, build_scorer
from tests.models.test_neural_insights import SMALL
from tests.tiny_bert import save_bert

CONFIG = replace(SMALL, image=ImageEncoderConfig(input=ImageInput(size=None)))


def perturbed(scorer: Scorer) -> Scorer:
    """Stands for a trained network: no weight or statistic has its initial value."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in scorer.model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.01 * torch.rand(value.shape, generator=generator))
    return scorer


@pytest.fixture
def scorer(dataset: Dataset) -> Scorer:
    """A regressor with native-size pictures."""
    return perturbed(build_scorer(CONFIG, dataset, np.arange(12), seed=0))


def test_predictions_are_rates(scorer: Scorer, dataset: Dataset):
    """Every row gets one rate in (0, 1), also rows with missing modalities."""
    done = []
    rates = scorer.predict(dataset.inputs(), batch_size=5, progress=done.append)
    assert rates.shape == (24,)
    assert rates.dtype == np.float64
    assert ((rates > 0) & (rates < 1)).all()
    assert len(set(rates)) == 24
    assert done == [5, 5, 5, 5, 4]


def test_predictions_do_not_depend_on_the_batch(scorer: Scorer, dataset: Dataset):
    """A row's rate is the same in any company, to rounding."""
    frame = dataset.inputs()
    np.testing.assert_allclose(
        scorer.predict(frame), scorer.predict(frame, batch_size=1), rtol=1e-4
    )


def test_empty_table(scorer: Scorer, dataset: Dataset):
    """No rows give no rates."""
    assert scorer.predict(dataset.inputs([])).shape == (0,)


def test_saved_regressor_predicts_the_same_bits(scorer: Scorer, dataset: Dataset, tmp_path: Path):
    """A loaded regressor gives bit-equal rates."""
    folder = tmp_path / "model"
    scorer.save(folder)
    loaded = Scorer.load(folder, device="cpu")
    frame = dataset.inputs()
    assert np.array_equal(loaded.predict(frame), scorer.predict(frame))
    assert loaded.config == scorer.config
    for name, reader in scorer.inputs.readers.items():
        assert loaded.inputs.readers[name].describe() == reader.describe()


def test_saving_twice_replaces(scorer: Scorer, dataset: Dataset, tmp_path: Path):
    """A folder that is there already is replaced, and nothing else is left."""
    folder = tmp_path / "saved" / "model"
    scorer.save(folder)
    (folder / "old.txt").write_text("old")
    perturbed(scorer).save(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert not (folder / "old.txt").exists()
    frame = dataset.inputs()
    assert np.array_equal(Scorer.load(folder, "cpu").predict(frame), scorer.predict(frame))


def test_interrupted_save_leaves_nothing(scorer: Scorer, tmp_path: Path, monkeypatch):
    """When writing fails, there is no folder that looks like a regressor."""

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        scorer.save(tmp_path / "saved" / "model")
    assert list((tmp_path / "saved").iterdir()) == []


def test_transformers_backbone_needs_no_source(dataset: Dataset, tmp_path: Path):
    """A regressor with a pretrained encoder loads in a process of its own without its source."""
    source = tmp_path / "bert"
    save_bert(source)
    config = NeuralInsightsConfig(text=TextEncoderConfig(weights=str(source), max_tokens=16))
    scorer = perturbed(build_scorer(config, dataset, np.arange(12), seed=0))
    scorer.save(tmp_path / "model")
    expected = scorer.predict(dataset.inputs())
    shutil.rmtree(source)
    dataset.inputs().to_parquet(tmp_path / "frame.parquet")
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('the network was asked')\n"
        "socket.socket.connect = refuse\n"
        "import numpy as np, pandas as pd\n"
        "from ni_platform.models.scorer import Scorer\n"
        "rates = Scorer.load(sys.argv[1], 'cpu').predict(pd.read_parquet(sys.argv[2]))\n"
        "np.save(sys.argv[3], rates)\n"
    )
    arguments = [tmp_path / "model", tmp_path / "frame.parquet", tmp_path / "rates.npy"]
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)
    assert np.array_equal(np.load(tmp_path / "rates.npy"), expected)


def test_saved_files(scorer: Scorer, tmp_path: Path):
    """The folder holds a description, safetensors and the tokenizer, and never a pickle."""
    scorer.save(tmp_path / "model")
    files = {str(p.relative_to(tmp_path / "model")) for p in (tmp_path / "model").rglob("*.*")}
    assert files == {
        "regressor.json",
        "weights.safetensors",
        "tokenizer/tokenizer.json",
        "tokenizer/settings.json",
        "backbones/text/config.json",
    }
    description = json.loads((tmp_path / "model" / "regressor.json").read_text())
    assert description["kind"] == "neural_insights"


def test_building_is_a_function_of_the_seed(dataset: Dataset):
    """Equal seeds give equal weights, whatever the global random state, which stays as it is."""
    states = []
    for seed in (0, 0, 1):
        torch.rand(3)
        before = torch.random.get_rng_state()
        states.append(build_scorer(CONFIG, dataset, np.arange(12), seed).model.state_dict())
        assert torch.equal(torch.random.get_rng_state(), before)
    name = "encoders.image.network.stem.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


def test_built_on_training_rows(dataset: Dataset):
    """The starting rate is the training rows' mean success rate."""
    rows = np.arange(9)
    scorer = build_scorer(CONFIG, dataset, rows, seed=0)
    assert scorer.model.initial_rate == pytest.approx(dataset.success_rate[rows].mean())


def test_no_training_rows(dataset: Dataset):
    """A regressor cannot be built on nothing."""
    with pytest.raises(DatasetError, match="training rows"):
        build_scorer(CONFIG, dataset, [], seed=0)


def test_folder_without_a_regressor(tmp_path: Path):
    """Loading any other folder is one clear error."""
    with pytest.raises(ConfigError, match="not a saved regressor"):
        Scorer.load(tmp_path)


def test_regressor_of_another_version(scorer: Scorer, tmp_path: Path):
    """An unknown format or kind is an error that names the version it was saved by."""
    scorer.save(tmp_path / "model")
    path = tmp_path / "model" / "regressor.json"
    path.write_text(path.read_text().replace('"format": 3', '"format": 99'))
    with pytest.raises(ConfigError, match=r"format 99.*saved by version"):
        Scorer.load(tmp_path / "model")


def test_a_regressor_of_format_2(scorer: Scorer, dataset: Dataset, tmp_path: Path):
    """One flat schema told which columns were read; its predictions are the same."""
    scorer.save(tmp_path / "model")
    path = tmp_path / "model" / "regressor.json"
    description = json.loads(path.read_text())
    del description["columns"]
    attributes = description.pop("inputs")["attributes"]
    description |= {
        "format": 2,
        "schema": {
            "image": "image",
            "text": ["title", "description"],
            "domain": "location",
            "categorical": attributes["categorical"],
            "numeric": attributes["numeric"],
            "vector": [],
        },
    }
    path.write_text(json.dumps(description))
    loaded = Scorer.load(tmp_path / "model", "cpu")
    assert loaded.roles == scorer.roles
    frame = dataset.inputs()
    assert np.array_equal(loaded.predict(frame), scorer.predict(frame))


def test_damaged_weights(scorer: Scorer, tmp_path: Path):
    """Weights that were cut short are an error that names the folder."""
    scorer.save(tmp_path / "model")
    path = tmp_path / "model" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="do not fit"):
        Scorer.load(tmp_path / "model")


def test_config_round_trip():
    """A config survives JSON."""
    adapter = TypeAdapter(NeuralInsightsConfig)
    assert adapter.validate_json(adapter.dump_json(CONFIG)) == CONFIG


def test_pictures_as_bytes(scorer: Scorer, dataset: Dataset):
    """Encoded bytes in the image column give what paths give."""
    frame = dataset.inputs()
    as_bytes = frame.assign(
        image=pd.Series(
            [p if p is None else Path(p).read_bytes() for p in frame["image"]], dtype=object
        )
    )
    assert np.array_equal(scorer.predict(frame), scorer.predict(as_bytes))

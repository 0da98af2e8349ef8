"""Layers that a Gaussian process chooses by the validation part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from transformers import BertModel, ModernBertConfig, ModernBertModel

from ni_platform.chosen_layers import choose_layers
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.splits import SplitConfig
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.modality import InputSize, layer_options
from ni_platform.models.modalities.text import TextEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.opened import OpenedExperiment, open_experiment
from ni_platform.training.at_once import fit_at_once
from tests.tiny_bert import WORDS, save_bert

TEXT = TextEncoderConfig(pooling="mean", max_tokens=16, layers="auto")


@pytest.mark.parametrize(
    ("depth", "options"),
    [
        (1, ((1,),)),
        (2, ((1,), (2,))),
        (6, ((1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 6), (6,))),
        (12, ((2, 4, 6), (4, 6, 8), (6, 8, 10), (8, 10, 12), (12,))),
    ],
)
def test_options(depth, options):
    """Three layers evenly apart from each depth, and the last alone."""
    assert layer_options(depth) == options


@pytest.fixture
def opened(tmp_path) -> OpenedExperiment:
    """Tests of three texts; who is clicked follows from the first layer, the second is noise."""
    bert = save_bert(tmp_path / "bert")
    blind(bert).save_pretrained(tmp_path / "bert")
    rng = np.random.default_rng(0)
    free = rng.random(900) < 0.5
    # A word that the tokenizer does not know keeps texts apart, which equal ones would not be.
    texts = [f"{'free ' * 5 if yes else 'shoes ' * 5} w{row}" for row, yes in enumerate(free)]
    level = rng.normal(-2, 0.5, 300)[np.arange(900) // 3]
    frame = pd.DataFrame(
        {
            "id": range(900),
            "test": [f"t{row // 3}" for row in range(900)],
            "text": texts,
            "shown": 3000,
            "clicks": rng.binomial(3000, expit(level + np.where(free, 0.4, -0.4))),
        }
    )
    manifest = Manifest(
        name="d",
        columns=Columns(content_id="id", ab_test="test", text=("text",)),
        target=Target(impressions="shown", clicks="clicks"),
        assignment="randomised",
    )
    write_dataset(tmp_path / "d", manifest, frame)
    config = ExperimentConfig(
        name="tests.auto",
        model=GaussianProcessConfig(text=replace(TEXT, weights=str(tmp_path / "bert"))),
        splits=SplitConfig(near_duplicate_similarity=1.0),
    )
    return open_experiment(config, str(tmp_path / "d"))


def blind(bert: BertModel) -> BertModel:
    """The same network, but its second layer gives the same for every text."""
    with torch.no_grad():
        norm = bert.encoder.layer[1].output.LayerNorm
        norm.weight.zero_()
        norm.bias.copy_(torch.linspace(-1, 1, len(norm.bias)))
    return bert


def test_the_layer_that_tells_is_chosen(opened, tmp_path):
    """It is read by the experiment, and its numbers are those of an encoder of that layer alone."""
    said: list[str] = []
    chosen, outputs = choose_layers(opened, tmp_path / "encoded", said.append)
    assert chosen.config.model.text.layers == (1,)
    assert sum("on validation" in text for text in said) == 2
    assert said[-1] == "reading layers (1,) of text"
    rows = np.arange(20)
    named = replace(
        opened,
        config=replace(
            opened.config,
            model=replace(opened.config.model, text=chosen.config.model.text),
        ),
    )
    keys = opened.dataset.contents["text"].to_numpy()
    train = opened.splits.rows("train")
    own = fit_at_once(named.build_scorer(), opened.readable, keys, train, tmp_path / "own")
    torch.testing.assert_close(outputs["text"].rows(rows), own.outputs["text"].rows(rows))
    assert outputs["text"].width == own.outputs["text"].width == 32


def test_an_encoder_that_normalises_its_end(opened, tmp_path):
    """ModernBERT cut after a layer normalises it; then the cut one's own outputs are taken."""
    torch.manual_seed(0)
    ModernBertModel(
        ModernBertConfig(
            vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=4, num_attention_heads=2,
            intermediate_size=64, pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2,
            eos_token_id=3,
        )
    ).save_pretrained(tmp_path / "bert")  # fmt: skip
    chosen, outputs = choose_layers(opened, tmp_path / "encoded", lambda text: None)
    assert len(chosen.config.model.text.layers) in (1, 3)
    rows, dataset = np.arange(8), chosen.dataset
    fitted = fit_at_once(
        chosen.build_scorer(), dataset, dataset.contents["text"].to_numpy(),
        chosen.splits.rows("train"), tmp_path / "own", outputs=outputs,
    )  # fmt: skip
    with fitted.scorer.evaluating():
        inputs = fitted.scorer.inputs.encode(dataset.inputs(rows))
        served = fitted.scorer.model.encode("text", inputs)
    torch.testing.assert_close(fitted.outputs["text"].rows(rows), served, rtol=1e-3, atol=1e-4)


def test_what_is_named_is_left_alone(opened, tmp_path):
    """Nothing is encoded to choose by, nothing is said."""
    text = replace(opened.config.model.text, layers=(2,))
    model = replace(opened.config.model, text=text)
    named = replace(opened, config=replace(opened.config, model=model))
    chosen, outputs = choose_layers(named, tmp_path / "encoded", pytest.fail)
    assert chosen.config == named.config
    assert not outputs


def test_without_validation_there_is_nothing_to_choose_by(opened, tmp_path):
    """One message, before anything is encoded."""
    trained = replace(opened, splits=opened.splits.with_validation_trained())
    with pytest.raises(DatasetError, match="layers='auto' are chosen by validation contents"):
        choose_layers(trained, tmp_path / "encoded", pytest.fail)


@pytest.mark.parametrize(
    "part", [TEXT, ImageEncoderConfig(architecture="efficientnet_lite0", layers="auto")]
)
def test_networks_are_told_to_name_them(part):
    """Only a Gaussian process chooses."""
    with pytest.raises(ConfigError, match=r"layers='auto' is for a Gaussian process"):
        part.build(InputSize())


def test_a_config_keeps_its_word():
    """`auto` is no list of letters."""
    assert NeuralInsightsConfig(text=TEXT).text.layers == "auto"

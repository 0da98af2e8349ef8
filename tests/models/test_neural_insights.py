"""The network of NI Section 3 and Table 3."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from ni_platform.data.batch import Inputs, ModalityInputs
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import load_experiment
from ni_platform.models.encoders.mlp import MLP, MLPConfig
from ni_platform.models.encoders.preactivation_resnet import PreactivationResNet
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.modalities.domain import DomainEncoderConfig, domain_counts
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.modality import InputSize
from ni_platform.models.modalities.text import (
    ScratchTransformerConfig,
    TextEncoder,
    TextEncoderConfig,
)
from ni_platform.models.neural_insights import NeuralInsights, NeuralInsightsConfig
from ni_platform.models.scorer import build_scorer

SMALL = NeuralInsightsConfig(
    image=ImageEncoderConfig(),
    text=TextEncoderConfig(
        architecture="scratch",
        weights=None,
        max_tokens=16,
        dropout=0.0,
        scratch=ScratchTransformerConfig(layers=1, width=16, heads=2),
    ),
    domain=DomainEncoderConfig(buckets=8, mlp=MLPConfig(hidden=(12,))),
    attributes=AttributesEncoderConfig(mlp=MLPConfig(hidden=(10,))),
    regression=MLPConfig(hidden=(16, 8)),
)


def small_model(config: NeuralInsightsConfig = SMALL) -> NeuralInsights:
    """Every modality, seconds to train."""
    torch.manual_seed(0)
    sizes = {"attributes": InputSize(width=5), "text": InputSize(vocabulary=50)}
    return NeuralInsights(config, sizes, initial_rate=0.02)


def trained(module: nn.Module) -> list[nn.Parameter]:
    """All weights but the biases before batch normalization."""
    biases = {
        id(first.bias)
        for mlp in module.modules()
        if isinstance(mlp, MLP)
        for first in mlp.layers
        if isinstance(first, nn.Linear)
    }
    return [parameter for parameter in module.parameters() if id(parameter) not in biases]


def some_inputs(size: int = 6) -> Inputs:
    """Random inputs whose modalities are all present."""
    generator = torch.Generator().manual_seed(1)
    everything = torch.ones(size, dtype=torch.bool)
    pixels = torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8, generator=generator)
    tokens = torch.randint(0, 50, (size, 8), generator=generator)
    tensors = {
        "image": (pixels,),
        "text": (tokens, torch.ones(size, 8, dtype=torch.int64)),
        "domain": (torch.rand(size, 8, generator=generator),),
        "attributes": (torch.rand(size, 5, generator=generator),),
    }
    return Inputs(
        size=size,
        modalities={
            name: ModalityInputs(tensors=found, present_B=everything, complete=True)
            for name, found in tensors.items()
        },
    )


def lacking(inputs: Inputs, **present: torch.Tensor) -> Inputs:
    """The same inputs, of which only these rows have a modality."""
    for name, present_B in present.items():
        read = replace(inputs.modalities[name], present_B=present_B, complete=False)
        inputs = inputs.with_modality(name, read)
    return inputs


def test_what_is_known_to_be_complete_is_read_as_what_is_asked():
    """Whether all rows have a modality may be known before; the prediction is the same."""
    known = some_inputs()
    asked = replace(
        known,
        modalities={n: replace(read, complete=False) for n, read in known.modalities.items()},
    )
    model = small_model().eval()
    torch.testing.assert_close(model(known), model(asked), atol=0, rtol=0)


def weights(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_table_counts_all(tmp_path):
    """The parts' parameters add up to the network's, and each encoder has its own line."""
    dataset = make_synthetic(tmp_path / "data", tests=3, image_size=32)
    config = load_experiment("neural_insights.quickstart").model
    model = build_scorer(config, dataset, np.arange(len(dataset)), 0).model
    counts = dict(model.parameter_table())
    assert list(counts) == ["image", "text", "domain", "attributes", "regression", "output"]
    assert sum(counts.values()) == sum(p.numel() for p in model.parameters())
    # Table 3's stem and four blocks of 32 channels, three of them with a shortcut, and two norms.
    convolutions = 27 * 32 + 32 + 8 * 9 * 32 * 32 + 3 * 32 * 32
    assert counts["image"] == convolutions + 9 * 2 * 32


def test_image_network_has_table_3s_size():
    """Stem, four blocks of two 3x3 convolutions, three strided shortcuts, final norm: 78,272."""
    stem = 3 * 3 * 3 * 32 + 32
    block = 2 * (3 * 3 * 32 * 32 + 2 * 32)
    shortcuts = 3 * 32 * 32
    assert weights(PreactivationResNet()) == stem + 4 * block + shortcuts + 2 * 32 == 78_272


def test_mlps_have_table_3s_size():
    """MLP1 and MLP2 of Table 3: 512, 1024, 1024, 512 units, each with batch normalization."""
    first = 256 * 512 + 512
    rest = 512 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 * 512 + 512
    norms = 2 * (512 + 1024 + 1024 + 512)
    assert weights(MLP(256, MLPConfig())) == first + rest + norms == 2_237_440


def test_regression_has_table_3s_size():
    """MLP3 reads 32 + 512 + 512 values and ends in one unit after 512, 1024 and 1024."""
    config = NeuralInsightsConfig(
        image=ImageEncoderConfig(),
        domain=DomainEncoderConfig(),
        attributes=AttributesEncoderConfig(),
        regression=MLPConfig(hidden=(512, 1024, 1024)),
    )
    model = NeuralInsights(config, {"attributes": InputSize(width=7)})
    layers = (32 + 512 + 512) * 512 + 512 + 512 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 + 1
    norms = 2 * (512 + 1024 + 1024)
    assert weights(model.regression) + weights(model.output) == layers + norms == 2_122_241


def test_image_network_halves_three_times():
    """Strides 1, 2, 2, 2 leave an eighth of height and width, rounded up."""
    assert PreactivationResNet().features(torch.zeros(2, 3, 50, 64)).shape == (2, 32, 7, 8)


def test_output_starts_at_the_given_rate():
    """With zero weights the output layer predicts the initial rate."""
    model = small_model()
    nn.init.zeros_(model.output.weight)
    assert torch.sigmoid(model.eval()(some_inputs())).tolist() == pytest.approx([0.02] * 6)


@pytest.mark.parametrize("modality", ["image", "text", "domain", "attributes"])
def test_a_missing_modality_is_a_zero_embedding(modality):
    """A row without a modality has zeros in its place; the other rows are as before."""
    model = small_model().eval()
    inputs = some_inputs()
    whole = model.embedding(inputs)
    present = torch.tensor([True, False, True, True, False, True])
    partial = model.embedding(lacking(inputs, **{modality: present}))
    start = {"image": 0, "text": 32, "domain": 48, "attributes": 60}[modality]
    stop = {"image": 32, "text": 48, "domain": 60, "attributes": 70}[modality]
    expected = whole.clone()
    expected[~present, start:stop] = 0
    torch.testing.assert_close(partial, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_without_a_modality(training):
    """When no row has a modality, its encoder still gets a gradient, of zero."""
    model = small_model().train(training)
    nothing = torch.zeros(6, dtype=torch.bool)
    names = ("image", "text", "domain", "attributes")
    inputs = lacking(some_inputs(), **dict.fromkeys(names, nothing))
    model(inputs).sum().backward()
    for parameter in trained(model.encoders):
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_what_is_missing_does_not_matter():
    """The placeholder of a missing modality never reaches the prediction or the statistics."""
    present = torch.tensor([True, False, True, True, False, True])
    inputs = lacking(some_inputs(), image=present)
    (pixels,) = inputs.modalities["image"].tensors
    changed = pixels.clone()
    changed[~present] = 255
    others = inputs.with_modality("image", ModalityInputs(tensors=(changed,), present_B=present))
    first, second = small_model(), small_model()
    torch.testing.assert_close(first(inputs), second(others), atol=0, rtol=0)


def test_one_row_can_be_trained_on():
    """Batch normalization of a single content uses the running statistics instead of failing."""
    model = small_model().train()
    model(some_inputs(1)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained(model))


def test_stages_share_their_encoder():
    """A modality's stage trains this network's encoder, under the same weight names."""
    model = small_model()
    stage = model.stage("text")
    with torch.no_grad():
        for parameter in stage.encoders.parameters():
            parameter.add_(1)
    own, shared = model.state_dict(), stage.state_dict()
    encoder_names = [name for name in shared if name.startswith("encoders.text.")]
    assert len(encoder_names) == len(shared) - 2  # all but the head's weight and bias
    assert all(torch.equal(own[name], shared[name]) for name in encoder_names)


def test_stage_predicts_from_one_modality():
    """A stage is a linear layer on one modality's embedding, starting at the mean rate."""
    model = small_model().eval()
    stage = model.stage("domain").eval()
    inputs = some_inputs()
    expected = stage.head(model.encoders["domain"](*inputs.modalities["domain"].tensors)).squeeze(1)
    torch.testing.assert_close(stage(inputs), expected)
    assert stage.head.bias.item() == pytest.approx(math.log(0.02 / 0.98))


def test_logits_are_not_rounded():
    """Under bfloat16 autocast logits are still float32, and every weight gets a gradient."""
    for module in (small_model(), small_model().stage("text")):
        with torch.autocast("cpu", torch.bfloat16):
            logits = module(some_inputs())
        assert logits.dtype == torch.float32
        logits.sum().backward()
        assert all(parameter.grad is not None for parameter in trained(module))


def test_fused_stage_is_the_whole_network():
    """The last stage trains everything."""
    model = small_model()
    assert model.stage("fused") is model


def test_unknown_stage():
    """A stage of a modality that the model does not read is an error that names those it has."""
    model = small_model(NeuralInsightsConfig(domain=SMALL.domain))
    with pytest.raises(ConfigError, match=r"no stage 'image'.*domain, fused"):
        model.stage("image")


def test_a_model_reads_something():
    """A config without any modality is an error."""
    with pytest.raises(ConfigError, match="at least one modality"):
        NeuralInsightsConfig()


def test_pictures_of_different_sizes():
    """A list of pictures gives what each gives alone, in order."""
    encoder = ImageEncoderConfig().build(InputSize()).eval()
    generator = torch.Generator().manual_seed(0)
    sizes = [(40, 30), (16, 50), (40, 30), (20, 20), (16, 50)]
    images = [torch.randint(0, 256, (3, *s), dtype=torch.uint8, generator=generator) for s in sizes]
    together = encoder(images)
    alone = torch.cat([encoder(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(together, alone)


def test_pictures_of_different_sizes_cannot_train_statistics():
    """Batch statistics over pictures of several sizes are refused, with the remedy."""
    encoder = ImageEncoderConfig().build(InputSize()).train()
    images = [torch.zeros(3, 40, 30, dtype=torch.uint8), torch.zeros(3, 20, 20, dtype=torch.uint8)]
    with pytest.raises(ConfigError, match="image_crop, or freeze"):
        encoder(images)


def test_domains_share_their_parts():
    """The encoding of a domain is the sum of the encodings of its parts, whatever the case."""
    whole = domain_counts("DE/Homepage_top", 64)
    parts = sum(domain_counts(part, 64) for part in ("de", "homepage", "top"))
    assert whole.tolist() == parts.tolist()
    assert whole.sum() == 3


def test_equal_texts_are_encoded_once():
    """Arms with the same text cost one pass through the backbone and get the same embedding."""
    backbone = BertModel(
        BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2),
        add_pooling_layer=False,
    ).eval()
    encoder = TextEncoder(backbone, "mean")
    seen = []
    backbone.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    tokens = torch.tensor([[3, 4, 0], [5, 6, 7], [3, 4, 0], [5, 6, 7]])
    mask = (tokens > 0).long()

    together = encoder(tokens, mask)
    alone = torch.cat([encoder(tokens[i : i + 1], mask[i : i + 1]) for i in range(4)])

    assert seen[0] == 2
    torch.testing.assert_close(together, alone)
